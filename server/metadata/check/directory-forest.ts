/**
 * Whether every directory is below a root: parents that lead in a circle agree with every count.
 *
 * The one part of a check whose memory grows with the store, by 20 bytes a directory.
 */
const FIRST_CAPACITY = 1_024
const UNSEEN = 0
const ON_PATH = 1
const ATTACHED = 2
const DETACHED = 3

export class DirectoryForest {
  #ids = new Float64Array(FIRST_CAPACITY)
  #parents = new Float64Array(FIRST_CAPACITY)
  #count = 0

  /** To be called in the order of ids; a root is its own parent. */
  add(id: number, parent: number): void {
    if (this.#count === this.#ids.length) {
      this.#ids = grown(this.#ids)
      this.#parents = grown(this.#parents)
    }
    this.#ids[this.#count] = id
    this.#parents[this.#count] = parent
    this.#count++
  }

  /** Directories from which no way up ends at a root. */
  *detached(): Generator<number> {
    const state = new Uint8Array(this.#count)
    const path: number[] = []
    for (let start = 0; start < this.#count; start++) {
      let at = start
      path.length = 0
      while (at >= 0 && state[at] === UNSEEN) {
        state[at] = ON_PATH
        path.push(at)
        const above = this.#indexOf(this.#parents[at] ?? 0)
        if (above === at) state[at] = ATTACHED
        at = above
      }
      const verdict = at >= 0 && state[at] === ATTACHED ? ATTACHED : DETACHED
      for (const index of path) {
        if (state[index] === ON_PATH) state[index] = verdict
        if (state[index] === DETACHED) yield this.#ids[index] ?? 0
      }
    }
  }

  /** -1 when there is none. */
  #indexOf(id: number): number {
    let [low, high] = [0, this.#count]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#ids[middle] ?? 0) < id) low = middle + 1
      else high = middle
    }
    return low < this.#count && this.#ids[low] === id ? low : -1
  }
}

function grown(old: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(2 * old.length)
  larger.set(old)
  return larger
}
