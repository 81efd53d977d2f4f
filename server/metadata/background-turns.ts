/**
 * Lets work that no user waits for begin in bounded pieces: so much in each turn of the event loop.
 *
 * Without it, pieces that waited for the same sync, or that came in the same second from hundreds of
 * chunkservers, run in one turn, and every request waits for all of them.
 */

/** Records changed by what begins in one turn: a few microseconds each. */
const RECORDS_PER_TURN = 256

export class BackgroundTurns {
  #left = RECORDS_PER_TURN
  readonly #waiting: { readonly records: number; readonly begin: () => void }[] = []
  #scheduled = false

  /** Resolves when a piece may begin that changes about `records` records. */
  async next(records: number): Promise<void> {
    if (this.#left > 0 && this.#waiting.length === 0) this.#take(records)
    else await new Promise<void>((begin) => this.#waiting.push({ records, begin }))
  }

  #take(records: number): void {
    this.#left -= records
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#turn()
    })
  }

  #turn(): void {
    // A piece that was larger than a turn is made up for by the next ones.
    this.#left = Math.min(RECORDS_PER_TURN, this.#left + RECORDS_PER_TURN)
    while (this.#left > 0) {
      const first = this.#waiting.shift()
      if (first === undefined) break
      this.#take(first.records)
      first.begin()
    }
    if (this.#left < RECORDS_PER_TURN) this.#schedule()
  }
}
