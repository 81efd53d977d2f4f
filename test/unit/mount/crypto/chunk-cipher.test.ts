/**
 * The blocks of a chunk: version 1 is fixed by vectors of another implementation; blocks that were
 * changed, swapped, cut or taken from elsewhere do not open; no key and nonce are used twice.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import t from 'tap'
import {
  blocksOf,
  ChunkOpener,
  ChunkSealer,
  sealedBytesOf,
} from '../../../../mount/crypto/chunk-cipher.ts'
import { InodeKey } from '../../../../mount/crypto/inode-key.ts'
import { limits } from '../../../../schema/wire/limits.ts'
import { repository } from '../../../support/cluster.ts'
import { flips } from '../../../support/flips.ts'

const { blockBytes, sealedBlockBytes, tagBytes } = limits

interface Vectors {
  secret: string
  chunk: { id: number; header: string; length: number }
}

const fixtures = join(repository, 'test/fixtures/format/v1')
const vectors = JSON.parse(readFileSync(join(fixtures, 'vectors.json'), 'utf8')) as Vectors
const key = new InodeKey(Buffer.from(vectors.secret, 'hex'))
const pattern = (length: number): Buffer =>
  Buffer.from(Array.from({ length }, (_, i) => (i * 7) % 251))

/** Seals all of `plain` as one chunk. */
function seal(
  owner: InodeKey,
  chunk: number,
  plain: Buffer,
): { header: Uint8Array; blocks: Buffer[] } {
  const sealer = new ChunkSealer(owner, chunk)
  const blocks: Buffer[] = []
  for (let index = 0; index < blocksOf(plain.length); index++) {
    const piece = plain.subarray(index * blockBytes, (index + 1) * blockBytes)
    const block = Buffer.alloc(piece.length + tagBytes)
    sealer.seal(piece, index === blocksOf(plain.length) - 1, block, 0)
    blocks.push(block)
  }
  return { header: sealer.header, blocks }
}

t.test('chunks of format version 1 open', async (t) => {
  const { id: chunk, header, length } = vectors.chunk
  const opener = new ChunkOpener(key, { chunk, header: Buffer.from(header, 'hex'), length })
  const sealed = readFileSync(join(fixtures, 'chunk.bin'))
  t.equal(sealed.length, sealedBytesOf(length))
  const opened = [
    opener.open(0, sealed.subarray(0, sealedBlockBytes)),
    opener.open(1, sealed.subarray(sealedBlockBytes)),
  ]
  t.ok(Buffer.concat(opened).equals(pattern(length)))
})

t.test('whatever is sealed opens again to the same', async () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 3 * blockBytes }),
      fc.integer({ min: 1 }),
      (length, chunk) => {
        const plain = pattern(length)
        const { header, blocks } = seal(key, chunk, plain)
        const opener = new ChunkOpener(key, { chunk, header, length })
        const opened = Buffer.concat(blocks.map((block, index) => opener.open(index, block)))
        const sealedBytes = blocks.reduce((sum, block) => sum + block.length, 0)
        return opened.equals(plain) && sealedBytes === sealedBytesOf(length)
      },
    ),
    { numRuns: 20 },
  )
})

t.test('the same plaintext in the same chunk id is sealed differently each time', async (t) => {
  const [first, second] = [seal(key, 7, pattern(10)), seal(key, 7, pattern(10))]
  t.notSame(first.header, second.header)
  t.notSame(first.blocks, second.blocks)
})

t.test('no flipped bit of header or block goes unnoticed', async (t) => {
  const { header, blocks } = seal(key, 7, pattern(100))
  const [block = Buffer.alloc(0)] = blocks
  for (const { bit, bytes } of flips(block)) {
    const opener = new ChunkOpener(key, { chunk: 7, header, length: 100 })
    t.throws(() => opener.open(0, bytes), { code: 'notAuthentic' }, `block bit ${bit}`)
  }
  for (const { bit, bytes } of flips(header)) {
    const attempt = (): unknown =>
      new ChunkOpener(key, { chunk: 7, header: bytes, length: 100 }).open(0, block)
    t.throws(attempt, { code: /^not(Authentic|Supported)$/ }, `header bit ${bit}`)
  }
})

