/**
 * How many copies for repair a chunkserver takes and gives at once: few, so that they leave most of
 * a disk and a line to the users. What each takes is also bounded in bytes a second, by itself
 * (`dfs-chunkserver serve --copy-rate`).
 */
const TAKEN_MAX = 2
const GIVEN_MAX = 4

export class Streams {
  static readonly givenMax = GIVEN_MAX
  readonly #taken = new Map<number, number>()
  readonly #given = new Map<number, number>()

  mayTake(server: number): boolean {
    return (this.#taken.get(server) ?? 0) < TAKEN_MAX
  }

  /** Copies that a server gives just now. */
  given(server: number): number {
    return this.#given.get(server) ?? 0
  }

  /** A copy begins; the result ends it. */
  begin(source: number, target: number): () => void {
    count(this.#given, source, 1)
    count(this.#taken, target, 1)
    return () => {
      count(this.#given, source, -1)
      count(this.#taken, target, -1)
    }
  }
}

function count(counts: Map<number, number>, server: number, delta: number): void {
  const now = (counts.get(server) ?? 0) + delta
  if (now > 0) counts.set(server, now)
  else counts.delete(server)
}
