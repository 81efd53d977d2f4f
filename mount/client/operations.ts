/**
 * The operations of one session under way: their ids, which of them the server may forget, and what
 * is to be thought of one whose answer was lost. Pure bookkeeping.
 *
 * The server remembers an operation's answer by session and id, so an operation repeated with its id
 * takes effect once, as long as it is the same session. When the server has ended that session, its
 * memory of answers went with it: an operation that may have reached the server must then not be
 * repeated, and fails as of unknown outcome.
 */
import type { Operation } from '../../schema/generated/common.ts'

export class Operations {
  #next = 1
  #generation = 0
  /** Ids under way; they enter in ascending order, so the first is the smallest. */
  readonly #open = new Map<number, OpenOperation>()

  /** Operations without an answer yet. */
  get size(): number {
    return this.#open.size
  }

  begin(): OpenOperation {
    const operation = new OpenOperation(this.#next++, this.#generation)
    this.#open.set(operation.id, operation)
    return operation
  }

  /** As it travels: with the id below which everything is answered, as of now. */
  wire(operation: OpenOperation): Operation {
    const first = this.#open.keys().next()
    return { id: operation.id, answeredBelow: first.done === true ? operation.id : first.value }
  }

  /** The answer is known, or nobody waits for it any more. */
  end(operation: OpenOperation): void {
    this.#open.delete(operation.id)
  }

  /** The server ended the session: what it may have carried out already must not be repeated. */
  sessionLost(): void {
    this.#generation++
    for (const operation of this.#open.values()) {
      if (operation.uncertain) operation.abandon()
    }
  }

  /** Whether an operation began in a session that the server has ended since. */
  outlivedSession(operation: OpenOperation): boolean {
    return operation.generation !== this.#generation
  }
}

export class OpenOperation {
  readonly id: number
  readonly generation: number
  /** An attempt of it may have reached the server, and its answer did not come back. */
  uncertain = false
  readonly #abandoned = new AbortController()

  constructor(id: number, generation: number) {
    this.id = id
    this.generation = generation
  }

  /** Aborted when it must not be sent again. */
  get signal(): AbortSignal {
    return this.#abandoned.signal
  }

  abandon(): void {
    this.#abandoned.abort()
  }
}
