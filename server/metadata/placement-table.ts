/**
 * Placement for many plans from the same candidates: chance by weight costs a binary search instead of
 * a walk over all of them, several times a chunk.
 *
 * Gives what {@link place} gives, with the same chances: a pick that the rules forbid is drawn again,
 * and after a few of those the walk decides.
 */
import { place, weight, type Candidate, type Random } from './placement.ts'

/** Below so many candidates the walk is as cheap. */
const WALK_MAX = 8
/** Draws for one replica before the walk is taken instead. */
const DRAWS_MAX = 8

export class PlacementTable {
  readonly #candidates: readonly Candidate[]
  /** At each candidate the sum of the weights up to it. */
  readonly #sums: Float64Array
  readonly #racks: number

  constructor(candidates: readonly Candidate[]) {
    this.#candidates = candidates
    this.#sums = new Float64Array(candidates.length)
    let sum = 0
    for (const [i, candidate] of candidates.entries()) {
      sum += weight(candidate)
      this.#sums[i] = sum
    }
    this.#racks = new Set(candidates.map(({ rack }) => rack)).size
  }

  get size(): number {
    return this.#candidates.length
  }

  /** As {@link place}, from the candidates of this table. */
  place(count: number, exclude: ReadonlySet<number>, random: Random): number[] {
    const walk = (): number[] => place(this.#candidates, count, exclude, random)
    if (this.#candidates.length < WALK_MAX) return walk()
    const chosen: Candidate[] = []
    while (chosen.length < count) {
      const candidate = this.#draw(chosen, exclude, random)
      if (candidate === undefined) return walk()
      chosen.push(candidate)
    }
    return chosen.map(({ id }) => id)
  }

  #draw(
    chosen: readonly Candidate[],
    exclude: ReadonlySet<number>,
    random: Random,
  ): Candidate | undefined {
    const [first] = chosen
    const otherRack = chosen.length === 1 && this.#racks > 1
    for (let draws = 0; draws < DRAWS_MAX; draws++) {
      const candidate = this.#candidates[this.#find(random)]
      if (candidate === undefined) return undefined
      if (exclude.has(candidate.id) || chosen.includes(candidate)) continue
      if (otherRack && candidate.rack === first?.rack) continue
      return candidate
    }
    return undefined
  }

  /** The first candidate whose sum is above a random one. */
  #find(random: Random): number {
    const sums = this.#sums
    const at = random() * (sums.at(-1) ?? 0)
    let low = 0
    let high = sums.length - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((sums[middle] ?? 0) > at) high = middle
      else low = middle + 1
    }
    return low
  }
}