t.test('what a cheating server can do with valid blocks is refused', async (t) => {
  const length = 3 * blockBytes + 5
  const { header, blocks } = seal(key, 7, pattern(length))
  const [b0, b1, b2, b3] = blocks as [Buffer, Buffer, Buffer, Buffer]
  const good = { chunk: 7, header, length }
  const other = seal(key, 7, pattern(length))
  const foreign = InodeKey.generate()
  const refusals = [
    { why: 'two blocks swapped', index: 0, block: b1, with: good },
    { why: 'an earlier block in place of a later one', index: 2, block: b0, with: good },
    {
      why: 'a block of another run over the same chunk id',
      index: 0,
      block: other.blocks[0] ?? b0,
      with: good,
    },
    {
      why: 'the header of another run',
      index: 0,
      block: b0,
      with: { ...good, header: other.header },
    },
    { why: 'another chunk id', index: 0, block: b0, with: { ...good, chunk: 8 } },
    { why: 'a dropped last block', index: 2, block: b2, with: { ...good, length: 3 * blockBytes } },
    {
      why: 'a claimed further block',
      index: 3,
      block: b3,
      with: { ...good, length: length + blockBytes },
    },
    {
      why: 'a shorter last block',
      index: 3,
      block: b3.subarray(0, -1),
      with: { ...good, length: length - 1 },
    },
    { why: 'a block longer than its place', index: 3, block: Buffer.concat([b3, b3]), with: good },
    { why: 'a block behind the end', index: 4, block: b0, with: good },
    { why: 'an empty answer', index: 0, block: Buffer.alloc(0), with: good },
    { why: 'zeros', index: 0, block: Buffer.alloc(sealedBlockBytes), with: good },
  ]
  for (const { why, index, block, with: options } of refusals) {
    t.throws(() => new ChunkOpener(key, options).open(index, block), { code: 'notAuthentic' }, why)
  }
  t.throws(
    () => new ChunkOpener(foreign, good).open(0, b0),
    { code: 'notAuthentic' },
    'another file',
  )
  t.same(
    new ChunkOpener(key, good).open(1, b1),
    pattern(length).subarray(blockBytes, 2 * blockBytes),
  )
})

t.test('headers that are none are refused', async (t) => {
  const { header } = seal(key, 7, pattern(10))
  const changed = (at: number, byte: number): Buffer => {
    const bytes = Buffer.from(header)
    bytes[at] = byte
    return bytes
  }
  const refusals = [
    { why: 'empty', header: Buffer.alloc(0), code: 'notAuthentic' },
    { why: 'cut', header: header.subarray(0, 39), code: 'notAuthentic' },
    { why: 'longer', header: Buffer.concat([header, Buffer.alloc(1)]), code: 'notAuthentic' },
    { why: 'without its mark', header: changed(4, 0), code: 'notAuthentic' },
    { why: 'with bits set that must be zero', header: changed(2, 1), code: 'notAuthentic' },
    { why: 'of a newer format', header: changed(0, 2), code: 'notSupported' },
    { why: 'with an unknown cipher', header: changed(1, 2), code: 'notSupported' },
  ]
  for (const { why, header: bad, code } of refusals) {
    t.throws(() => new ChunkOpener(key, { chunk: 7, header: bad, length: 10 }), { code }, why)
  }
})

t.test('a sealer seals in order, once: anything else is a bug', async (t) => {
  const bug = { name: 'InvariantError' }
  const into = Buffer.alloc(sealedBlockBytes)
  const full = pattern(blockBytes)
  const fresh = (): ChunkSealer => new ChunkSealer(key, 1)
  t.throws(() => fresh().seal(full.subarray(1), false, into, 0), bug, 'a short block in the middle')
  t.throws(() => fresh().seal(Buffer.alloc(0), true, into, 0), bug, 'an empty block')
  t.throws(() => fresh().seal(Buffer.alloc(blockBytes + 1), true, into, 0), bug, 'a block too long')
  t.throws(() => fresh().seal(full, true, into, 1), bug, 'no room for it')
  const ended = fresh()
  ended.seal(full, true, into, 0)
  t.throws(() => ended.seal(full, true, into, 0), bug, 'behind the last block')
  const erased = fresh()
  erased.erase()
  t.throws(() => erased.seal(full, true, into, 0), bug, 'after it was erased')
})
