/**
 * The kernel's calls for UDP sockets, for what Node's own sockets do not offer: many datagrams in one
 * call each way, and reading into memory that stays.
 *
 * Layouts are those of Linux on 64-bit little-endian machines (socket(7), udp(7), recvmsg(2)). Nothing
 * here waits: sockets are non-blocking. The only importer of koffi.
 */
import { endianness } from 'node:os'
import { getSystemErrorName } from 'node:util'
import koffi from 'koffi'
import { invariant } from '../wire/invariant.ts'

/** Of Linux, the same on all its 64-bit machines that Node runs on. */
export const linux = {
  AF_INET: 2,
  AF_INET6: 10,
  SOCK_DGRAM_NONBLOCK_CLOEXEC: 2 | 0o4000 | 0o2000000,
  SOL_SOCKET: 1,
  SO_SNDBUF: 7,
  SO_RCVBUF: 8,
  SOL_UDP: 17,
  /** Bytes of each datagram into which what is sent is cut; 0 for none. */
  UDP_SEGMENT: 103,
  /** Datagrams of one sender may be received as one, with their size. */
  UDP_GRO: 104,
  MSG_NOSIGNAL: 0x4000,
} as const

export const errno = {
  EINTR: 4,
  EIO: 5,
  EBADF: 9,
  EAGAIN: 11,
  EINVAL: 22,
  EMSGSIZE: 90,
} as const

invariant(
  process.platform === 'linux' && endianness() === 'LE' && process.arch.includes('64'),
  'dfs runs on 64-bit little-endian Linux',
)

const libc = koffi.load(null)

type WithAddress = (socket: number, address: Buffer, bytes: number) => number

/** Each returns -1 where it fails; {@link lastError} then says why. */
export const calls = {
  socket: libc.func('int socket(int, int, int)') as (
    family: number,
    type: number,
    protocol: number,
  ) => number,
  bind: libc.func('int bind(int, void*, uint32_t)') as WithAddress,
  connect: libc.func('int connect(int, void*, uint32_t)') as WithAddress,
  getsockname: libc.func('int getsockname(int, void*, void*)') as (
    socket: number,
    address: Buffer,
    bytes: Buffer,
  ) => number,
  setsockopt: libc.func('int setsockopt(int, int, int, void*, uint32_t)') as (
    socket: number,
    level: number,
    option: number,
    value: Buffer,
    bytes: number,
  ) => number,
  sendto: libc.func('intptr_t sendto(int, void*, size_t, int, void*, uint32_t)') as (
    socket: number,
    from: Buffer,
    bytes: number,
    flags: number,
    to: Buffer | null,
    toBytes: number,
  ) => number,
  recvmsg: libc.func('intptr_t recvmsg(int, void*, int)') as (
    socket: number,
    message: Buffer,
    flags: number,
  ) => number,
  close: libc.func('int close(int)') as (socket: number) => number,
  inetPton: libc.func('int inet_pton(int, const char*, void*)') as (
    family: number,
    text: string,
    bytes: Buffer,
  ) => number,
  inetNtop: libc.func('void* inet_ntop(int, void*, void*, uint32_t)') as (
    family: number,
    bytes: Buffer,
    text: Buffer,
    textBytes: number,
  ) => bigint | null,
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

/** Watches a socket; stop by `close`, before the socket's own. */
export interface Watch {
  /** Also calls back when it can be written to. */
  writable(wanted: boolean): void
  close(): void
}

/** Calls back, in the event loop, whenever the socket has something to read, or an error to tell. */
export function watch(socket: number, ready: () => void): Watch {
  let writable = false
  const start = (): void => {
    handle.start({ readable: true, writable }, onReady)
  }
  // koffi passes the status first, then what its types tell of.
  const onReady = (status: unknown): void => {
    // libuv stops at an error, which reading takes off the socket.
    if (typeof status === 'number' && status < 0) start()
    ready()
  }
  const handle = koffi.node.poll(socket, { readable: true }, onReady)
  return {
    writable(wanted) {
      if (writable === wanted) return
      writable = wanted
      start()
    },
    close() {
      handle.close()
    },
  }
}
