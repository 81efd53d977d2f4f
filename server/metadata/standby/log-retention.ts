/**
 * Which log records are kept, by number: how long each is and when it was written. No I/O.
 *
 * What a standby has is kept as a tail of bounded size, for another server that comes back and is
 * behind; what it lacks is kept up to a larger bound, beyond which it copies anew.
 */
import { invariant } from '../../../schema/wire/invariant.ts'

/** Bytes of log kept for a standby that is away. */
const LOG_BYTES_MAX = 512 * 1_048_576
/** Records kept for it; each has its entry in memory. */
const LOG_RECORDS_MAX = 250_000
/** Bytes and records kept of what the standby has. */
const TAIL_BYTES_MAX = 16 * 1_048_576
const TAIL_RECORDS_MAX = 4_096

interface Kept {
  readonly bytes: number
  readonly atMs: number
}

export interface RetentionBounds {
  readonly bytesMax: number
  readonly tailBytesMax: number
}

export class LogRetention {
  readonly #bounds: RetentionBounds
  /** From `#head` on: the records `first`, `first` + 1, … */
  #kept: Kept[] = []
  #head = 0
  #first: number
  #bytes = 0

  /** `first`: the number of the first record to come. */
  constructor(first: number, bounds: Partial<RetentionBounds> = {}) {
    this.#first = first
    this.#bounds = { bytesMax: LOG_BYTES_MAX, tailBytesMax: TAIL_BYTES_MAX, ...bounds }
  }

  /** The first number that is kept; the next to come when none is. */
  get first(): number {
    return this.#first
  }

  get end(): number {
    return this.#first + this.#kept.length - this.#head
  }

  get bytes(): number {
    return this.#bytes
  }

  add(bytes: number, atMs: number): void {
    this.#kept.push({ bytes, atMs })
    this.#bytes += bytes
  }

  /** When a record was written, milliseconds since 1970; undefined when it is not kept. */
  atMs(number: number): number | undefined {
    return this.#kept[this.#head + number - this.#first]?.atMs
  }

  /** Numbers to delete now, at most `limit`; `acked`: the last one that the standby has. */
  trim(acked: number, limit: number): number[] {
    return this.#take(limit, () => this.#tooMuch(acked))
  }

  /** Numbers to delete now, the oldest, at most `limit`: nobody needs any. */
  drop(limit: number): number[] {
    return this.#take(limit, () => true)
  }

  /** The next record has this number; nothing is kept. */
  skipTo(number: number): void {
    invariant(this.end === this.#first, 'there is no gap in the log')
    this.#first = number
  }

  #take(limit: number, unwanted: () => boolean): number[] {
    const numbers: number[] = []
    while (numbers.length < limit && this.#head < this.#kept.length && unwanted()) {
      numbers.push(this.#first)
      this.#bytes -= this.#kept[this.#head]?.bytes ?? 0
      this.#head++
      this.#first++
    }
    if (this.#head > this.#kept.length / 2) {
      this.#kept = this.#kept.slice(this.#head)
      this.#head = 0
    }
    return numbers
  }

  #tooMuch(acked: number): boolean {
    const records = this.#kept.length - this.#head
    if (this.#bytes > this.#bounds.bytesMax || records > LOG_RECORDS_MAX) return true
    if (this.#first > acked) return false
    return this.#bytes > this.#bounds.tailBytesMax || records > TAIL_RECORDS_MAX
  }
}
