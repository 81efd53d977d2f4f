/**
 * Setting the modification time without the access time, as tar does, and the other way round.
 *
 * libfuse silently drops such requests unless the file system says at its start that it understands
 * them, which fuse-native cannot say. So we say it for it: one flag in libfuse's memory, written
 * through /proc/self/mem, and only when everything around it looks exactly as in the libfuse 2.9.9
 * that the package ships. If not, such requests stay without effect, which the log tells.
 *
 * What then arrives says "leave it" and "now" with the same number: the addon cuts both to ms.
 */
import type { FileSystem, Target } from '../vfs/api.ts'
import type { NativeMount } from './binding.ts'
import { withMemory } from './process-memory.ts'

/** Offsets in the addon's `fuse_thread_t`, bytes. */
const thread = { fuse: 368, directory: 384 } as const
/** Offsets in libfuse's `struct fuse`, bytes, and what stands there in each mount of ours. */
const fuse = {
  bytes: 304,
  unusedNodes: 72,
  interruptSignal: 248,
  nullPathOk: 280,
  utimeOmitOk: 284,
  lockQueue: 288,
  pageSize: 296,
} as const
const interruptSignal = 10
const pageSize = 4_096

/** UTIME_NOW and UTIME_OMIT as the addon passes them: seconds 0, nanoseconds 2^30 - 1 and - 2, in ms. */
const specialMs = 1_073n

/**
 * Makes libfuse pass on single times; false when its memory is not as expected. Throws Node's own
 * errors where a kernel keeps a process out of its own memory.
 */
export function allowSingleTimes(mount: NativeMount): boolean {
  const address = libfuseAddress(mount)
  if (address === undefined) return false
  const one = Buffer.alloc(4)
  one.writeInt32LE(1)
  return withMemory((memory) => memory.write(address + fuse.utimeOmitOk, one))
}

/**
 * Where libfuse keeps its `struct fuse` of this mount; undefined when it is not the libfuse we know.
 * Throws as {@link allowSingleTimes} does.
 */
export function libfuseAddress(mount: NativeMount): number | undefined {
  const path = Buffer.from(`${mount.directory}\0`)
  const ours = mount.thread.subarray(thread.directory, thread.directory + path.length)
  if (!ours.equals(path)) return undefined
  const address = Number(mount.thread.readBigUInt64LE(thread.fuse))
  return withMemory((memory) => {
    const bytes = memory.read(address, fuse.bytes)
    return bytes.length === fuse.bytes && looksLikeLibfuse(bytes, address) ? address : undefined
  })
}

function looksLikeLibfuse(bytes: Buffer, address: number): boolean {
  // An empty list points at itself: no other field would hold these two addresses.
  const list = BigInt(address + fuse.unusedNodes)
  return (
    bytes.readBigUInt64LE(fuse.unusedNodes) === list &&
    bytes.readBigUInt64LE(fuse.unusedNodes + 8) === list &&
    bytes.readInt32LE(fuse.interruptSignal) === interruptSignal &&
    bytes.readInt32LE(fuse.nullPathOk) === 0 &&
    bytes.readInt32LE(fuse.utimeOmitOk) >>> 1 === 0 &&
    bytes.readBigUInt64LE(fuse.lockQueue) === 0n &&
    bytes.readInt32LE(fuse.pageSize) === pageSize
  )
}

/**
 * Sets the times of a file as they arrived from the addon, in ms since 1970. Both special is what
 * touch(1) sends: now. One special is taken for "leave it".
 */
export async function setTimes(
  fs: FileSystem,
  target: Target,
  atimeMs: bigint,
  mtimeMs: bigint,
): Promise<void> {
  const atime = atimeMs * 1_000_000n
  const mtime = mtimeMs * 1_000_000n
  if (atimeMs !== specialMs && mtimeMs !== specialMs) {
    await fs.utimens(target, atime, mtime)
  } else if (atimeMs === mtimeMs) {
    const now = BigInt(Date.now()) * 1_000_000n
    await fs.utimens(target, now, now)
  } else {
    const stat = await (typeof target === 'string' ? fs.stat(target) : fs.statHandle(target))
    await (atimeMs === specialMs
      ? fs.utimens(target, stat.atime, mtime)
      : fs.utimens(target, atime, stat.mtime))
  }
}
