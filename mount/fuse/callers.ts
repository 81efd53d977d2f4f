/**
 * Who asks: the user and group of the program behind a request, so that what somebody makes is theirs;
 * and what create leaves out, the flags that the program gave to open(2).
 *
 * The kernel says so with each request and libfuse keeps it for each of its threads, but fuse-native
 * does not pass it on. A request's thread waits for our answer, so what libfuse keeps for it holds
 * still; it is found, once for each thread, among the values that the C library keeps for threads
 * (pthread_getspecific(3)), and read through /proc/self/mem.
 *
 * Nothing is taken for granted: the addon's memory must name its own address, its thread must be one
 * of the C library's that holds that address, and what lies beside it must point to this mount's
 * libfuse and back to the addon. Otherwise nobody is named.
 */
import { constants } from 'node:fs'
import type { Owner } from '../vfs/api.ts'
import { layout, type NativeMount, type Request } from './binding.ts'
import { openMemory, type ProcessMemory } from './process-memory.ts'
import { libfuseAddress } from './single-times.ts'

/** Offset of the first thread's pthread_t in the addon's memory of a mount, bytes. */
const firstThread = 8
/** Offsets in libfuse 2.9's `struct fuse_context`, bytes. */
const context = { fuse: 0, uid: 8, gid: 12, mount: 24, bytes: 40 } as const
/**
 * Where glibc for x86-64 (2.31 to 2.41) links its threads in their `struct pthread`, and how much of
 * it holds the link and the first 32 values of the thread, each with a counter before it; bytes.
 */
const pthread = { next: 704, bytes: 1_600, value: 16, valuesBytes: 512 } as const
/** More threads than a process of ours has: the list changed while it was read. */
const THREADS_MAX = 1_024
const ATTEMPTS_MAX = 8

export class Callers {
  /** Address of what libfuse keeps for the thread of a request. The addon's memory is one a thread. */
  readonly #contexts = new WeakMap<Request, number>()
  #memory: ProcessMemory | undefined
  #mount: NativeMount | undefined
  #libfuse = 0n

  /** False when this is not the libfuse or the C library that is known here. */
  attach(mount: NativeMount): boolean {
    const address = libfuseAddress(mount)
    if (address === undefined || process.arch !== 'x64') return false
    this.#libfuse = BigInt(address)
    this.#mount = mount
    this.#memory = openMemory()
    return true
  }

  /** libfuse is gone, and its memory with it. */
  detach(): void {
    this.#memory?.close()
    this.#memory = undefined
  }

  /** Whose program made a request that is not answered yet; undefined when that cannot be found out. */
  of(request: Request): Owner | undefined {
    const memory = this.#memory
    if (memory === undefined) return undefined
    const address = this.#contexts.get(request) ?? this.#find(memory, request)
    if (address === undefined) return undefined
    const found = memory.read(address, context.bytes)
    if (!this.#isContext(found, request.readBigUInt64LE(layout.mount))) return undefined
    this.#contexts.set(request, address)
    return { uid: found.readUInt32LE(context.uid), gid: found.readUInt32LE(context.gid) }
  }

  /** The flags of open(2) that a request to create has; none when they cannot be found out. */
  openFlags(request: Request): number {
    const address = addressIn(request, layout.fileInfo)
    if (this.#memory === undefined || address === undefined) return 0
    // They are the first word of what it points to.
    const word = this.#memory.read(address, 4)
    const flags = word.length === 4 ? word.readInt32LE() : 0
    return (flags & constants.O_CREAT) === 0 ? 0 : flags
  }

  #find(memory: ProcessMemory, request: Request): number | undefined {
    const own = addressIn(request, layout.own)
    const mount = addressIn(request, layout.mount)
    if (own === undefined || !isAt(memory, own, request)) return undefined
    if (mount === undefined || this.#mount === undefined) return undefined
    if (!isAt(memory, mount, this.#mount.thread)) return undefined
    const first = Number(this.#mount.thread.readBigUInt64LE(firstThread))
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const thread = threadWith(memory, first, own)
      const found = thread && this.#contextIn(memory, thread, BigInt(mount))
      if (found !== undefined) return found
    }
    return undefined
  }

  /** The thread's value that is libfuse's. */
  #contextIn(memory: ProcessMemory, thread: ThreadValues, mount: bigint): number | undefined {
    const { bytes, at } = thread
    const from = at % pthread.value
    for (let offset = from; offset + 8 <= bytes.length; offset += pthread.value) {
      if (Math.abs(offset - at) >= pthread.valuesBytes || offset === at) continue
      const address = addressIn(bytes, offset)
      if (address !== undefined && this.#isContext(memory.read(address, context.bytes), mount)) {
        return address
      }
    }
    return undefined
  }

  #isContext(bytes: Buffer, mount: bigint): boolean {
    return (
      bytes.length === context.bytes &&
      bytes.readBigUInt64LE(context.fuse) === this.#libfuse &&
      bytes.readBigUInt64LE(context.mount) === mount
    )
  }
}

interface ThreadValues {
  /** The thread's `struct pthread`. */
  readonly bytes: Buffer
  /** Where the value stands that was looked for. */
  readonly at: number
}

/** The thread that keeps `value`, from one thread on through the list of all. */
function threadWith(memory: ProcessMemory, first: number, value: number): ThreadValues | undefined {
  const wanted = Buffer.alloc(8)
  wanted.writeBigUInt64LE(BigInt(value))
  let thread = first
  for (let count = 0; count < THREADS_MAX; count++) {
    const bytes = memory.read(thread, pthread.bytes)
    const next = addressIn(bytes, pthread.next)
    if (next === undefined) return undefined
    const at = bytes.indexOf(wanted)
    if (at >= 0 && at % 8 === 0) return { bytes, at }
    thread = next - pthread.next
    if (thread === first) return undefined
  }
  return undefined
}

/** An address of this process that may be read; undefined when the bytes cannot be one. */
function addressIn(bytes: Buffer, offset: number): number | undefined {
  if (offset + 8 > bytes.length) return undefined
  const value = bytes.readBigUInt64LE(offset)
  return value >= 65_536n && value < 1n << 47n ? Number(value) : undefined
}

function isAt(memory: ProcessMemory, address: number, expected: Buffer): boolean {
  return memory.read(address, expected.length).equals(expected)
}
