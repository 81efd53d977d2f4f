/**
 * The frame that opens each direction of a request's stream.
 *
 *     u32  length of the message, bytes, little-endian like all that follows
 *     u16  request: method id; response: status number, 0 for success
 *     u16  flags: 1 for a frame that the stream does not end with, see below; the rest zero
 *     u32  request: milliseconds until the caller's deadline; response: 0
 *     ...  the message: FlatBuffers, or for an error its detail as UTF-8
 *
 * Raw payload follows until the end of the stream. Lengths are checked before anything is allocated.
 *
 * A frame with flag 1 is followed by one byte, 0, that belongs neither to it nor to the payload. It
 * travels with the payload or, if there is none, with the end, so that no end is ever sent alone.
 */
import { DfsError, STATUS, statusFromWire, type StatusName } from '../wire/status.ts'
import { invariant } from '../wire/invariant.ts'

export const FRAME_HEADER_BYTES = 12
/** Flag of a frame after which a spare byte comes. */
const SPARE_BYTE = 1
const FLAGS_AT = 6
/** Longest error detail on the wire, bytes of UTF-8. */
export const DETAIL_BYTES_MAX = 1_024

export interface FrameHeader {
  readonly messageBytes: number
  /** Method id of a request, status number of a response. */
  readonly code: number
  readonly deadlineMs: number
  /** Whether a spare byte comes between the message and the payload. */
  readonly spareByte: boolean
}

/** A frame with its message, in a buffer of its own. */
export function encodeFrame(code: number, deadlineMs: number, message: Uint8Array): Uint8Array {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + message.length)
  frame.writeUInt32LE(message.length, 0)
  frame.writeUInt16LE(code, 4)
  frame.writeUInt16LE(0, FLAGS_AT)
  frame.writeUInt32LE(deadlineMs, 8)
  frame.set(message, FRAME_HEADER_BYTES)
  return frame
}

/** Says in a frame that a spare byte follows it. */
export function announceSpareByte(frame: Uint8Array): void {
  frame[FLAGS_AT] = SPARE_BYTE
}

/** The frame of an error response; the detail is cut at {@link DETAIL_BYTES_MAX}. */
export function encodeErrorFrame(status: StatusName, detail: string): Uint8Array {
  const text = Buffer.from(detail, 'utf8')
  return encodeFrame(STATUS[status].wire, 0, text.subarray(0, DETAIL_BYTES_MAX))
}

/**
 * Reads a header from the first {@link FRAME_HEADER_BYTES} of `bytes`, which must hold them.
 *
 * Throws DfsError `frameMalformed` for flags that are not known.
 */
export function parseFrameHeader(bytes: Uint8Array): FrameHeader {
  invariant(bytes.length >= FRAME_HEADER_BYTES, 'a whole header is given to the parser')
  const flags = u16(bytes, FLAGS_AT)
  if (flags > SPARE_BYTE) {
    throw new DfsError(
      'frameMalformed',
      `flags of the frame header are ${flags}, not 0 or 1: the peer speaks another format`,
    )
  }
  return {
    messageBytes: u32(bytes, 0),
    code: u16(bytes, 4),
    deadlineMs: u32(bytes, 8),
    spareByte: flags === SPARE_BYTE,
  }
}

/** The error that an error response carries. */
export function decodeError(header: FrameHeader, message: Uint8Array): DfsError {
  const detail = Buffer.from(message.buffer, message.byteOffset, message.length).toString('utf8')
  return new DfsError(statusFromWire(header.code), detail)
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8)
}

function u32(bytes: Uint8Array, at: number): number {
  return (u16(bytes, at) | (u16(bytes, at + 2) << 16)) >>> 0
}
