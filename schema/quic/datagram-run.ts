/**
 * Datagrams that go to the kernel in one call: of one size, the last may be shorter, to one address, side
 * by side in memory. No I/O.
 */
import { errno } from '../system/native.ts'
import type { HostPort } from './address.ts'

/** The most that one call takes: UDP over IPv6 carries no more. */
const RUN_BYTES = 65_487
/** Datagrams that kernels before 6.9 take in one call. */
const RUN_DATAGRAMS_MAX = 64
/** Sizes whose buffers are kept: those of connections; what looks for a path's size uses many once. */
const SIZES_MAX = 8

export class DatagramRun {
  readonly #memory = Buffer.allocUnsafeSlow(RUN_BYTES)
  /** Buffers on the memory, side by side, by the size of each. */
  readonly #slots = new Map<number, Buffer[]>()
  #current: Buffer[] = []
  /** Bytes of each datagram but the last. */
  datagramBytes = 0
  /** Of the datagrams in `#current`, the first that is not sent yet. */
  #first = 0
  #end = 0
  #lastBytes = 0
  to: HostPort | undefined

  /** Datagrams that wait to be sent. */
  get count(): number {
    return this.#end - this.#first
  }

  /** Bytes of all that wait. */
  get bytes(): number {
    const { count } = this
    return count === 0 ? 0 : (count - 1) * this.datagramBytes + this.#lastBytes
  }

  /** Where what waits begins; it goes on behind the buffer. */
  get start(): Buffer {
    const start = this.#current[this.#first]
    if (start === undefined) throw new RangeError('an empty run has no start')
    return start
  }

  /** Whether nothing can be added to it. */
  get full(): boolean {
    if (this.count === 0) return false
    return this.#lastBytes < this.datagramBytes || this.#end === this.#current.length
  }

  /** A buffer for the next datagram, of at most `bytes`. The run must be empty, or take one of that size. */
  next(bytes: number): Buffer {
    if (this.count === 0) {
      this.#first = 0
      this.#end = 0
      if (bytes !== this.datagramBytes) {
        this.datagramBytes = bytes
        this.#current = this.#slots.get(bytes) ?? this.#cut(bytes)
      }
    }
    const slot = this.#current[this.#end]
    if (slot === undefined || bytes !== this.datagramBytes) {
      throw new RangeError(`no room for a datagram of ${bytes} bytes in a run`)
    }
    return slot
  }

  /** Adds the datagram that was made in the buffer of `next`. */
  add(bytes: number, to: HostPort): void {
    this.#end++
    this.#lastBytes = bytes
    this.to = to
  }

  /** The first of them are sent, or given up. */
  drop(count: number): void {
    this.#first += count
  }

  #cut(bytes: number): Buffer[] {
    if (this.#slots.size === SIZES_MAX) this.#slots.clear()
    const count = Math.min(RUN_DATAGRAMS_MAX, Math.floor(RUN_BYTES / bytes))
    const slots = Array.from({ length: count }, (_, n) =>
      this.#memory.subarray(n * bytes, (n + 1) * bytes),
    )
    this.#slots.set(bytes, slots)
    return slots
  }
}

/** Sends bytes as datagrams of so many, the last may be shorter; 0, or the number of the error. */
export type SendSegments = (
  from: Buffer,
  bytes: number,
  segmentBytes: number,
  to: HostPort,
) => number

/**
 * Sends what waits in a run: together, or one by one where that is refused. A datagram that is refused by
 * itself is dropped, and the error told to `failed`. False when the kernel takes no more for now: the
 * rest still waits.
 */
export function sendRun(
  run: DatagramRun,
  send: SendSegments,
  failed: (error: number) => void,
): boolean {
  let together = true
  while (run.count > 0 && run.to !== undefined) {
    const count = together ? run.count : 1
    const bytes = together ? run.bytes : Math.min(run.bytes, run.datagramBytes)
    const error = send(run.start, bytes, run.datagramBytes, run.to)
    if (error === errno.EAGAIN) return false
    // The kernel may only be unable to cut them, or to do it on this path.
    if (error !== 0 && count > 1) together = false
    else {
      run.drop(count)
      if (error !== 0) failed(error)
    }
  }
  return true
}
