/**
 * The form of a chunk file; pure.
 *
 *     sealed blocks        65,552 bytes each, the last may be shorter
 *     CRC-32 of each block u32 little-endian
 *     sealing header       as the client gave it
 *     footer               40 bytes, little-endian:
 *        0  u64  chunk id
 *        8  u64  milliseconds since 1970 when it was written
 *       16  u32  bytes of all sealed blocks
 *       20  u32  blocks
 *       24  u32  bytes of the sealing header
 *       28  u32  format version, 1
 *       32  u32  CRC-32 of everything from the block CRCs up to here
 *       36  4 B  'dfsK'
 *
 * The file describes itself: with all indexes lost, each chunk can be found, named and verified.
 */
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { limits } from '../../schema/wire/limits.ts'

const FOOTER_BYTES = 40
const FORMAT_VERSION = 1
const MAGIC = Buffer.from('dfsK')
const CRC_BYTES = 4
/** Chunk ids that share a directory: ids are given in order, so writes at one time share its sync. */
const IDS_PER_DIRECTORY = 4_096

export interface ChunkMeta {
  readonly chunk: number
  readonly writtenMs: number
  readonly sealedBytes: number
  readonly header: Uint8Array
  /** CRC-32 of each sealed block, in order. */
  readonly crcs: Uint32Array
}

/** Blocks of a chunk of that many sealed bytes. */
export function blockCount(sealedBytes: number): number {
  return Math.ceil(sealedBytes / limits.sealedBlockBytes)
}

/** Most bytes that may follow the blocks. */
export const TRAILER_BYTES_MAX =
  limits.chunkBlocksMax * CRC_BYTES + limits.chunkHeaderBytesMax + FOOTER_BYTES

/** What follows the blocks. */
export function encodeTrailer(meta: ChunkMeta): Buffer {
  const { crcs, header } = meta
  const footerAt = crcs.length * CRC_BYTES + header.length
  const trailer = Buffer.alloc(footerAt + FOOTER_BYTES)
  for (let i = 0; i < crcs.length; i++) trailer.writeUInt32LE(crcs[i] ?? 0, i * CRC_BYTES)
  trailer.set(header, crcs.length * CRC_BYTES)
  trailer.writeBigUInt64LE(BigInt(meta.chunk), footerAt)
  trailer.writeBigUInt64LE(BigInt(meta.writtenMs), footerAt + 8)
  trailer.writeUInt32LE(meta.sealedBytes, footerAt + 16)
  trailer.writeUInt32LE(crcs.length, footerAt + 20)
  trailer.writeUInt32LE(header.length, footerAt + 24)
  trailer.writeUInt32LE(FORMAT_VERSION, footerAt + 28)
  trailer.writeUInt32LE(crc32(trailer.subarray(0, footerAt + 32)), footerAt + 32)
  MAGIC.copy(trailer, footerAt + 36)
  return trailer
}

/**
 * Reads a trailer from the end of a file: `tail` is its last bytes, at least {@link TRAILER_BYTES_MAX}
 * of them if there are so many. Returns why not, as text, when it is not a whole chunk file.
 */
export function decodeTrailer(tail: Buffer, fileBytes: number): ChunkMeta | string {
  if (tail.length < FOOTER_BYTES) return 'too short for a chunk file'
  const footerAt = tail.length - FOOTER_BYTES
  const footer = tail.subarray(footerAt)
  if (!footer.subarray(36).equals(MAGIC)) return 'does not end like a chunk file'
  const version = footer.readUInt32LE(28)
  if (version !== FORMAT_VERSION) return `format version ${version} is not known`
  const sealedBytes = footer.readUInt32LE(16)
  const blocks = footer.readUInt32LE(20)
  const headerBytes = footer.readUInt32LE(24)
  const trailerBytes = blocks * CRC_BYTES + headerBytes + FOOTER_BYTES
  if (blocks > limits.chunkBlocksMax || headerBytes > limits.chunkHeaderBytesMax) {
    return 'its trailer is damaged'
  }
  if (blocks !== blockCount(sealedBytes) || sealedBytes + trailerBytes !== fileBytes) {
    return 'its length is not what its trailer says'
  }
  const trailer = tail.subarray(tail.length - trailerBytes)
  const crcAt = trailerBytes - FOOTER_BYTES + 32
  if (crc32(trailer.subarray(0, crcAt)) !== footer.readUInt32LE(32)) return 'its trailer is damaged'
  const chunk = footer.readBigUInt64LE(0)
  const writtenMs = footer.readBigUInt64LE(8)
  if (chunk > Number.MAX_SAFE_INTEGER || writtenMs > Number.MAX_SAFE_INTEGER) {
    return 'its trailer names an impossible id'
  }
  const crcs = new Uint32Array(blocks)
  for (let i = 0; i < blocks; i++) crcs[i] = trailer.readUInt32LE(i * CRC_BYTES)
  const headerAt = blocks * CRC_BYTES
  return {
    chunk: Number(chunk),
    writtenMs: Number(writtenMs),
    sealedBytes,
    header: new Uint8Array(trailer.subarray(headerAt, headerAt + headerBytes)),
    crcs,
  }
}

/** Appends the CRCs of the blocks in `bytes`, which starts at a block's start; returns their count. */
export function checksumBlocks(bytes: Buffer, into: Uint32Array, at: number): number {
  let block = at
  for (let start = 0; start < bytes.length; start += limits.sealedBlockBytes) {
    into[block++] = crc32(bytes.subarray(start, start + limits.sealedBlockBytes))
  }
  return block - at
}

/** Index of the first block in `bytes` that does not match, undefined when all do. */
export function damagedBlock(bytes: Buffer, crcs: Uint32Array, first: number): number | undefined {
  let block = first
  for (let start = 0; start < bytes.length; start += limits.sealedBlockBytes) {
    const end = Math.min(start + limits.sealedBlockBytes, bytes.length)
    if (crc32(bytes.subarray(start, end)) !== crcs[block]) return block
    block++
  }
  return undefined
}

/** A chunk's directory below the store's, `aa/bb`. */
export function chunkDirectory(chunk: number): string {
  const number = Math.floor(chunk / IDS_PER_DIRECTORY) % 0x1_0000
  const hex = number.toString(16).padStart(4, '0')
  return join(hex.slice(0, 2), hex.slice(2))
}

/** A chunk's file name: its id in 16 hex digits. */
export function chunkFileName(chunk: number): string {
  return chunk.toString(16).padStart(16, '0')
}

/** The id in a file name, undefined when it is not a chunk's. */
export function chunkOfFileName(name: string): number | undefined {
  if (!/^[0-9a-f]{16}$/.test(name)) return undefined
  const chunk = Number.parseInt(name, 16)
  return Number.isSafeInteger(chunk) ? chunk : undefined
}

/** Checksums of blocks as they travel: u32 little-endian, in order. */
export function encodeChecksums(crcs: Uint32Array): Buffer {
  const bytes = Buffer.allocUnsafe(crcs.length * CRC_BYTES)
  for (let i = 0; i < crcs.length; i++) bytes.writeUInt32LE(crcs[i] ?? 0, i * CRC_BYTES)
  return bytes
}

/** What {@link encodeChecksums} made; bytes that are no whole checksum are left out. */
export function decodeChecksums(bytes: Uint8Array): Uint32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Uint32Array.from({ length: Math.floor(bytes.length / CRC_BYTES) }, (_, i) =>
    view.getUint32(i * CRC_BYTES, true),
  )
}
