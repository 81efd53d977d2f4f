/**
 * From extents to pieces of blocks, against a flat array.
 */
import * as fc from 'fast-check'
import t from 'tap'
import type { Extent } from '../../../../schema/generated/common.ts'
import { limits } from '../../../../schema/wire/limits.ts'
import { firstExtentAt, overlay } from '../../../../schema/wire/extents.ts'
import { copyPiece, type Piece } from '../../../../mount/vfs/block-cache.ts'
import { eachPiece } from '../../../../mount/vfs/extent-reader.ts'
import { checkedExtents } from '../../../../mount/vfs/extent-check.ts'

const SPAN = 300_000
const extent = fc
  .record({
    chunk: fc.integer({ min: 1, max: 3 }),
    offset: fc.integer({ min: 0, max: SPAN - 1 }),
    length: fc.integer({ min: 1, max: 150_000 }),
    chunkOffset: fc.integer({ min: 0, max: 200_000 }),
  })
  .map((e) => ({ ...e, length: Math.min(e.length, SPAN - e.offset) }))

/** A byte of a chunk that tells where it is from. */
const byteOf = (chunk: number, at: number): number => (chunk * 101 + at * 7 + (at >> 8)) & 0xff

t.test('pieces bring each byte of a range from its place in its chunk', async (t) => {
  const range = fc
    .tuple(fc.nat(SPAN), fc.nat(SPAN))
    .map(([a, b]) => [Math.min(a, b), Math.max(a, b)])
  const law = fc.property(
    fc.array(extent, { maxLength: 8 }),
    range,
    (added, [from = 0, to = 0]) => {
      const extents = overlay([], added)
      const expected = Buffer.alloc(to - from)
      for (const { chunk, offset, length, chunkOffset } of extents) {
        for (let at = Math.max(from, offset); at < Math.min(to, offset + length); at++) {
          expected[at - from] = byteOf(chunk, chunkOffset + at - offset)
        }
      }
      const read = Buffer.alloc(to - from)
      eachPiece(extents, { from, to, at: 0 }, (piece) => {
        const start = piece.block * limits.blockBytes
        const block = Buffer.alloc(limits.blockBytes)
        for (let at = 0; at < block.length; at++) block[at] = byteOf(piece.chunk, start + at)
        if (!copyPiece(piece, block, read)) throw new Error('a full block has every piece')
      })
      return read.equals(expected)
    },
  )
  t.doesNotThrow(() => fc.assert(law, { numRuns: 40 }))
})

t.test('a piece that a block is too short for is not copied', async (t) => {
  const piece: Piece = { chunk: 1, block: 0, from: 10, length: 10, at: 0 }
  t.notOk(copyPiece(piece, Buffer.alloc(19), Buffer.alloc(10)))
  t.ok(copyPiece(piece, Buffer.alloc(20), Buffer.alloc(10)))
})

t.test('the first extent at an offset is found by bisection', async (t) => {
  const extents: Extent[] = []
  for (let index = 0; index < 50; index++) {
    extents.push({ chunk: 1, offset: index * 10, length: 5, chunkOffset: 0 })
  }
  for (let offset = 0; offset < 510; offset++) {
    const expected = extents.findIndex((e) => e.offset + e.length > offset)
    if (firstExtentAt(extents, offset) !== (expected === -1 ? 50 : expected)) {
      t.fail(`offset ${offset}`)
    }
  }
  t.equal(firstExtentAt([], 3), 0)
})

const one: Extent = { chunk: 1, offset: 0, length: 10, chunkOffset: 0 }
const refusals: { why: string; extents: Extent[] }[] = [
  { why: 'they overlap', extents: [one, { ...one, offset: 9 }] },
  { why: 'they are not in order', extents: [{ ...one, offset: 20 }, one] },
  { why: 'one is empty', extents: [{ ...one, length: 0 }] },
  { why: 'one leaves its window', extents: [{ ...one, offset: limits.chunkBytesMax - 9 }] },
  { why: 'one leaves its chunk', extents: [{ ...one, chunkOffset: limits.chunkBytesMax - 9 }] },
  { why: 'there is no chunk 0', extents: [{ ...one, chunk: 0 }] },
  { why: 'two blocks would share a key', extents: [{ ...one, chunk: 2 ** 43 }] },
]
for (const { why, extents } of refusals) {
  t.test(`extents of a server are refused when ${why}`, async (t) => {
    t.throws(() => checkedExtents(0, extents), { code: 'notAuthentic' })
  })
}
