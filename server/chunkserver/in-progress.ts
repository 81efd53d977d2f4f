/** Counts what is under way, and tells when nothing is: a stop waits for it. */
export class InProgress {
  #count = 0
  readonly #idlers: (() => void)[] = []

  get count(): number {
    return this.#count
  }

  enter(): void {
    this.#count++
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
