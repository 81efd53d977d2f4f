/**
 * Repairing single losses on the way: after some datagrams follows their exclusive or, from which the
 * receiver makes the one that is missing. Bytes in, bytes out.
 *
 *     u8 kind | id of the connection at the receiver (8) | u8 count | u16 exclusive or of the lengths |
 *     count × the last 4 bytes of a datagram, which tell it | exclusive or of the datagrams
 *
 * Little-endian. It travels beside QUIC and is not authenticated: what is made of a forged one is a
 * datagram that quiche finds damaged and drops.
 */
import { quicLimits } from './limits.ts'
import { PARITY } from './side-channel.ts'

/** Datagrams that one message covers at most; with 1 % loss, 1 in 7 losses has company among 17. */
export const COVERED_MAX = 16
/** Datagrams covered at least when nothing more is to be sent: for one alone, QUIC's repeat is cheaper. */
export const COVERED_MIN = 2
/** Largest datagrams that are covered, bytes; larger ones are of paths that lose little. */
export const COVERED_BYTES_MAX = 1_500
/** Received datagrams that are kept for repairs: those of a message, and some that overtook it. */
const KEPT_MAX = 2 * COVERED_MAX

const COUNT_AT = 1 + quicLimits.connectionIdBytes
const LENGTH_AT = COUNT_AT + 1
const MARKS_AT = LENGTH_AT + 2
const MARK_BYTES = 4
/** Bytes by which a message may be longer than the datagrams that it covers. */
export const PARITY_HEADER_BYTES = MARKS_AT + MARK_BYTES * COVERED_MAX
const WORD_BYTES = 4
const WORDS = Math.ceil(COVERED_BYTES_MAX / WORD_BYTES)

/** Collects what is sent. */
export class ParitySum {
  /** Datagrams covered so far. */
  count = 0
  readonly #sum = new Int32Array(WORDS)
  readonly #marks = new Uint32Array(COVERED_MAX)
  #length = 0
  #longest = 0

  get full(): boolean {
    return this.count === COVERED_MAX
  }

  /** Adds the first `bytes` of a buffer, which may be more than they are. */
  add(buffer: Buffer, bytes: number): void {
    if (bytes < MARK_BYTES || bytes > COVERED_BYTES_MAX || this.full) return
    xorInto(this.#sum, buffer, bytes)
    this.#marks[this.count++] = buffer.readUInt32LE(bytes - MARK_BYTES)
    this.#length ^= bytes
    this.#longest = Math.max(this.#longest, bytes)
  }

  /** Writes the message into `out`, and begins anew; its bytes. */
  take(out: Buffer, id: Uint8Array): number {
    out[0] = PARITY
    out.fill(0, 1, COUNT_AT)
    out.set(id.subarray(0, quicLimits.connectionIdBytes), 1)
    out[COUNT_AT] = this.count
    out.writeUInt16LE(this.#length, LENGTH_AT)
    for (let index = 0; index < this.count; index++) {
      out.writeUInt32LE(this.#marks[index] ?? 0, MARKS_AT + MARK_BYTES * index)
    }
    const bodyAt = MARKS_AT + MARK_BYTES * this.count
    out.set(new Uint8Array(this.#sum.buffer, 0, this.#longest), bodyAt)
    const bytes = bodyAt + this.#longest
    this.#sum.fill(0)
    this.count = 0
    this.#length = 0
    this.#longest = 0
    return bytes
  }
}

/** Remembers what was received, as it was received: quiche decrypts in place. */
export class ParityRepair {
  readonly #kept = Array.from({ length: KEPT_MAX }, () => Buffer.alloc(WORDS * WORD_BYTES))
  readonly #lengths = new Uint16Array(KEPT_MAX)
  readonly #marks = new Uint32Array(KEPT_MAX)
  #next = 0

  keep(datagram: Buffer): void {
    const bytes = datagram.length
    if (bytes < MARK_BYTES || bytes > COVERED_BYTES_MAX) return
    const slot = this.#next
    this.#next = (slot + 1) % KEPT_MAX
    this.#kept[slot]?.set(datagram)
    this.#lengths[slot] = bytes
    this.#marks[slot] = datagram.readUInt32LE(bytes - MARK_BYTES)
  }

  /** The datagram that is missing among those of the message; undefined unless it is exactly one. */
  repair(message: Buffer): Buffer | undefined {
    const count = message[COUNT_AT] ?? 0
    const bodyAt = MARKS_AT + MARK_BYTES * count
    const bodyBytes = message.length - bodyAt
    if (count < COVERED_MIN || count > COVERED_MAX) return undefined
    if (bodyBytes < MARK_BYTES || bodyBytes > COVERED_BYTES_MAX) return undefined
    const have: number[] = []
    for (let at = MARKS_AT; at < bodyAt; at += MARK_BYTES) {
      const slot = this.#slotOf(message.readUInt32LE(at))
      if (slot !== undefined) have.push(slot)
    }
    if (have.length !== count - 1) return undefined
    const sum = new Int32Array(WORDS)
    xorInto(sum, message.subarray(bodyAt), bodyBytes)
    let length = message.readUInt16LE(LENGTH_AT)
    for (const slot of have) {
      const bytes = this.#lengths[slot] ?? 0
      xorInto(sum, this.#kept[slot] ?? message, bytes)
      length ^= bytes
    }
    if (length < MARK_BYTES || length > bodyBytes) return undefined
    const repaired = Buffer.from(sum.buffer, 0, length)
    this.keep(repaired)
    return repaired
  }

  #slotOf(mark: number): number | undefined {
    for (let back = 1; back <= KEPT_MAX; back++) {
      const slot = (this.#next - back + KEPT_MAX) % KEPT_MAX
      if (this.#marks[slot] === mark && this.#lengths[slot] !== 0) return slot
    }
    return undefined
  }
}

/** Word by word as far as the bytes are aligned, which those of our own buffers are. */
function xorInto(sum: Int32Array, from: Buffer, bytes: number): void {
  const aligned = from.byteOffset % WORD_BYTES === 0
  const words = aligned ? Math.floor(bytes / WORD_BYTES) : 0
  if (words > 0) {
    const source = new Int32Array(from.buffer, from.byteOffset, words)
    for (let index = 0; index < words; index++)
      sum[index] = (sum[index] ?? 0) ^ (source[index] ?? 0)
  }
  const rest = new Uint8Array(sum.buffer)
  for (let at = words * WORD_BYTES; at < bytes; at++) rest[at] = (rest[at] ?? 0) ^ (from[at] ?? 0)
}
