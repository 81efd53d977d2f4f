/**
 * Memory for byte arrays that are small and soon forgotten, such as an encoded message, many of them in one piece.
 *
 * V8 keeps a record of each piece of memory outside of its heap, and goes through all of them when it
 * collects garbage: a server that answers ten thousand requests a second gave it seven for each.
 */

/** Bytes of a piece; one is kept as long as anything in it is used. */
const PIECE_BYTES = 16_384
/** Longest array that shares a piece, bytes. */
const SMALL_BYTES = 2_048

let piece = new ArrayBuffer(PIECE_BYTES)
let used = 0

/** So many bytes, zero, for a moment: what is kept for long is copied elsewhere. */
export function smallBytes(length: number): Uint8Array {
  if (length > SMALL_BYTES) return new Uint8Array(length)
  if (used + length > PIECE_BYTES) {
    piece = new ArrayBuffer(PIECE_BYTES)
    used = 0
  }
  const bytes = new Uint8Array(piece, used, length)
  used += length
  return bytes
}
