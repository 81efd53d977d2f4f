/**
 * The client against a whole store of real processes: a chunk is planned, written, committed and read
 * by another client, also when a chunkserver is killed in the middle of it and stays away.
 */
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { NewChunk } from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'
import { manifestDigest, NO_PATCH, windowDigest } from '../../schema/wire/content.ts'
import { blocksOf } from '../../mount/crypto/chunk-cipher.ts'
import { InodeKey } from '../../mount/crypto/inode-key.ts'
import type { Client } from '../../mount/client/open.ts'
import { plaintext, writeChunk } from '../support/client-chunks.ts'
import { startStore } from '../support/store-processes.ts'
import { createFile } from '../support/client-metadata.ts'
import { sealedAttributes } from '../support/inodes.ts'

const MIB = 1_048_576
const NOTHING = new Uint8Array(0)
const store = await startStore(t, { chunkservers: 3, replicas: 2 })
const writer = await store.mount()
const reader = await store.mount()
t.teardown(async () => {
  await writer.close()
  await reader.close()
})

const create = async ({ session }: Client, name: string, key: InodeKey): Promise<number> =>
  createFile(session, name, { key })

/** Commits one chunk as the whole content of a new file. */
async function commit({ session }: Client, inode: number, key: InodeKey, chunk: NewChunk) {
  const extents = [{ chunk: chunk.chunk, offset: 0, length: chunk.length, chunkOffset: 0 }]
  const digest = windowDigest(extents)
  const attributes = sealedAttributes(key, {
    size: chunk.length,
    version: 2,
    contentDigest: manifestDigest(Buffer.concat([Buffer.alloc(4), digest])),
  })
  await session.mutate(methods.commit, {
    inode,
    attributes,
    truncates: false,
    truncateTo: 0,
    windows: [{ index: 0, extents, digest, patch: NO_PATCH }],
    chunks: [chunk],
    inline: NOTHING,
  })
}

async function readBack({ session, chunks }: Client, inode: number, key: InodeKey) {
  const answer = await session.read(methods.readWindows, { inode, first: 0, count: 1 })
  key.verifyAttributes(answer.inode.attributes)
  const [location] = answer.chunks
  if (location === undefined) throw new Error('the file has a chunk')
  const blocks = blocksOf(location.length)
  return Buffer.concat(await chunks.readBlocks(key, location, answer.servers, 0, blocks))
}

t.test('what one client writes another one reads', async (t) => {
  const key = InodeKey.generate()
  const plain = plaintext(5 * MIB + 9)
  const inode = await create(writer.client, 'first', key)
  const chunk = await writeChunk(writer.client.chunks, key, plain)
  t.equal(new Set(chunk.servers).size, 2)
  await commit(writer.client, inode, key, chunk)
  t.ok(Buffer.compare(await readBack(reader.client, inode, key), plain) === 0)
})

t.test('a chunkserver killed in the middle of chunks is replaced', async (t) => {
  // Several, so that one of them is surely on its way to the server that dies.
  const CHUNKS = 4
  const key = InodeKey.generate()
  const plain = plaintext(12 * MIB)
  const names = Array.from({ length: CHUNKS }, (_, index) => `second-${index}`)
  const inodes = await Promise.all(names.map(async (name) => create(writer.client, name, key)))
  const writers = await Promise.all(names.map(async () => writer.client.chunks.begin(key)))
  for (let at = 0; at < plain.length; at += MIB) {
    for (const one of writers) await one.append(plain.subarray(at, at + MIB))
    if (at === 6 * MIB) {
      await sleep(100)
      await store.chunkservers[0]?.stop('SIGKILL')
    }
  }
  const startedMs = performance.now()
  const chunks = await Promise.all(writers.map(async (one) => one.finish()))
  t.ok(performance.now() - startedMs < 45_000, `${performance.now() - startedMs} ms`)
  for (const [index, chunk] of chunks.entries()) {
    const inode = inodes[index] ?? 0
    t.equal(new Set(chunk.servers).size, 2)
    await commit(writer.client, inode, key, chunk)
    t.ok(Buffer.compare(await readBack(reader.client, inode, key), plain) === 0)
  }
})

t.test('with a chunkserver away, writing and reading go on at once', async (t) => {
  const key = InodeKey.generate()
  const plain = plaintext(MIB)
  const inode = await create(writer.client, 'third', key)
  const startedMs = performance.now()
  const chunk = await writeChunk(writer.client.chunks, key, plain)
  await commit(writer.client, inode, key, chunk)
  t.ok(Buffer.compare(await readBack(reader.client, inode, key), plain) === 0)
  t.ok(performance.now() - startedMs < 8_000, `${performance.now() - startedMs} ms`)
})
