/**
 * Reading around: of a file that is read here and there and fits in the cache, each place that was missing
 * brings its neighbours along, behind those who wait. So it is soon there whole, and reading it costs no
 * round trips. A file that is larger than that gets only what is asked for. Pure.
 */

/** Places that were missing before the others are fetched, too. */
const MISSES_MIN = 16
/** What one place brings along. */
export const AROUND_BYTES = 1_024 * 1_024
/** How many files of its size the cache must have room for. */
const FILES_IN_CACHE_MIN = 2

export class ReadAround {
  #misses = 0

  /**
   * Tells that a reader who jumps about found nothing at `position` of a file of `size` bytes, with a cache of
   * `cacheBytes`. Returns from where to fetch {@link AROUND_BYTES}, or undefined.
   */
  missed(position: number, size: number, cacheBytes: number): number | undefined {
    this.#misses++
    if (this.#misses <= MISSES_MIN || size * FILES_IN_CACHE_MIN > cacheBytes) return undefined
    return position - (position % AROUND_BYTES)
  }
}
