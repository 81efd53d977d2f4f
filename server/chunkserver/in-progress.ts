/** Counts what is under way, and tells when nothing is: a stop waits for it. */
export class InProgress {
  #count = 0
  #total = 0
  readonly #idlers: (() => void)[] = []

  get count(): number {
    return this.#count
  }

  /** All that ever began. */
  get total(): number {
    return this.#total
  }

  enter(): void {
    this.#count++
    this.#total++
  }

  leave(): void {
    this.#count--
    if (this.#count === 0) for (const resolve of this.#idlers.splice(0)) resolve()
  }

  idle(): Promise<void> {
    if (this.#count === 0) return Promise.resolve()
    return new Promise((resolve) => this.#idlers.push(resolve))
  }
}
