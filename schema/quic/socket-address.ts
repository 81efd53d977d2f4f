/**
 * Addresses as the kernel has them: `struct sockaddr_in` and `sockaddr_in6` (ip(7), ipv6(7)).
 */
import { isIPv6 } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { HostPort } from './address.ts'
import { errno, systemError } from '../system/native.ts'
import { calls, linux } from './system-calls.ts'

const IPV4_BYTES = 16
const IPV6_BYTES = 28
const PORT_AT = 2
const IPV4_AT = 4
const IPV6_AT = 8
const SCOPE_AT = 24
const TEXT_BYTES_MAX = 46

/** Bytes that either form fits into. */
export const SOCKET_ADDRESS_BYTES_MAX = IPV6_BYTES

/** `host` is numeric, an IPv6 one may name its zone. Throws a system error (EINVAL) for any other. */
export function encodeAddress({ host, port }: HostPort): Buffer {
  const ipv6 = isIPv6(host)
  const [plain = '', zone] = host.split('%')
  const bytes = Buffer.alloc(ipv6 ? IPV6_BYTES : IPV4_BYTES)
  const family = ipv6 ? linux.AF_INET6 : linux.AF_INET
  bytes.writeUInt16LE(family, 0)
  bytes.writeUInt16BE(port, PORT_AT)
  if (calls.inetPton(family, plain, bytes.subarray(ipv6 ? IPV6_AT : IPV4_AT)) !== 1) {
    throw systemError('inet_pton', errno.EINVAL)
  }
  if (ipv6 && zone !== undefined) bytes.writeUInt32LE(scopeOf(zone), SCOPE_AT)
  return bytes
}

/** The address in the first bytes of a buffer. Throws a system error (EINVAL) for another family. */
export function decodeAddress(bytes: Buffer): HostPort {
  const family = bytes.readUInt16LE(0)
  if (family !== linux.AF_INET && family !== linux.AF_INET6) {
    throw systemError('recvmsg', errno.EINVAL)
  }
  const text = Buffer.alloc(TEXT_BYTES_MAX)
  const at = family === linux.AF_INET6 ? IPV6_AT : IPV4_AT
  calls.inetNtop(family, bytes.subarray(at), text, text.length)
  return { host: text.toString('latin1', 0, text.indexOf(0)), port: bytes.readUInt16BE(PORT_AT) }
}

/** An interface's number, by name or as digits. */
function scopeOf(zone: string): number {
  if (/^\d+$/.test(zone)) return Number(zone)
  for (const address of networkInterfaces()[zone] ?? []) {
    if (address.family === 'IPv6') return address.scopeid
  }
  throw systemError('inet_pton', errno.EINVAL)
}
