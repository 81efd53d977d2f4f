/**
 * Stores of older versions are brought up to date, also when that is broken off again and again.
 */
import t from 'tap'
import { keys, ranges } from '../../../../../server/metadata/store/keys.ts'
import {
  migrate,
  requireCurrent,
  SCHEMA_VERSION,
  type Migration,
} from '../../../../../server/metadata/store/schema-version.ts'
import { tables } from '../../../../../server/metadata/store/tables.ts'
import type { OrderedStore } from '../../../../../server/store/ordered-store.ts'
import { MemoryDisk } from '../../../../support/memory-store.ts'
import { silent } from '../../../../support/transport.ts'

const COUNT = 3_500

/** Doubles every counter: done twice to one, it would be noticed. */
const doubling = (from: number): Migration => ({
  from,
  range: ranges.counters,
  rewrite({ key, value }) {
    const { value: before } = tables.numbers.decode(value)
    return [{ key, value: tables.numbers.encode({ value: 2 * before }) }]
  },
})

async function filled(schemaVersion: number): Promise<MemoryDisk> {
  const disk = new MemoryDisk()
  const store = disk.open()
  const counters = Array.from({ length: COUNT }, (_, i) => ({
    key: keys.counter(`c${i}`),
    value: tables.numbers.encode({ value: i }),
  }))
  const cluster = tables.cluster.encode({ schemaVersion, opaqueSetup: 'a setup' })
  await store.write([...counters, { key: keys.cluster, value: cluster }], { sync: true })
  await store.close()
  return disk
}

async function wrongCounters(store: OrderedStore, factor: number): Promise<number[]> {
  const wrong: number[] = []
  for (let i = 0; i < COUNT; i++) {
    const stored = await store.get(keys.counter(`c${i}`))
    if (stored === undefined || tables.numbers.decode(stored).value !== factor * i) wrong.push(i)
  }
  return wrong
}

const version = async (store: OrderedStore): Promise<number | undefined> => {
  const stored = await store.get(keys.cluster)
  return stored === undefined ? undefined : tables.cluster.decode(stored).schemaVersion
}

t.test('step by step, each record once', async (t) => {
  const disk = await filled(1)
  const store = disk.open()
  const migrations = [doubling(2), doubling(1)]
  await migrate(store, { log: silent, migrations, to: 3 })
  t.equal(await version(store), 3)
  t.same(await wrongCounters(store, 4), [])
  t.equal(await store.get(keys.migrating), undefined)
  await migrate(store, { log: silent, migrations, to: 3 })
  t.same(await wrongCounters(store, 4), [], 'and it is done')
})

t.test('a kill after every number of turns loses nothing and doubles nothing', async (t) => {
  const migrations = [doubling(1), doubling(2)]
  const disk = await filled(1)
  let kills = 0
  for (let turns = 1; ; turns++) {
    const running = disk.open()
    const done = migrate(running, { log: silent, migrations, to: 3 }).then(() => 'done')
    const cut = (async () => {
      for (let turn = 0; turn < turns; turn++) await new Promise((next) => setImmediate(next))
      return 'cut'
    })()
    const first = await Promise.race([done, cut])
    disk.kill()
    if (first === 'done') break
    kills++
  }
  t.ok(kills >= 5, `${kills} kills`)
  const store = disk.open()
  t.equal(await version(store), 3)
  t.same(await wrongCounters(store, 4), [])
})

t.test('a newer store is refused and left alone; a new one has nothing to migrate', async (t) => {
  const store = (await filled(7)).open()
  const migrations = [doubling(1)]
  await t.rejects(migrate(store, { log: silent, migrations, to: 2 }), {
    code: 'versionMismatch',
    message: /version 7, this program knows 2/u,
  })
  t.same(await wrongCounters(store, 1), [])
  await t.resolves(migrate(new MemoryDisk().open(), { log: silent, migrations, to: 2 }))
  t.throws(() => requireCurrent(SCHEMA_VERSION + 1), { code: 'versionMismatch' })
  t.throws(() => requireCurrent(SCHEMA_VERSION - 1), { message: /dfs-metadata serve once/u })
})
