/**
 * Answers to the kernel: each request gets exactly one, in bounded time, whatever the file system
 * does. The one place where a DfsError becomes an errno.
 *
 * An error that is not a DfsError is a bug: it is logged with its stack and answered EIO. A request
 * that is not done by its deadline is answered ETIMEDOUT; what it brings later is given back. Causes
 * of errors that an application cannot explain to its user (EIO and the like) are logged, at a
 * bounded rate.
 */
import { constants } from 'node:os'
import { DfsError, STATUS } from '../../schema/wire/status.ts'
import type { Log } from '../../schema/rpc/api.ts'
import type { OperationName } from './protocol.ts'

/** Operations as the log names them: changing a file's size is one that moves data. */
export type Operation = OperationName | 'truncate'
/** What a request is about, for the log. */
export type Subject = string | { toString(): string }
/** 0, or a negative errno. */
export type Code = number
/** Sends the answer; the value is there when `code` is 0. */
export type Answer<T> = (code: Code, value?: T) => void

/** Milliseconds from a request to its answer. */
export interface Deadlines {
  /** Most requests. */
  readonly requestMs: number
  /**
   * Those that carry data to the servers: up to a full write buffer over a slow line; and a listing,
   * which is one request however many entries there are.
   */
  readonly dataMs: number
}

export const defaultDeadlines: Deadlines = { requestMs: 60_000, dataMs: 300_000 }

/** Requests slower than this are logged when they end, ms. */
const slowMs = 10_000
/** How often deadlines are looked at, ms. */
const sweepMs = 250
/** Log lines about failed requests in one second. */
const logLinesPerSecondMax = 20

const errnoByName: Readonly<Record<string, number | undefined>> = constants.errno
const eio = -constants.errno.EIO

interface Pending {
  readonly operation: Operation
  readonly subject: Subject
  readonly startedMs: number
  readonly deadlineMs: number
  readonly answer: Answer<never>
  answered: boolean
}

/** The requests of one mount that are not answered yet. */
export class Requests {
  readonly #log: Log
  readonly #deadlines: Deadlines
  readonly #pending = new Set<Pending>()
  readonly #sweeper: NodeJS.Timeout
  #stopped: Code | undefined
  #logSecond = 0
  #logLines = 0
  #logSuppressed = 0

  constructor(log: Log, deadlines: Deadlines) {
    this.#log = log
    this.#deadlines = deadlines
    this.#sweeper = setInterval(() => this.#sweep(performance.now()), sweepMs)
    this.#sweeper.unref()
  }

  /** Requests that wait for the file system now. */
  get pending(): number {
    return this.#pending.size
  }

  /** The code that answers everything once the mount is going, else undefined. */
  get stopped(): Code | undefined {
    return this.#stopped
  }

  /**
   * Does `work` and answers. `discard` gets a result that came after the deadline, to give back what
   * it holds.
   */
  run<T>(
    operation: Operation,
    subject: Subject,
    work: () => T | Promise<T>,
    answer: Answer<T>,
    discard?: (late: T) => void,
  ): void {
    if (this.#stopped !== undefined) {
      answer(this.#stopped)
      return
    }
    let outcome: T | Promise<T>
    try {
      outcome = work()
    } catch (error) {
      answer(this.failed(operation, subject, error))
      return
    }
    if (outcome instanceof Promise) this.follow(operation, subject, outcome, answer, discard)
    else this.#send(operation, subject, answer, outcome)
  }

  /** As `run`, for work that is under way. */
  follow<T>(
    operation: Operation,
    subject: Subject,
    outcome: Promise<T>,
    answer: Answer<T>,
    discard?: (late: T) => void,
  ): void {
    const startedMs = performance.now()
    const deadlineMs = startedMs + this.#allowedMs(operation)
    const pending = { operation, subject, startedMs, deadlineMs, answer, answered: false }
    this.#pending.add(pending)
    outcome.then(
      (value) => {
        if (!this.#settle(pending)) discard?.(value)
        else this.#send(operation, subject, answer, value)
      },
      (error: unknown) => {
        const code = this.failed(operation, subject, error)
        if (this.#settle(pending)) answer(code)
      },
    )
  }

  /** The code for an error, which is logged when it says more than the errno does. */
  failed(operation: Operation, subject: Subject, error: unknown): Code {
    if (!(error instanceof DfsError)) {
      this.#log.error(
        { operation, subject: String(subject), err: error },
        'a bug: answered EIO; please report this',
      )
      return eio
    }
    if (!isForTheApplication(error)) {
      const { code, errno, message } = error
      this.#warn(
        { operation, subject: String(subject), code, errno, cause: message },
        'request failed',
      )
    }
    return codeOf(error)
  }

  /** Answers all that waits, and all that comes, with `code`. */
  stop(code: Code): void {
    this.#stopped = code
    clearInterval(this.#sweeper)
    for (const pending of this.#pending) {
      pending.answered = true
      pending.answer(code)
    }
    this.#pending.clear()
  }

  /** True when the caller must answer, false when somebody has. */
  #settle(pending: Pending): boolean {
    const tookMs = performance.now() - pending.startedMs
    if (tookMs > slowMs) {
      const { operation, subject } = pending
      const fields = { operation, subject: String(subject), tookMs: Math.round(tookMs) }
      this.#warn(fields, 'slow request')
    }
    if (pending.answered) return false
    pending.answered = true
    this.#pending.delete(pending)
    return true
  }

  /** A result that does not fit the kernel's structures is a bug as well, and answered. */
  #send<T>(operation: Operation, subject: Subject, answer: Answer<T>, value: T): void {
    try {
      answer(0, value)
    } catch (error) {
      answer(this.failed(operation, subject, error))
    }
  }

  #sweep(nowMs: number): void {
    for (const pending of this.#pending) {
      if (nowMs < pending.deadlineMs) continue
      const { operation, subject } = pending
      pending.answered = true
      this.#pending.delete(pending)
      const deadlineMs = Math.round(pending.deadlineMs - pending.startedMs)
      this.#log.error(
        { operation, subject: String(subject), deadlineMs },
        'the file system did not answer by the deadline: answered ETIMEDOUT',
      )
      pending.answer(-constants.errno.ETIMEDOUT)
    }
  }

  #allowedMs(operation: Operation): number {
    switch (operation) {
      case 'flush':
      case 'fsync':
      case 'fsyncdir':
      case 'release':
      case 'write':
      case 'truncate':
      case 'readdir':
        return this.#deadlines.dataMs
      default:
        return this.#deadlines.requestMs
    }
  }

  #warn(fields: object, message: string): void {
    const second = Math.floor(performance.now() / 1_000)
    if (second !== this.#logSecond) {
      if (this.#logSuppressed > 0) {
        this.#log.warn({ lines: this.#logSuppressed }, 'more failed requests were not logged')
      }
      this.#logSecond = second
      this.#logLines = 0
      this.#logSuppressed = 0
    }
    if (this.#logLines < logLinesPerSecondMax) {
      this.#logLines++
      this.#log.warn(fields, message)
    } else this.#logSuppressed++
  }
}

/** The negative errno of a DfsError. */
export function codeOf(error: DfsError): Code {
  const errno = errnoByName[error.errno]
  return errno === undefined ? eio : -errno
}

/** Ordinary answers about the tree, which the errno tells in full. */
function isForTheApplication(error: DfsError): boolean {
  const { wire } = STATUS[error.code]
  const aboutTree = wire >= STATUS.notFound.wire && wire <= STATUS.noAttribute.wire
  return aboutTree && error.errno !== 'ESTALE'
}
