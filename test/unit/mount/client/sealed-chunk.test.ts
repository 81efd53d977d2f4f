/**
 * A chunk in memory: however its plaintext comes, its sealed bytes are one valid chunk, and its
 * memory is accounted for.
 */
import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import t from 'tap'
import { limits } from '../../../../schema/wire/limits.ts'
import { blocksOf, ChunkOpener, sealedBytesOf } from '../../../../mount/crypto/chunk-cipher.ts'
import { InodeKey } from '../../../../mount/crypto/inode-key.ts'
import { SealedChunk } from '../../../../mount/client/sealed-chunk.ts'

const { blockBytes, tagBytes } = limits
const key = InodeKey.generate()
const bug = { name: 'InvariantError' }

/** All sealed bytes so far. */
function sealedBytes(chunk: SealedChunk): Buffer {
  const parts: Buffer[] = []
  for (let index = 0; ; index++) {
    const segment = chunk.segment(index)
    if (segment === undefined) return Buffer.concat(parts)
    parts.push(segment.bytes.subarray(0, segment.filled))
  }
}

function opened(chunk: SealedChunk, id: number): Buffer {
  const opener = new ChunkOpener(key, { chunk: id, header: chunk.header, length: chunk.length })
  const sealed = sealedBytes(chunk)
  const plain: Buffer[] = []
  for (let index = 0, from = 0; index < blocksOf(chunk.length); index++) {
    const bytes = opener.plainBytes(index) + tagBytes
    plain.push(opener.open(index, sealed.subarray(from, from + bytes)))
    from += bytes
  }
  return Buffer.concat(plain)
}

const piece = fc.oneof(
  fc.integer({ min: 0, max: 20 }),
  fc.integer({ min: 0, max: 3 * blockBytes }),
  fc.constantFrom(blockBytes - 1, blockBytes, blockBytes + 1, 2 * blockBytes),
)

t.test('however the bytes come, the chunk opens to them, and to the digest of all', async () => {
  fc.assert(
    fc.property(fc.array(piece, { minLength: 1, maxLength: 12 }), (sizes) => {
      const chunk = new SealedChunk(key, 7)
      const hash = createHash('sha256')
      let seed = 0
      for (const size of sizes) {
        const bytes = Buffer.alloc(size, (seed += 37) & 0xff)
        hash.update(bytes)
        chunk.append(bytes)
        // The caller may reuse its buffer.
        bytes.fill(0xee)
      }
      if (chunk.length === 0) return true
      chunk.end()
      const plain = createHash('sha256').update(opened(chunk, 7)).digest()
      return plain.equals(hash.digest()) && chunk.sealedBytes === sealedBytesOf(chunk.length)
    }),
    { numRuns: 60 },
  )
})

t.test('a full block waits until it is known whether it is the last', async (t) => {
  const chunk = new SealedChunk(key, 1)
  chunk.append(Buffer.alloc(blockBytes))
  t.equal(chunk.sealedBytes, 0)
  chunk.append(Buffer.alloc(1))
  t.equal(chunk.sealedBytes, blockBytes + tagBytes)
  chunk.end()
  t.equal(chunk.sealedBytes, sealedBytesOf(blockBytes + 1))
})

t.test(
  'memory follows what is written: little for a small chunk, little waste for a large',
  async (t) => {
    const small = new SealedChunk(key, 1)
    small.append(Buffer.alloc(5_000))
    small.end()
    t.equal(small.heldBytes, 5_016, 'just its sealed bytes')
    const large = new SealedChunk(key, 2)
    for (let mib = 0; mib < 10; mib++) large.append(Buffer.alloc(1_048_576))
    large.end()
    t.ok(large.heldBytes < 1.15 * sealedBytesOf(large.length), `${large.heldBytes} bytes`)
    large.drop(true)
    t.equal(large.heldBytes, 0)
    t.equal(large.segment(0), undefined)
  },
)

t.test(
  'memory of a chunk that was sent is used for the next, and holds nothing of it',
  async (t) => {
    const write = (id: number, fill: number): SealedChunk => {
      const chunk = new SealedChunk(key, id)
      for (let mib = 0; mib < 4; mib++) chunk.append(Buffer.alloc(1_048_576, fill))
      chunk.end()
      return chunk
    }
    const first = write(1, 1)
    const memory = new Set<ArrayBufferLike>()
    for (let index = 0; ; index++) {
      const segment = first.segment(index)
      if (segment === undefined) break
      memory.add(segment.bytes.buffer)
    }
    first.drop(true)
    const second = write(2, 2)
    const reused = second.segment(5)
    t.ok(reused !== undefined && memory.has(reused.bytes.buffer))
    t.ok(opened(second, 2).equals(Buffer.alloc(4 * 1_048_576, 2)))
    second.drop(false)
    const third = write(3, 3).segment(5)
    t.ok(third !== undefined && third.bytes.buffer !== reused?.bytes.buffer, 'one still being sent')
  },
)

t.test('a chunk of the largest size has its last block', async (t) => {
  const chunk = new SealedChunk(key, 3)
  const mib = Buffer.alloc(1_048_576, 3)
  for (let at = 0; at < limits.chunkBytesMax; at += mib.length) chunk.append(mib)
  t.throws(() => chunk.append(Buffer.of(1)), bug, 'one byte more')
  chunk.end()
  t.equal(chunk.sealedBytes, limits.chunkBlocksMax * limits.sealedBlockBytes)
})

t.test('misuse is a bug', async (t) => {
  t.throws(() => new SealedChunk(key, 1).end(), bug, 'an empty chunk')
  const ended = new SealedChunk(key, 1)
  ended.append(Buffer.of(1))
  ended.end()
  t.throws(() => ended.append(Buffer.of(1)), bug)
  t.throws(() => ended.end(), bug)
})
