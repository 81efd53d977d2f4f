/**
 * What the kernel may keep of our answers: names, attributes of directories, and pages, while nobody
 * else can change the tree.
 *
 * libfuse has one period for all names and one for all attributes, set when it mounts, and
 * fuse-native passes no answer about pages. So the periods are written into libfuse's memory, and the
 * word about pages into the answer to open, through /proc/self/mem, and only when everything around
 * looks as in the libfuse 2.9.9 that the package ships. If not, the kernel asks each time, as it does
 * when somebody else uses the tree.
 *
 * Nothing can be called back from the kernel. So before somebody else gets at the tree,
 * {@link KernelCache.drain} waits until the last period that was granted is over.
 */
import { constants } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import type { FileSystem, Handle, Stat } from '../vfs/api.ts'
import { layout, type NativeMount, type Request } from './binding.ts'
import { openMemory, type ProcessMemory } from './process-memory.ts'
import { libfuseAddress } from './single-times.ts'

/** How long the kernel may keep names and attributes, ms. */
export const KEPT_MS = 500
/** From our answer until libfuse has given it to the kernel, ms, on a busy machine. */
const HANDED_OVER_MS = 100
/** Files whose pages may stay in the kernel after they were closed. */
const PAGES_KEPT_MAX = 16_384

/** Offsets of the periods in libfuse's `struct fuse`, bytes; each a double, in seconds. */
const periods = { names: 160, attributes: 176 } as const
/** Offsets in libfuse's `struct fuse_file_info`, bytes. */
const fileInfo = { flags: 0, bits: 20, bytes: 32 } as const
const keepCacheBit = 2

type CachedSystem = Pick<FileSystem, 'soleUse' | 'identity'>

interface Pages {
  readonly soleUse: object
  readonly inode: number
  readonly failures: number
}

export class KernelCache {
  readonly #fs: CachedSystem
  /** By path: under which name the kernel knows the pages. */
  readonly #pages = new LRUCache<string, Pages>({ max: PAGES_KEPT_MAX })
  readonly #word = Buffer.alloc(8)
  #memory: ProcessMemory | undefined
  #address = 0
  #namesMs = 0
  #attributesMs = 0
  /** Time of the last answer that the kernel may keep. */
  #grantedMs = -Infinity

  constructor(fs: CachedSystem) {
    this.#fs = fs
  }

  /** Begins to tell the kernel what it may keep; false when libfuse's memory is not as expected. */
  attach(mount: NativeMount): boolean {
    const address = libfuseAddress(mount)
    if (address === undefined) return false
    const memory = openMemory()
    for (const offset of Object.values(periods)) {
      const found = memory.read(address + offset, 8)
      if (found.length === 8 && found.readDoubleLE() === 0) continue
      memory.close()
      return false
    }
    this.#address = address
    this.#memory = memory
    return true
  }

  /** libfuse is gone, and its memory with it. */
  detach(): void {
    this.#memory?.close()
    this.#memory = undefined
  }

  /** To be kept until the answer to a request is known. */
  get soleUse(): object | undefined {
    return this.#memory === undefined ? undefined : this.#fs.soleUse
  }

  /**
   * To be called right before `stat` is answered to a request that came under `soleUse`. libfuse reads the
   * periods a moment later, when its thread wakes: with requests side by side, a file may get the
   * period that was meant for a directory.
   */
  answering(soleUse: object | undefined, stat: Stat): void {
    if (this.#memory === undefined) return
    if (soleUse === undefined || soleUse !== this.#fs.soleUse) {
      this.#setNames(0)
      this.#setAttributes(0)
      return
    }
    this.#grantedMs = performance.now()
    this.#setNames(KEPT_MS)
    // To the kernel each name of a file is a file, and a change through one does not reach the others.
    const directory = (stat.mode & constants.S_IFMT) === constants.S_IFDIR
    this.#setAttributes(directory ? KEPT_MS : 0)
  }

  /** To be called right before an open is answered: whether the pages of last time still hold. */
  opening(
    request: Request,
    opened: { path: string; flags: number; handle: Handle; soleUse: object | undefined },
  ): void {
    const { path, flags, handle, soleUse } = opened
    if (soleUse === undefined || soleUse !== this.#fs.soleUse) return
    const { inode, nlink, failures } = this.#fs.identity(handle)
    const known = this.#pages.get(path)
    if (nlink !== 1) {
      this.#pages.delete(path)
      return
    }
    this.#pages.set(path, { soleUse, inode, failures })
    const same = known?.soleUse === soleUse && known.inode === inode && known.failures === failures
    if (same) this.#keepPages(request, flags)
  }

  /** A name came to mean another file, or none. */
  renamed(path: string): void {
    this.#pages.delete(path)
  }

  /** Resolves when the kernel keeps nothing any more. To be called when the sole use is over. */
  async drain(): Promise<void> {
    this.#pages.clear()
    if (this.#memory === undefined) return
    this.#setNames(0)
    this.#setAttributes(0)
    const leftMs = this.#grantedMs + KEPT_MS + HANDED_OVER_MS - performance.now()
    if (leftMs > 0) await pause(leftMs)
  }

  #setNames(ms: number): void {
    if (this.#namesMs === ms) return
    this.#namesMs = ms
    this.#setPeriod(periods.names, ms)
  }

  #setAttributes(ms: number): void {
    if (this.#attributesMs === ms) return
    this.#attributesMs = ms
    this.#setPeriod(periods.attributes, ms)
  }

  #setPeriod(offset: number, ms: number): void {
    this.#word.writeDoubleLE(ms / 1_000)
    this.#memory?.write(this.#address + offset, this.#word)
  }

  #keepPages(request: Request, flags: number): void {
    const memory = this.#memory
    const address = Number(request.readBigUInt64LE(layout.fileInfo))
    if (memory === undefined || address === 0) return
    const info = memory.read(address, fileInfo.bytes)
    if (info.length !== fileInfo.bytes || info.readInt32LE(fileInfo.flags) !== flags) return
    const bits = info.subarray(fileInfo.bits, fileInfo.bits + 1)
    bits.writeUInt8(bits.readUInt8() | keepCacheBit)
    memory.write(address + fileInfo.bits, bits)
  }
}
