/**
 * What every chunk store must do, whatever it is made of. `open` opens the store, `reopen` closes and
 * opens it again as after a restart.
 */
import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import { limits } from '../../schema/wire/limits.ts'
import type { ChunkStore } from '../../server/chunkserver/chunk-store.ts'

const BLOCK = limits.sealedBlockBytes
const header = Buffer.alloc(40, 3)

export interface StoreUnderTest {
  readonly store: ChunkStore
  reopen(): Promise<ChunkStore>
}

/** Writes a chunk in pieces of whole blocks. */
export async function put(
  store: ChunkStore,
  chunk: number,
  bytes: Buffer,
  pieceBlocks = 4,
): Promise<void> {
  const writer = await store.create(chunk, header)
  try {
    for (let at = 0; at < bytes.length; at += pieceBlocks * BLOCK) {
      await writer.append(bytes.subarray(at, at + pieceBlocks * BLOCK))
    }
    await writer.commit()
  } finally {
    await writer.abort()
  }
}

/** Reads a whole chunk. */
export async function get(store: ChunkStore, chunk: number): Promise<Buffer> {
  const reader = await store.open(chunk)
  try {
    const into = Buffer.alloc(reader.sealedBytes)
    const bytes = await reader.read(0, Math.ceil(reader.sealedBytes / BLOCK), into)
    return into.subarray(0, bytes)
  } finally {
    reader.close()
  }
}

