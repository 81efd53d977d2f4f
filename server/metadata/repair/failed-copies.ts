/**
 * Tells the log of copies that failed, in few lines: when no server takes any, they fail by the
 * thousand.
 */
import type { Log } from '../../../schema/rpc/api.ts'
import type { DfsError } from '../../../schema/wire/status.ts'
import type { Clock } from '../clock.ts'

/** Milliseconds between two lines. */
const LINE_MS = 10_000

interface Failure {
  readonly chunk: number
  readonly server: number
  readonly error: DfsError
}

export class FailedCopies {
  readonly #clock: Clock
  readonly #log: Log
  #first: Failure | undefined
  #count = 0
  #toldMs = -Infinity

  constructor(clock: Clock, log: Log) {
    this.#clock = clock
    this.#log = log
  }

  /** One more. The first is told at once. */
  add(failure: Failure): void {
    this.#first ??= failure
    this.#count++
    this.tell()
  }

  /** Writes a line about those that were not told yet, unless the last line is too young. */
  tell(): void {
    const first = this.#first
    if (first === undefined || this.#clock.nowMs() - this.#toldMs < LINE_MS) return
    const { chunk, server, error } = first
    this.#log.warn(
      { failed: this.#count, chunk, server, code: error.code, err: error.message },
      'could not make replicas and tries again; of the first it says where and why. If it goes on, look at that chunkserver',
    )
    this.#first = undefined
    this.#count = 0
    this.#toldMs = this.#clock.nowMs()
  }
}
