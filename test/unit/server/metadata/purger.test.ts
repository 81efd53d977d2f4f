/**
 * Deleted content goes in the background: many small ones together, a large one in steps, a damaged
 * one not at all.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { NewChunk } from '../../../../schema/generated/metadata.ts'
import { NO_PATCH, windowDigest } from '../../../../schema/wire/content.ts'
import { limits } from '../../../../schema/wire/limits.ts'
import { orderDelete } from '../../../../server/metadata/chunk-references.ts'
import { openServices } from '../../../../server/metadata/open-services.ts'
import { commit } from '../../../../server/metadata/operations/commit.ts'
import { heartbeat } from '../../../../server/metadata/operations/heartbeat.ts'
import { unlink } from '../../../../server/metadata/operations/unlink.ts'
import { counterNames } from '../../../../server/metadata/store/counters.ts'
import { keys, ranges } from '../../../../server/metadata/store/keys.ts'
import { tables } from '../../../../server/metadata/store/tables.ts'
import type { OrderedStore } from '../../../../server/store/ordered-store.ts'
import { openRocksStore } from '../../../../server/store/rocks-store.ts'
import {
  attributes,
  NO_BYTES,
  TestMetadata,
  token,
  type TestSession,
} from '../../../support/metadata.ts'
import { checkStore } from '../../../support/metadata-check.ts'

const BYTES = 1_000

/** A file with one small chunk in each of its first windows. */
async function file(
  session: TestSession,
  root: number,
  name: string,
  count: number,
): Promise<NewChunk[]> {
  const inode = await session.make(root, name)
  const chunks: NewChunk[] = []
  for (let i = 0; i < count; i++) chunks.push(await session.chunk(BYTES))
  await session.mutate(commit, {
    inode,
    attributes: attributes(1, { size: count * limits.chunkBytesMax, version: 2 }),
    truncates: false,
    truncateTo: 0,
    windows: chunks.map(({ chunk }, index) => {
      const extents = [{ chunk, offset: 0, length: BYTES, chunkOffset: 0 }]
      return { index, extents, digest: windowDigest(extents), patch: NO_PATCH }
    }),
    chunks,
    inline: NO_BYTES,
  })
  return chunks
}

const remove = async (session: TestSession, root: number, name: string): Promise<unknown> =>
  session.mutate(unlink, { parent: root, token: token(name), directory: false })

async function until(holds: () => Promise<boolean> | boolean): Promise<boolean> {
  for (let i = 0; i < 1_000; i++) {
    if (await holds()) return true
    await sleep(10)
  }
  return false
}

t.test('many contents of every size go, with all their chunks', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { database } = metadata.services
  const { user, session } = await metadata.user('ann')
  const sizes = [...Array.from({ length: 100 }, () => 1), 31, 32, 33, 64, 0, 1]
  for (const [i, size] of sizes.entries()) await file(session, user.root, `file ${i}`, size)
  await Promise.all(sizes.map(async (_, i) => remove(session, user.root, `file ${i}`)))
  t.ok(await until(() => database.counters.get(counterNames.chunks) === 0))
  const purges = async (): Promise<number> =>
    (await database.durableRange(ranges.purges, 10)).length
  t.ok(await until(async () => (await purges()) === 0))
  t.strictSame(await checkStore(metadata.store), [])
})

t.test('a damaged content stays queued, and keeps no other', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { database } = metadata.services
  const { user, session } = await metadata.user('ann')
  const names = Array.from({ length: 20 }, (_, i) => `file ${i}`)
  const chunks: NewChunk[] = []
  for (const name of names) chunks.push(...(await file(session, user.root, name, 1)))
  const damaged = chunks[7]?.chunk ?? 0
  await database.write({}, (txn) => txn.delete(tables.chunks, keys.chunk(damaged)))
  await Promise.all(names.map(async (name) => remove(session, user.root, name)))
  t.ok(await until(() => database.counters.get(counterNames.chunks) === 1))
  await database.settle()
  t.equal((await database.durableRange(ranges.purges, 10)).length, 1)
})

/** A store that counts how often it is scanned, and how often records are read together. */
async function counted(dir: string): Promise<{
  store: OrderedStore
  counts: { scans: number; reads: number }
}> {
  const store = await openRocksStore(dir)
  const counts = { scans: 0, reads: 0 }
  const wrapped: OrderedStore = {
    get: (key) => store.get(key),
    getMany(names, onCorrupt) {
      counts.reads++
      return store.getMany(names, onCorrupt)
    },
    range(options) {
      counts.scans++
      return store.range(options)
    },
    scan: (range) => store.scan(range),
    write: (changes, options) => store.write(changes, options),
    close: () => store.close(),
  }
  return { store: wrapped, counts }
}