export function chunkStoreConforms(t: Test, open: (t: Test) => Promise<StoreUnderTest>): void {
  for (const size of [1, 4_096, BLOCK - 1, BLOCK, BLOCK + 1, 9 * BLOCK + 77]) {
    t.test(`a chunk of ${size} bytes is there again after a restart`, async (t) => {
      const under = await open(t)
      const bytes = randomBytes(size)
      await put(under.store, 7, bytes)
      t.same(under.store.totals, { chunks: 1, sealedBytes: size })
      t.ok((await get(under.store, 7)).equals(bytes))
      const store = await under.reopen()
      t.ok((await get(store, 7)).equals(bytes))
      t.same(store.totals, { chunks: 1, sealedBytes: size })
      const reader = await store.open(7)
      t.ok(header.equals(reader.header))
      reader.close()
    })

    t.test(`${size} bytes again succeed; other bytes, length or header do not`, async (t) => {
      const { store } = await open(t)
      const bytes = randomBytes(size)
      await put(store, 7, bytes)
      await put(store, 7, bytes, 1)
      t.same(store.totals, { chunks: 1, sealedBytes: size })
      const other = Buffer.from(bytes)
      other.writeUInt8(other.readUInt8(size - 1) ^ 0x80, size - 1)
      await t.rejects(put(store, 7, other), { code: 'chunkExists' })
      await t.rejects(put(store, 7, Buffer.concat([bytes, bytes])), { code: 'chunkExists' })
      await t.rejects(store.create(7, Buffer.alloc(40)), { code: 'chunkExists' })
      t.ok((await get(store, 7)).equals(bytes))
    })
  }

  t.test('keeps its bytes when the caller reuses the buffer', async (t) => {
    const { store } = await open(t)
    for (const size of [100, 3 * BLOCK]) {
      const bytes = randomBytes(size)
      const buffer = Buffer.from(bytes)
      const writer = await store.create(size, header)
      await writer.append(buffer)
      buffer.fill(0)
      await writer.commit()
      t.ok((await get(store, size)).equals(bytes))
    }
  })

  t.test('a chunk given up leaves nothing and frees its id', async (t) => {
    const { store } = await open(t)
    for (const size of [10, 5 * BLOCK]) {
      const writer = await store.create(1, header)
      await writer.append(randomBytes(size))
      await writer.abort()
      await writer.abort()
      await t.rejects(store.open(1), { code: 'chunkMissing' })
      t.same(store.totals, { chunks: 0, sealedBytes: 0 })
    }
    await put(store, 1, randomBytes(10))
  })

  t.test('refuses an empty chunk and one that is too long', async (t) => {
    const { store } = await open(t)
    const empty = await store.create(1, header)
    await t.rejects(empty.commit(), { code: 'invalidArgument' })
    const writer = await store.create(1, header)
    const piece = Buffer.alloc(128 * BLOCK)
    for (let at = 0; at < limits.chunkBlocksMax; at += 128) await writer.append(piece)
    await t.rejects(writer.append(Buffer.alloc(1)), { code: 'invalidArgument' })
    await writer.abort()
    await t.rejects(store.open(1), { code: 'chunkMissing' })
  })

  t.test('one writer of an id at a time', async (t) => {
    const { store } = await open(t)
    const writer = await store.create(1, header)
    await t.rejects(store.create(1, header), { code: 'tooManyRequests' })
    t.same(await store.delete([1, 2]), [2], 'and no delete meanwhile')
    await writer.append(Buffer.alloc(8))
    await writer.commit()
    t.same(await store.delete([1, 2]), [1, 2])
    await t.rejects(store.open(1), { code: 'chunkMissing' })
  })

  t.test('deleted chunks are gone for good, and a reader may finish', async (t) => {
    const under = await open(t)
    const bytes = randomBytes(6 * BLOCK)
    await put(under.store, 1, bytes)
    await put(under.store, 2, randomBytes(9))
    const reader = await under.store.open(1)
    t.same(await under.store.delete([1, 2, 3]), [1, 2, 3])
    const into = Buffer.alloc(BLOCK)
    await reader.read(5, 1, into)
    t.ok(into.equals(bytes.subarray(5 * BLOCK)))
    reader.close()
    const store = await under.reopen()
    for (const chunk of [1, 2]) await t.rejects(store.open(chunk), { code: 'chunkMissing' })
    t.same(store.totals, { chunks: 0, sealedBytes: 0 })
  })

  t.test('many small chunks at once are all there, and counted', async (t) => {
    const under = await open(t)
    const chunks = Array.from({ length: 500 }, (_, at) => at + 1)
    await Promise.all(chunks.map((chunk) => put(under.store, chunk, Buffer.alloc(chunk, chunk))))
    const store = await under.reopen()
    t.equal(store.totals.chunks, 500)
    for (const chunk of chunks) {
      if (!(await get(store, chunk)).equals(Buffer.alloc(chunk, chunk))) t.fail(`chunk ${chunk}`)
    }
  })

  t.test('unconfirmed chunks are named in portions, oldest first, until confirmed', async (t) => {
    const { store } = await open(t)
    for (const chunk of [5, 3, 8]) {
      await put(store, chunk, Buffer.alloc(chunk))
      await new Promise((resolve) => setTimeout(resolve, 3))
    }
    const beforeMs = Date.now() + 1
    const one = await store.unconfirmed({ beforeMs, limit: 2, after: undefined })
    t.same(one.chunks, [5, 3])
    const two = await store.unconfirmed({ beforeMs, limit: 2, after: one.last })
    t.same(two.chunks, [8])
    const none = await store.unconfirmed({ beforeMs, limit: 2, after: two.last })
    t.same(none, { chunks: [], last: undefined })
    const early = { beforeMs: beforeMs - 600_000, limit: 9, after: undefined }
    t.same((await store.unconfirmed(early)).chunks, [], 'none so old')
    await store.confirm([3, 99])
    await store.delete([8])
    const rest = await store.unconfirmed({ beforeMs, limit: 9, after: undefined })
    t.same(rest.chunks, [5])
  })

  t.test('everything is asked about anew, once for each restore of the metadata', async (t) => {
    const { store } = await open(t)
    for (const chunk of [5, 3, 8]) await put(store, chunk, Buffer.alloc(chunk))
    await store.confirm([5, 3, 8])
    const asked = async (): Promise<number[]> => {
      const options = { beforeMs: Date.now() + 1_000, limit: 9, after: undefined }
      return (await store.unconfirmed(options)).chunks.toSorted((a, b) => a - b)
    }
    t.same(await asked(), [])
    await store.askAnew(1_000n)
    t.same(await asked(), [3, 5, 8])
    await store.confirm([5, 3])
    await store.askAnew(1_000n)
    t.same(await asked(), [8], 'for the same restore not again')
    await store.askAnew(2_000n)
    t.same(await asked(), [3, 5, 8])
  })
}
