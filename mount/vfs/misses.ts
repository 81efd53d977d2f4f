/**
 * Counts the names that had to be asked for one by one, by directory, and tells when asking for all
 * of a directory at once costs less. Pure.
 */
import { LRUCache } from 'lru-cache'

/** Entries that a page brings for about the price of one single name. */
const ENTRIES_PER_MISS = 64
/** Directories whose misses are counted. */
const DIRECTORIES_MAX = 4_096

export class Misses {
  readonly #counts = new LRUCache<number, number>({ max: DIRECTORIES_MAX })

  /** A name of a directory of `entryCount` is not known; true when all should be asked for. */
  missed(directory: number, entryCount: number): boolean {
    const count = (this.#counts.get(directory) ?? 0) + 1
    this.#counts.set(directory, count)
    if (entryCount > count * ENTRIES_PER_MISS) return false
    this.#counts.delete(directory)
    return true
  }

  /** A listing failed, or did not last: it is as if nothing had been asked for yet, and less likely. */
  failed(directory: number, entryCount: number): void {
    this.#counts.set(directory, -Math.ceil(entryCount / ENTRIES_PER_MISS) - 1)
  }
}
