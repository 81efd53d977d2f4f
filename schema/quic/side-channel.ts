/**
 * Datagrams beside QUIC on the same socket: questions about the path, and "no such connection".
 *
 *     u8 kind | id of the connection at the receiver (8) | u32 nonce | u16 size of the question
 *
 * QUIC's fixed bit is clear in `kind`, so no QUIC packet looks like one, and the id stands where a
 * short header has it. They are not authenticated: an answer needs the nonce, and nothing here is
 * more than a hint that the connection itself then checks.
 */
import { quicLimits } from './limits.ts'

/** Does a datagram of this size arrive? */
export const PROBE = 1
/** Yes. */
export const PROBE_SEEN = 2
/** A datagram came for a connection that does not exist here: the id is the one it named. */
export const UNKNOWN_CONNECTION = 3
/** The exclusive or of datagrams sent before (parity.ts); not a message of the form above. */
export const PARITY = 4

const ID_AT = 1
const NONCE_AT = ID_AT + quicLimits.connectionIdBytes
const SIZE_AT = NONCE_AT + 4
export const SIDE_HEADER_BYTES = SIZE_AT + 2
const QUIC_BITS = 0xc0

export interface SideMessage {
  readonly kind: number
  readonly nonce: number
  /** Size of the probe in question, bytes. */
  readonly size: number
}

/** Whether the datagram is one of these, rather than QUIC. */
export function isSideMessage(datagram: Uint8Array): boolean {
  return ((datagram[0] ?? 0) & QUIC_BITS) === 0
}

export function parseSideMessage(datagram: Buffer): SideMessage | undefined {
  if (datagram.length < SIDE_HEADER_BYTES) return undefined
  return {
    kind: datagram.readUInt8(0),
    nonce: datagram.readUInt32LE(NONCE_AT),
    size: datagram.readUInt16LE(SIZE_AT),
  }
}

/** The connection id in a message that `parseSideMessage` accepts. */
export function sideMessageId(datagram: Buffer): Buffer {
  return datagram.subarray(ID_AT, NONCE_AT)
}

/** Writes a message into `out`; what of `out` follows the header is padding and becomes zero. */
export function writeSideMessage(out: Buffer, id: Uint8Array, message: SideMessage): void {
  out.fill(0)
  out.writeUInt8(message.kind, 0)
  out.set(id.subarray(0, quicLimits.connectionIdBytes), ID_AT)
  out.writeUInt32LE(message.nonce, NONCE_AT)
  out.writeUInt16LE(message.size, SIZE_AT)
}
