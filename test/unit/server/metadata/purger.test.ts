/**
 * Deleted content goes in the background: many small ones together, a large one in steps, a damaged
 * one not at all.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { NewChunk } from '../../../../schema/generated/metadata.ts'
import { windowDigest } from '../../../../schema/wire/content.ts'
import { limits } from '../../../../schema/wire/limits.ts'
import { commit } from '../../../../server/metadata/operations/commit.ts'
import { heartbeat } from '../../../../server/metadata/operations/heartbeat.ts'
import { unlink } from '../../../../server/metadata/operations/unlink.ts'
import { counterNames } from '../../../../server/metadata/store/counters.ts'
import { keys, ranges } from '../../../../server/metadata/store/keys.ts'
import { tables } from '../../../../server/metadata/store/tables.ts'
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
      return { index, extents, digest: windowDigest(extents) }
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

t.test('orders to delete are shared out when there are many chunkservers', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { database, topology, clock } = metadata.services
  for (let id = 4; id <= 1_000; id++) {
    const more = { rack: 'a', addresses: [], joined: clock.nowNs(), totalBytes: 0, revoked: false }
    topology.put({ id, ...more, lost: false, draining: false, store: Buffer.of(1) })
  }
  await database.write({}, (txn) => {
    for (let chunk = 1; chunk <= 100; chunk++) txn.put(tables.marks, keys.delete(1, chunk), true)
    txn.add(counterNames.deletes(1), 100)
  })
  const beat = { usedBytes: 0, freeBytes: 1e12, full: false, chunks: 0, load: 0 }
  const lists = { deleted: [], unconfirmed: [], damaged: [] }
  const { deletes } = await heartbeat(1, { ...beat, ...lists }, metadata.services)
  t.equal(deletes.length, 20, 'of 20,000 a second')
  const again = await heartbeat(1, { ...beat, ...lists, deleted: deletes }, metadata.services)
  t.strictSame(again.deletes[0], 21, 'and then the next')
})