const beat = { usedBytes: 0, freeBytes: 1e12, full: false, chunks: 0, load: 0 }
const lists = { deleted: [], unconfirmed: [], damaged: [] }

t.test('deleting files scans nothing, as that walks over what was deleted before', async (t) => {
  const { store, counts } = await counted(t.testdir())
  const metadata = await TestMetadata.on(store)
  t.teardown(() => metadata.close())
  await metadata.addServers()
  const { database } = metadata.services
  const { user, session } = await metadata.user('ann')
  const names = Array.from({ length: 200 }, (_, i) => `file ${i}`)
  for (const [i, name] of names.entries()) await file(session, user.root, name, i === 0 ? 32 : 1)
  counts.scans = 0
  counts.reads = 0
  await Promise.all(names.map(async (name) => remove(session, user.root, name)))
  t.ok(await until(() => database.counters.get(counterNames.chunks) === 0))
  let left = 231 * 2
  for (const server of [1, 2, 3]) {
    let deleted: number[] = []
    do {
      const answer = await heartbeat(server, { ...beat, ...lists, deleted }, metadata.services)
      deleted = answer.deletes
      left -= deleted.length
    } while (deleted.length > 0)
  }
  t.equal(left, 0, 'every copy was ordered to be deleted, once')
  t.equal(counts.scans, 0)
  t.ok(counts.reads < 200, `${counts.reads} trips to the engine for 200 files`)
  t.strictSame(await checkStore(metadata.store), [])
})

t.test('content that was queued before the start goes, marked by any version', async (t) => {
  const dir = t.testdir()
  const before = await TestMetadata.open(t, dir)
  const { user, session } = await before.user('ann')
  for (const name of ['a', 'b', 'c']) await file(session, user.root, name, 2)
  await before.services.purger.stop()
  for (const name of ['a', 'b', 'c']) await remove(session, user.root, name)
  const { database } = before.services
  const [old] = await database.durableRange(ranges.purges, 10)
  // As it was written when marks had no number.
  await database.write({}, (txn) => txn.put(tables.purges, old?.key ?? Buffer.of(0), 0))
  await before.close()

  const metadata = await TestMetadata.reopen(dir)
  t.teardown(() => metadata.close())
  t.ok(await until(() => metadata.services.database.counters.get(counterNames.chunks) === 0))
  await metadata.services.database.settle()
  t.strictSame(await checkStore(metadata.store), [])
})

t.test('orders from before a restart are given, also while others come', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { database, policy, authority, log, clock } = metadata.services
  const order = (chunks: number[]): Promise<void> =>
    database.write({}, (txn) => {
      for (const chunk of chunks) orderDelete(txn, 1, chunk)
    })
  await order(Array.from({ length: 2_500 }, (_, i) => i + 1))
  // Another one, which knows nothing of these.
  const services = await openServices(database, { policy, authority, log, clock })
  const seen = new Set<number>()
  let deleted: number[] = []
  for (let round = 0; round < 5; round++) {
    await order([10_000 + round])
    const answer = await heartbeat(1, { ...beat, ...lists, deleted }, services)
    deleted = answer.deletes
    for (const chunk of deleted) seen.add(chunk)
  }
  t.equal(seen.size, 2_505)
  t.equal(database.counters.get(counterNames.deletes(1)), deleted.length)
})

t.test('orders to delete are shared out when there are many chunkservers', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { database, topology, clock } = metadata.services
  for (let id = 4; id <= 1_000; id++) {
    const more = { rack: 'a', addresses: [], joined: clock.nowNs(), totalBytes: 0, revoked: false }
    topology.put({ id, ...more, lost: false, draining: false, store: Buffer.of(1) })
  }
  await database.write({}, (txn) => {
    for (let chunk = 1; chunk <= 100; chunk++) txn.put(tables.deletes, keys.delete(1, chunk), true)
    txn.add(counterNames.deletes(1), 100)
  })
  const { deletes } = await heartbeat(1, { ...beat, ...lists }, metadata.services)
  t.equal(deletes.length, 20, 'of 20,000 a second')
  const again = await heartbeat(1, { ...beat, ...lists, deleted: deletes }, metadata.services)
  t.strictSame(again.deletes[0], 21, 'and then the next')
})
