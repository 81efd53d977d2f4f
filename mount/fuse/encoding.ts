/**
 * What we tell the kernel about inodes, entries and the store, in the protocol's layouts. No I/O.
 */
import { constants } from 'node:fs'
import { limits } from '../../schema/wire/limits.ts'
import type { Stat, StoreSize } from '../vfs/api.ts'
import { ATTR_BYTES, DIRENT_BYTES, ENTRY_BYTES, PREFERRED_BYTES } from './protocol.ts'

const WORD = 4_294_967_296
const SECOND_NS = 1_000_000_000n
/** Block that statfs counts in, bytes. */
const STATFS_BLOCK_BYTES = 4_096
/** Directory entries stand at multiples of this, bytes. */
const DIRENT_ALIGNMENT = 8

/** Stores a non-negative whole number of at most 2^53. */
export function writeWide(into: Buffer, at: number, value: number): void {
  into.writeUInt32LE(value % WORD, at)
  into.writeUInt32LE(Math.floor(value / WORD), at + 4)
}

/** `struct fuse_attr`. */
export function writeAttr(into: Buffer, at: number, stat: Stat): void {
  writeWide(into, at, stat.inode)
  writeWide(into, at + 8, stat.size)
  writeWide(into, at + 16, stat.blocks)
  writeTime(into, at + 24, at + 48, stat.atime)
  writeTime(into, at + 32, at + 52, stat.mtime)
  writeTime(into, at + 40, at + 56, stat.ctime)
  into.writeUInt32LE(stat.mode, at + 60)
  into.writeUInt32LE(stat.nlink, at + 64)
  into.writeUInt32LE(stat.uid, at + 68)
  into.writeUInt32LE(stat.gid, at + 72)
  into.writeUInt32LE(stat.rdev, at + 76)
  into.writeUInt32LE(PREFERRED_BYTES, at + 80)
  into.writeUInt32LE(0, at + 84)
}

/** `struct fuse_entry_out`: a name's inode, and for how long the kernel may keep both, ms. */
export function writeEntry(
  into: Buffer,
  at: number,
  entry: { readonly nodeId: number; readonly keptMs: number; readonly attributesMs: number },
  stat: Stat | undefined,
): void {
  into.fill(0, at, at + ENTRY_BYTES)
  writeWide(into, at, entry.nodeId)
  writePeriod(into, at + 16, at + 32, entry.keptMs)
  writePeriod(into, at + 24, at + 36, entry.attributesMs)
  if (stat !== undefined) writeAttr(into, at + ENTRY_BYTES - ATTR_BYTES, stat)
}

/** Seconds and nanoseconds of a period, ms. */
export function writePeriod(into: Buffer, secondsAt: number, nanosAt: number, ms: number): void {
  writeWide(into, secondsAt, Math.floor(ms / 1_000))
  into.writeUInt32LE((ms % 1_000) * 1_000_000, nanosAt)
}

/** Bytes of a directory entry with a name of `nameBytes`. */
export function direntBytes(nameBytes: number): number {
  const bytes = DIRENT_BYTES + nameBytes
  return bytes + ((DIRENT_ALIGNMENT - (bytes % DIRENT_ALIGNMENT)) % DIRENT_ALIGNMENT)
}

/** `struct fuse_dirent`; `next` is where the listing goes on behind it. */
export function writeDirent(
  into: Buffer,
  at: number,
  entry: { readonly inode: number; readonly mode: number; readonly name: Uint8Array },
  next: number,
): void {
  const nameBytes = entry.name.length
  into.set(entry.name, at + DIRENT_BYTES)
  writeWide(into, at, entry.inode)
  writeWide(into, at + 8, next)
  into.writeUInt32LE(nameBytes, at + 16)
  into.writeUInt32LE((entry.mode & constants.S_IFMT) >>> 12, at + 20)
  into.fill(0, at + DIRENT_BYTES + nameBytes, at + direntBytes(nameBytes))
}

/** `struct fuse_kstatfs`, in zeroed memory. */
export function writeStatfs(into: Buffer, at: number, size: StoreSize): void {
  const free = Math.floor(size.freeBytes / STATFS_BLOCK_BYTES)
  writeWide(into, at, Math.floor(size.totalBytes / STATFS_BLOCK_BYTES))
  writeWide(into, at + 8, free)
  writeWide(into, at + 16, free)
  // Inodes are not scarce: as many are free as files of one block would fit.
  writeWide(into, at + 24, size.inodes + free)
  writeWide(into, at + 32, free)
  into.writeUInt32LE(PREFERRED_BYTES, at + 40)
  into.writeUInt32LE(limits.nameBytesMax, at + 44)
  into.writeUInt32LE(STATFS_BLOCK_BYTES, at + 48)
}

/** A time before 1970 has negative seconds, and nanoseconds that count up from them. */
function writeTime(into: Buffer, secondsAt: number, nanosAt: number, time: bigint): void {
  let seconds = time / SECOND_NS
  let nanos = Number(time % SECOND_NS)
  if (nanos < 0) {
    seconds -= 1n
    nanos += Number(SECOND_NS)
  }
  into.writeBigInt64LE(seconds, secondsAt)
  into.writeUInt32LE(nanos, nanosAt)
}
