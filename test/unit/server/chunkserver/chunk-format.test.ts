import { crc32 } from 'node:zlib'
import * as fc from 'fast-check'
import t from 'tap'
import { limits } from '../../../../schema/wire/limits.ts'
import {
  blockCount,
  checksumBlocks,
  chunkDirectory,
  chunkFileName,
  chunkOfFileName,
  damagedBlock,
  decodeTrailer,
  encodeTrailer,
  TRAILER_BYTES_MAX,
} from '../../../../server/chunkserver/chunk-format.ts'

const BLOCK = limits.sealedBlockBytes
const chunkIds = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })
const metas = fc
  .record({
    chunk: chunkIds,
    writtenMs: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
    sealedBytes: fc.integer({ min: 1, max: limits.chunkBlocksMax * BLOCK }),
    header: fc.uint8Array({ minLength: 1, maxLength: limits.chunkHeaderBytesMax }),
    seed: fc.integer(),
  })
  .map(({ seed, ...meta }) => ({
    ...meta,
    crcs: Uint32Array.from(
      { length: blockCount(meta.sealedBytes) },
      (_, at) => seed ^ (at * 40_503),
    ),
  }))

t.test('a known answer keeps the format fixed', async (t) => {
  const trailer = encodeTrailer({
    chunk: 0x0102,
    writtenMs: 1_700_000_000_000,
    sealedBytes: BLOCK + 1,
    header: Uint8Array.of(0xaa, 0xbb),
    crcs: Uint32Array.of(0x11223344, 0x55667788),
  })
  t.equal(
    trailer.toString('hex'),
    [
      '4433221188776655',
      'aabb',
      '0201000000000000',
      '0068e5cf8b010000',
      '11000100',
      '02000000',
      '02000000',
      '01000000',
      trailer.subarray(42, 46).toString('hex'),
      '6466734b',
    ].join(''),
  )
  t.equal(trailer.readUInt32LE(42), crc32(trailer.subarray(0, 42)))
})

t.test('what was encoded is decoded, wherever the file ends in the tail', async () => {
  fc.assert(
    fc.property(metas, (meta) => {
      const trailer = encodeTrailer(meta)
      const before = Buffer.alloc(TRAILER_BYTES_MAX - trailer.length, 0xee)
      const fileBytes = meta.sealedBytes + trailer.length
      const decoded = decodeTrailer(Buffer.concat([before, trailer]), fileBytes)
      t.same(decoded, { ...meta, header: Uint8Array.from(meta.header) })
    }),
    { numRuns: 50 },
  )
})

t.test('no flipped bit and no other length goes unnoticed', async (t) => {
  const meta = {
    chunk: 99,
    writtenMs: 5,
    sealedBytes: 2 * BLOCK,
    header: Buffer.alloc(40, 1),
    crcs: Uint32Array.of(1, 2),
  }
  const trailer = encodeTrailer(meta)
  const fileBytes = meta.sealedBytes + trailer.length
  t.not(typeof decodeTrailer(trailer, fileBytes), 'string')
  for (let bit = 0; bit < trailer.length * 8; bit++) {
    const damaged = Buffer.from(trailer)
    damaged.writeUInt8(damaged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
    if (typeof decodeTrailer(damaged, fileBytes) !== 'string') t.fail(`bit ${bit}`)
  }
  for (const bytes of [0, fileBytes - 1, fileBytes + 1]) {
    t.type(decodeTrailer(trailer, bytes), 'string')
  }
})

t.test('arbitrary bytes are never taken for a trailer, and never crash', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(), (bytes, size) => {
      return typeof decodeTrailer(Buffer.from(bytes), size) === 'string'
    }),
  )
})

t.test('block checksums name the first block that differs', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 * BLOCK }), fc.nat(), (length, where) => {
      const bytes = Buffer.alloc(length, 7)
      const crcs = new Uint32Array(8)
      const blocks = checksumBlocks(bytes, crcs, 2)
      const at = where % length
      const good = damagedBlock(bytes, crcs, 2)
      bytes.writeUInt8(8, at)
      const bad = damagedBlock(bytes, crcs, 2)
      return (
        blocks === blockCount(length) && good === undefined && bad === 2 + Math.floor(at / BLOCK)
      )
    }),
    { numRuns: 30 },
  )
})

t.test('names of files and directories come back to the id', async () => {
  fc.assert(
    fc.property(chunkIds, (chunk) => {
      const directory = chunkDirectory(chunk)
      return (
        chunkOfFileName(chunkFileName(chunk)) === chunk &&
        /^[0-9a-f]{2}.[0-9a-f]{2}$/.test(directory)
      )
    }),
  )
  t.equal(chunkDirectory(0), chunkDirectory(4_095), 'neighbours share a directory')
  t.not(chunkDirectory(0), chunkDirectory(4_096))
  for (const name of ['', 'lost', '12', '00000000000000zz', 'ffffffffffffffff']) {
    t.equal(chunkOfFileName(name), undefined, name)
  }
})
