/**
 * Inodes that were changed here and stand in no checkpoint yet: the version that the server has
 * acknowledged of each, or that it was removed. Pure; bounded.
 */
import { limits } from '../../schema/wire/limits.ts'
import { pageOf } from './version-pages.ts'

/** Inodes that wait; of more, those that have waited longest are given up, and stay unprotected. */
const CHANGES_MAX = 65_536
/** Pages of bounds of one checkpoint: with those above them they fit into one request. */
const LEAVES_MAX = Math.floor(limits.treePagesPerRequestMax / limits.treeLevels)

export class Changes {
  readonly #bounds = new Map<number, number>()

  get size(): number {
    return this.#bounds.size
  }

  /** More than should wait for the next turn. */
  get many(): boolean {
    return this.#bounds.size > CHANGES_MAX / 4
  }

  /** The version of an inode is `bound` at least. Returns how many had to be given up. */
  raise(inode: number, bound: number): number {
    const known = this.#bounds.get(inode) ?? 0
    if (known >= bound) return 0
    this.#bounds.set(inode, bound)
    if (this.#bounds.size <= CHANGES_MAX) return 0
    const [oldest] = this.#bounds.keys()
    if (oldest !== undefined) this.#bounds.delete(oldest)
    return 1
  }

  /** As many as one checkpoint takes, the oldest first and their neighbours. */
  batch(): Map<number, number> {
    const leaves = new Set<number>()
    const batch = new Map<number, number>()
    for (const [inode, bound] of this.#bounds) {
      const leaf = pageOf(inode, 0)
      if (leaves.size === LEAVES_MAX && !leaves.has(leaf)) continue
      leaves.add(leaf)
      batch.set(inode, bound)
    }
    return batch
  }

  /** These are in a checkpoint now. */
  written(batch: ReadonlyMap<number, number>): void {
    for (const [inode, bound] of batch) {
      if (this.#bounds.get(inode) === bound) this.#bounds.delete(inode)
    }
  }
}
