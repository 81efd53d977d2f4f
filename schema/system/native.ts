/**
 * Calling the C library and other native libraries of the machine, and being told when a descriptor is
 * ready. The only importer of koffi.
 *
 * Whoever declares a function here answers for its signature. Layouts are those of Linux on 64-bit
 * little-endian machines.
 */
import { endianness } from 'node:os'
import { getSystemErrorName } from 'node:util'
import koffi from 'koffi'
import { invariant } from '../wire/invariant.ts'

invariant(
  process.platform === 'linux' && endianness() === 'LE' && process.arch.includes('64'),
  'dfs runs on 64-bit little-endian Linux',
)

/** What is declared of a library is called with these. */
export type Library = Pick<ReturnType<typeof koffi.load>, 'func'>

/** The C library that Node itself uses. */
export const libc: Library = koffi.load(null)

/** Loads a library from a file. Throws koffi's error when it cannot be loaded. */
export function loadLibrary(file: string): Library {
  return koffi.load(file)
}

/** Error numbers of Linux, the same on all its 64-bit machines that Node runs on. */
export const errno = {
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  EBADF: 9,
  EAGAIN: 11,
  ENODEV: 19,
  EINVAL: 22,
  EMSGSIZE: 90,
} as const

/** The number of the last failed call's error. */
export function lastError(): number {
  return koffi.errno()
}

/** A failed call as an error with Node's `code`. */
export function systemError(call: string, number: number): NodeJS.ErrnoException {
  const code = getSystemErrorName(-number)
  return Object.assign(new Error(`${call} ${code}`), { code, errno: -number, syscall: call })
}

/**
 * Where a buffer is in memory, while its caller keeps it. It must be one of more than 64 bytes or a part of
 * such a one: V8 keeps smaller ones among its objects, and moves them.
 */
export function addressOf(buffer: Buffer): bigint {
  invariant(buffer.buffer.byteLength > 64, 'a buffer that stays where it is')
  return koffi.address(buffer)
}

/** Watches a descriptor; stop by `close`, before the descriptor's own. */
export interface Watch {
  /** Calls back when there is something to read, as it does at first, or does not. */
  readable(wanted: boolean): void
  /** Also calls back when it can be written to. */
  writable(wanted: boolean): void
  /** The process may end while it is watched. */
  unref(): void
  close(): void
}

/** Calls back, in the event loop, whenever there is something to read, or an error to tell. */
export function watch(descriptor: number, ready: () => void): Watch {
  const wanted = { readable: true, writable: false }
  const start = (): void => {
    if (wanted.readable || wanted.writable) handle.start({ ...wanted }, onReady)
    else handle.stop()
  }
  // koffi passes the status first, then what its types tell of.
  const onReady = (status: unknown): void => {
    // libuv stops at an error, which reading takes off the descriptor.
    if (typeof status === 'number' && status < 0) start()
    ready()
  }
  const handle = koffi.node.poll(descriptor, { readable: true }, onReady)
  const want = (what: keyof typeof wanted, now: boolean): void => {
    if (wanted[what] === now) return
    wanted[what] = now
    start()
  }
  return {
    readable(now) {
      want('readable', now)
    },
    writable(now) {
      want('writable', now)
    },
    unref() {
      handle.unref()
    },
    close() {
      handle.close()
    },
  }
}
