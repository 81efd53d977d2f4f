/**
 * Keeps a path what it is while something is done by it: a directory is not moved while requests go
 * through it, and requests that would wait until it has moved, and then go by its new path.
 *
 * The kernel sees to this only within one directory; it names inodes, which do not care where they are.
 */

interface Move {
  readonly from: string
  readonly to: string
  readonly done: Promise<void>
}

export class PathGate {
  /** Paths in use, with by how many requests. Bounded by the requests in progress. */
  readonly #used = new Map<string, number>()
  readonly #moves = new Set<Move>()
  #onLeave: (() => void)[] = []

  /** Does `work` with what `pathNow` gives; it is asked again after each wait, and may throw. */
  async by<T>(pathNow: () => string, work: (path: string) => Promise<T>): Promise<T> {
    let path = pathNow()
    for (let move = this.#moveAt(path); move !== undefined; move = this.#moveAt(path)) {
      await move.done
      path = pathNow()
    }
    this.#enter(path)
    try {
      return await work(path)
    } finally {
      this.#leave(path)
    }
  }

  /** The same with two paths at once. */
  async byBoth<T>(
    pathsNow: () => readonly [string, string],
    work: (first: string, second: string) => Promise<T>,
  ): Promise<T> {
    let [first, second] = pathsNow()
    for (;;) {
      const move = this.#moveAt(first) ?? this.#moveAt(second)
      if (move === undefined) break
      await move.done
      ;[first, second] = pathsNow()
    }
    this.#enter(first)
    this.#enter(second)
    try {
      return await work(first, second)
    } finally {
      this.#leave(first)
      this.#leave(second)
    }
  }

  /** Does `work`, which moves the directory at one path to the other, with nobody on the way. */
  async move<T>(
    pathsNow: () => readonly [string, string],
    work: (from: string, to: string) => Promise<T>,
  ): Promise<T> {
    let [from, to] = pathsNow()
    for (;;) {
      const other = this.#moveAt(from) ?? this.#moveAt(to) ?? this.#moveBelow(from, to)
      if (other === undefined) break
      await other.done
      ;[from, to] = pathsNow()
    }
    let onDone = (): void => undefined
    const done = new Promise<void>((resolve) => {
      onDone = resolve
    })
    const move = { from, to, done }
    this.#moves.add(move)
    try {
      while (this.#isUsed(from, to)) {
        await new Promise<void>((resolve) => {
          this.#onLeave.push(resolve)
        })
      }
      return await work(from, to)
    } finally {
      this.#moves.delete(move)
      onDone()
    }
  }

  #enter(path: string): void {
    this.#used.set(path, (this.#used.get(path) ?? 0) + 1)
  }

  #leave(path: string): void {
    const left = (this.#used.get(path) ?? 1) - 1
    if (left > 0) this.#used.set(path, left)
    else this.#used.delete(path)
    if (this.#onLeave.length === 0) return
    const waiting = this.#onLeave
    this.#onLeave = []
    for (const resolve of waiting) resolve()
  }

  /** A move that a request by `path` must wait for. */
  #moveAt(path: string): Move | undefined {
    if (this.#moves.size === 0) return undefined
    for (const move of this.#moves) {
      if (isWithin(path, move.from) || isWithin(path, move.to)) return move
    }
    return undefined
  }

  /** A move of something below what another one moves. */
  #moveBelow(from: string, to: string): Move | undefined {
    for (const move of this.#moves) {
      const ends = [move.from, move.to]
      if (ends.some((end) => isWithin(end, from) || isWithin(end, to))) return move
    }
    return undefined
  }

  #isUsed(from: string, to: string): boolean {
    for (const path of this.#used.keys()) {
      if (isWithin(path, from) || isWithin(path, to)) return true
    }
    return false
  }
}

/** True for a directory's own path and all below it. */
function isWithin(path: string, directory: string): boolean {
  return path === directory || (path.startsWith(directory) && path[directory.length] === '/')
}
