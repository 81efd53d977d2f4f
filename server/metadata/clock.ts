/**
 * The time as the metadata server tells it: never backwards while it runs, so that what has expired
 * stays expired when somebody sets the machine's clock.
 */
export class Clock {
  readonly #source: () => number
  #lastMs = 0

  /** `source`: milliseconds since 1970; the machine's clock unless told otherwise. */
  constructor(source: () => number = Date.now) {
    this.#source = source
  }

  /** Milliseconds since 1970. */
  nowMs(): number {
    this.#lastMs = Math.max(this.#lastMs, this.#source())
    return this.#lastMs
  }

  /** Nanoseconds since 1970, in steps of a millisecond. */
  nowNs(): bigint {
    return BigInt(this.nowMs()) * 1_000_000n
  }
}
