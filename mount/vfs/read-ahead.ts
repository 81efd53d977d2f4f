/**
 * How far ahead of a reader to fetch: nothing for one who jumps about, more and more for one who
 * reads on. Pure.
 */

const AHEAD_BYTES_MIN = 256 * 1_024
const AHEAD_BYTES_MAX = 8 * 1_024 * 1_024
/** Reads of one sequential reader may overtake each other by this much: the kernel asks in parallel. */
const DISORDER_BYTES = 1_024 * 1_024

export class ReadAhead {
  /** Where the reader will go on. */
  #expected = 0
  #ahead = 0
  /** Up to here something was fetched for this reader. */
  #fetchedTo = 0

  /** Whether the reader reads on. */
  get isSequential(): boolean {
    return this.#ahead > 0
  }

  /**
   * Tells of a read; returns up to where to fetch, `end` or more. What was fetched for it before is
   * counted, so that a sequential reader causes few, large fetches.
   */
  advance(position: number, end: number): number {
    const distance = position - this.#expected
    if (distance === 0) {
      this.#ahead = Math.min(AHEAD_BYTES_MAX, Math.max(AHEAD_BYTES_MIN, this.#ahead * 2))
    } else if (Math.abs(distance) > DISORDER_BYTES) {
      this.#ahead = 0
      this.#fetchedTo = end
    }
    this.#expected = distance < 0 && this.#ahead > 0 ? Math.max(this.#expected, end) : end
    if (this.#ahead === 0) return end
    if (this.#fetchedTo - end >= this.#ahead / 2) return end
    this.#fetchedTo = Math.max(end, end + this.#ahead)
    return this.#fetchedTo
  }
}
