/**
 * What stat(2) and statfs(2) tell, in the words that the addon copies into the kernel's structures.
 *
 * What does not fit is made to fit the least harmful way: an inode number is cut to 32 bits, a time
 * before 1970 becomes 1970, and a large store is counted in larger blocks (docs/fuse-limits.md).
 */
import { limits } from '../../schema/wire/limits.ts'
import type { Stat, StoreSize } from '../vfs/api.ts'

/** Words of one stat. */
export const statWords = 18
/** Bytes of one stat. */
export const statBytes = statWords * 4
/** What programs should read and write at once: one kernel request, bytes. */
const transferBytes = 131_072
/** Smallest block that statfs counts in, bytes. */
const statfsBlockBytesMin = 4_096
const word = 4_294_967_296

/** Writes `stat` into `into` from word `at`. */
export function writeStat(stat: Stat, into: Uint32Array, at = 0): void {
  into[at] = stat.mode
  into[at + 1] = stat.uid
  into[at + 2] = stat.gid
  writeWide(into, at + 3, stat.size)
  into[at + 5] = 0
  into[at + 6] = stat.nlink
  into[at + 7] = stat.inode
  into[at + 8] = stat.rdev
  into[at + 9] = transferBytes
  writeWide(into, at + 10, stat.blocks)
  writeWide(into, at + 12, milliseconds(stat.atime))
  writeWide(into, at + 14, milliseconds(stat.mtime))
  writeWide(into, at + 16, milliseconds(stat.ctime))
}

/** Writes the figures of statfs into `into` (11 words). */
export function writeStatfs(size: StoreSize, into: Uint32Array): void {
  let blockBytes = statfsBlockBytesMin
  while (size.totalBytes / blockBytes >= word) blockBytes *= 2
  const free = Math.floor(size.freeBytes / blockBytes)
  into.fill(0)
  into[0] = transferBytes
  into[1] = blockBytes
  into[2] = Math.floor(size.totalBytes / blockBytes)
  into[3] = free
  into[4] = free
  // Inodes are not scarce: as many are free as files of one block would fit.
  into[5] = Math.min(size.inodes + free, word - 1)
  into[6] = Math.min(free, word - 1)
  into[7] = into[6]
  into[10] = limits.nameBytesMax
}

function writeWide(into: Uint32Array, at: number, value: number): void {
  // Storing into a Uint32Array takes the value modulo 2^32.
  into[at] = value
  into[at + 1] = Math.floor(value / word)
}

function milliseconds(nanoseconds: bigint): number {
  return nanoseconds > 0n ? Number(nanoseconds / 1_000_000n) : 0
}
