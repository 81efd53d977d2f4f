/**
 * Where a request's time goes, and the log line for one that took long.
 */
import { performance } from 'node:perf_hooks'
import type { Log } from '../../schema/rpc/api.ts'

/** Milliseconds from a request's arrival to its answer above which it is logged. */
export const SLOW_REQUEST_MS = 1_000
/** Lines about slow requests in {@link LINES_EVERY_MS}; the others are counted in the next line. */
const LINES_MAX = 10
const LINES_EVERY_MS = 10_000

/** Milliseconds by part; filled in while the request is served. */
export class RequestTimes {
  readonly arrivedMs = performance.now()
  /** In the user's line, until its turn came. */
  waitedMs = 0
  /** For others who change the same inodes. */
  turnMs = 0
  /** For the engine, of the transaction. */
  readMs = 0
  /** From the first run of the operation to its decision, reads included. */
  transactionMs = 0
  /** Until it was on disk, with what it rests on. */
  syncMs = 0
  /** Times that the operation was run. */
  runs = 0
}

export class SlowRequests {
  readonly #log: Log
  readonly #nowMs: () => number
  #windowMs = -Infinity
  #lines = 0
  #unlogged = 0

  constructor(log: Log, nowMs: () => number = () => performance.now()) {
    this.#log = log
    this.#nowMs = nowMs
  }

  /** A request has been served, or has failed. */
  ended(times: RequestTimes, user: number, method: string): void {
    const nowMs = this.#nowMs()
    const totalMs = nowMs - times.arrivedMs
    if (totalMs < SLOW_REQUEST_MS) return
    if (nowMs - this.#windowMs >= LINES_EVERY_MS) {
      this.#windowMs = nowMs
      this.#lines = 0
    }
    if (this.#lines++ >= LINES_MAX) {
      this.#unlogged++
      return
    }
    const { waitedMs, turnMs, readMs, transactionMs, syncMs, runs } = times
    const answerMs = totalMs - waitedMs - turnMs - transactionMs - syncMs
    const parts = { totalMs, waitedMs, turnMs, readMs, transactionMs, syncMs, answerMs }
    const rounded = Object.fromEntries(
      Object.entries(parts).map(([part, ms]) => [part, Math.round(ms)]),
    )
    this.#log.warn(
      { user, method, ...rounded, runs, unlogged: this.#unlogged },
      'slow request: waitedMs is overload, turnMs others at the same inode, readMs and syncMs the disk',
    )
    this.#unlogged = 0
  }
}
