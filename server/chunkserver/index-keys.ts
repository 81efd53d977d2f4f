/**
 * All keys of the chunk index, order-preserving; pure.
 *
 *     c <chunk u64>               ChunkRecord: one for each stored chunk
 *     p <chunk u64>               the sealed bytes of a small chunk
 *     u <written ms u64> <chunk>  a chunk of which it is not known whether a file names it
 *     d <chunk u64>               ChunkDamage: a copy that is refused from now on
 *     m <name>                    format, totals, scrub, asked
 *
 * Numbers are big-endian, so keys order as they do.
 */
const CHUNK = 0x63
const PAYLOAD = 0x70
const UNCONFIRMED = 0x75
const DAMAGE = 0x64

export const keys = {
  record: (chunk: number) => key(CHUNK, chunk),
  payload: (chunk: number) => key(PAYLOAD, chunk),
  damage: (chunk: number) => key(DAMAGE, chunk),
  unconfirmed: (writtenMs: number, chunk: number) => key(UNCONFIRMED, writtenMs, chunk),
  /** Ends of the ranges, exclusive. */
  recordEnd: Buffer.of(CHUNK + 1),
  damageEnd: Buffer.of(DAMAGE + 1),
  unconfirmedStart: Buffer.of(UNCONFIRMED),
  format: Buffer.from('mformat'),
  totals: Buffer.from('mtotals'),
  scrub: Buffer.from('mscrub'),
  asked: Buffer.from('masked'),
} as const

/** The chunk that a key ends with. */
export function chunkOfKey(bytes: Buffer): number {
  return Number(bytes.readBigUInt64BE(bytes.length - 8))
}

/** The time in an `unconfirmed` key, ms since 1970. */
export function writtenMsOfKey(bytes: Buffer): number {
  return Number(bytes.readBigUInt64BE(1))
}

function key(prefix: number, ...numbers: number[]): Buffer {
  const bytes = Buffer.alloc(1 + 8 * numbers.length)
  bytes.writeUInt8(prefix)
  let at = 1
  for (const number of numbers) at = bytes.writeBigUInt64BE(BigInt(number), at)
  return bytes
}
