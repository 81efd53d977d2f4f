/**
 * A mount as the kernel gives it: a descriptor of /dev/fuse, where requests are read and answers
 * written. The libfuse that fuse-native ships makes the mount, itself where it may, else through
 * fusermount; nothing else of it is used.
 */
import { constants } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import {
  addressOf,
  lastError,
  libc,
  loadLibrary,
  systemError,
  watch,
  type Watch,
} from '../../schema/system/native.ts'

/** fcntl(2). */
const F_SETFD = 2
const F_SETFL = 4
const FD_CLOEXEC = 1

/** Returned by libfuse as an address; none when mounting failed. */
type Channel = bigint | null

interface Libfuse {
  readonly mount: (directory: string, args: Buffer) => Channel
  readonly descriptorOf: (channel: Channel) => number
  readonly destroy: (channel: Channel) => void
  readonly freeArguments: (args: Buffer) => void
}

const calls = {
  read: libc.func('intptr_t read(int, void*, size_t)') as (
    descriptor: number,
    into: Buffer,
    bytes: number,
  ) => number,
  write: libc.func('intptr_t write(int, void*, size_t)') as (
    descriptor: number,
    from: Buffer,
    bytes: number,
  ) => number,
  fcntl: libc.func('int fcntl(int, int, int)') as (
    descriptor: number,
    command: number,
    value: number,
  ) => number,
} as const

let loaded: Libfuse | undefined
const require = createRequire(import.meta.url)

export class Device {
  readonly #channel: Channel
  readonly #descriptor: number
  #watch: Watch | undefined
  #closed = false

  /**
   * Mounts on `directory` with libfuse's options (comma-separated). Throws a plain Error without a reason:
   * libfuse prints it to standard error.
   */
  constructor(directory: string, options: string) {
    this.#channel = mountBy(libfuse(), directory, options)
    this.#descriptor = libfuse().descriptorOf(this.#channel)
    this.#set(F_SETFL, constants.O_RDWR | constants.O_NONBLOCK)
    this.#set(F_SETFD, FD_CLOEXEC)
  }

  /** Calls back whenever there is a request, or the mount has ended. */
  watch(ready: () => void): void {
    this.#watch = watch(this.#descriptor, ready)
  }

  /** Whether requests are to be told of; at first they are. */
  listen(wanted: boolean): void {
    if (!this.#closed) this.#watch?.readable(wanted)
  }

  /** Takes one request: its bytes, or a negative error number. */
  read(into: Buffer): number {
    const bytes = calls.read(this.#descriptor, into, into.length)
    return bytes < 0 ? -lastError() : bytes
  }

  /** Gives one answer: 0, or a negative error number. */
  write(from: Buffer, bytes: number): number {
    return calls.write(this.#descriptor, from, bytes) < 0 ? -lastError() : 0
  }

  /** The kernel answers all that is open itself from now on: ENOTCONN. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#watch?.close()
    libfuse().destroy(this.#channel)
  }

  #set(command: number, value: number): void {
    if (calls.fcntl(this.#descriptor, command, value) < 0) throw systemError('fcntl', lastError())
  }
}

function mountBy(library: Libfuse, directory: string, options: string): Channel {
  // C's `struct fuse_args`: a count, an array of texts, and whether libfuse allocated it.
  const texts = ['dfs', '-o', options].map((text) => roomy(Buffer.from(`${text}\0`)))
  const list = roomy(Buffer.alloc(0))
  for (const [index, text] of texts.entries()) list.writeBigUInt64LE(addressOf(text), index * 8)
  const args = roomy(Buffer.alloc(0))
  args.writeInt32LE(texts.length, 0)
  args.writeBigUInt64LE(addressOf(list), 8)
  const channel = library.mount(directory, args)
  library.freeArguments(args)
  if (channel === null) throw new Error('libfuse could not mount')
  return channel
}

/** A copy that stays where it is, with zeros behind. */
function roomy(bytes: Buffer): Buffer {
  const copy = Buffer.alloc(bytes.length + 128)
  bytes.copy(copy)
  return copy
}

function libfuse(): Libfuse {
  if (loaded === undefined) {
    const directory = dirname(require.resolve('fuse-native/package.json'))
    const file = join(directory, `prebuilds/${process.platform}-${process.arch}/libfuse.so`)
    const library = loadLibrary(file)
    loaded = {
      mount: library.func('void* fuse_mount(const char*, void*)') as Libfuse['mount'],
      descriptorOf: library.func('int fuse_chan_fd(void*)') as Libfuse['descriptorOf'],
      destroy: library.func('void fuse_chan_destroy(void*)') as Libfuse['destroy'],
      freeArguments: library.func('void fuse_opt_free_args(void*)') as Libfuse['freeArguments'],
    }
  }
  return loaded
}
