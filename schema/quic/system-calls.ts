/**
 * The kernel's calls for UDP sockets, for what Node's own sockets do not offer: many datagrams in one
 * call each way, and reading into memory that stays.
 *
 * Layouts are those of Linux (socket(7), udp(7), recvmsg(2)). Nothing here waits: sockets are
 * non-blocking.
 */
import { libc } from '../system/native.ts'

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

type WithAddress = (socket: number, address: Buffer, bytes: number) => number

/** Each returns -1 where it fails; `lastError` then says why. */
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
