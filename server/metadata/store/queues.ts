/**
 * Lines of waiting, one per number: who entered first on a number goes first. A mutation enters on
 * all inodes that it will change, so that two creates in one directory follow each other instead of
 * colliding and running twice.
 *
 * Entering on several numbers happens in one go, so everybody waits only for those who came
 * before, and no circle can form.
 */
class Turn {
  readonly over: Promise<void>
  #end: () => void = () => undefined

  constructor() {
    this.over = new Promise((resolve) => (this.#end = resolve))
  }

  end(): void {
    this.#end()
  }
}

export class Queues {
  readonly #last = new Map<number, Turn>()

  /** Resolves with what ends our turn when everybody before us on any of `numbers` has gone. */
  async enter(numbers: readonly number[]): Promise<() => void> {
    const turn = new Turn()
    const before: Promise<void>[] = []
    for (const number of numbers) {
      const last = this.#last.get(number)
      // The same number twice in one call must not wait for itself.
      if (last !== undefined && last !== turn) before.push(last.over)
      this.#last.set(number, turn)
    }
    if (before.length > 0) await Promise.all(before)
    return () => {
      for (const number of numbers) {
        if (this.#last.get(number) === turn) this.#last.delete(number)
      }
      turn.end()
    }
  }

  /** Numbers that somebody is at or waits for. */
  get size(): number {
    return this.#last.size
  }
}
