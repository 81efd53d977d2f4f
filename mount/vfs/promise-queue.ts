/**
 * Runs tasks one after the other, in the order in which they were given: a mutex as a promise chain.
 */
export class PromiseQueue {
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0

  /** Nothing runs and nothing waits. */
  get idle(): boolean {
    return this.#waiting === 0
  }

  /** Runs `task` when those before it have ended, however they ended. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    this.#waiting++
    const result = this.#last.then(task)
    this.#last = result.then(
      () => this.#waiting--,
      () => this.#waiting--,
    )
    return result
  }
}
