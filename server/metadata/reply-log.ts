/**
 * What a session's logged operations were answered, so that a repeated one takes effect once.
 *
 * The answer is written in the batch of the effects. Here is the index of what is logged: the
 * answers themselves stay in the store. A client says below which operation it has all answers;
 * those go with its next operation.
 */
import { DfsError } from '../../schema/wire/status.ts'
import type { Operation } from '../../schema/generated/common.ts'
import type { Database } from './store/database.ts'
import { keys, parts, ranges } from './store/keys.ts'
import { keysOf } from './store/page.ts'
import { tables } from './store/tables.ts'
import type { Transaction } from './store/transaction.ts'

/** Answers that a client may leave unacknowledged. */
export const UNACKNOWLEDGED_MAX = 4_096

export class ReplyLog {
  readonly #session: number
  readonly #logged = new Set<number>()
  readonly #running = new Map<number, Promise<unknown>>()
  #answeredBelow = 0

  constructor(session: number) {
    this.#session = session
  }

  /** The log of a session that an earlier process kept. */
  static async load(database: Database, session: number): Promise<ReplyLog> {
    const log = new ReplyLog(session)
    const range = ranges.replies(session)
    let after: Buffer | undefined
    for (;;) {
      // A damaged answer says still that the operation was carried out.
      const page = await database.durablePage(range, UNACKNOWLEDGED_MAX, after)
      for (const key of keysOf(page)) log.#logged.add(parts.operation(key))
      after = page.last
      if (after === undefined || !page.more) return log
    }
  }

  /** The same operation, still under way. */
  running(operation: number): Promise<unknown> | undefined {
    return this.#running.get(operation)
  }

  isLogged(operation: number): boolean {
    return this.#logged.has(operation)
  }

  /** Refuses an operation that the client says it has the answer of, and one too many. */
  check({ id, answeredBelow }: Operation): void {
    if (id === 0 || answeredBelow > id) {
      throw new DfsError('invalidArgument', `operation ${id} with answers below ${answeredBelow}`)
    }
    if (id < this.#answeredBelow) {
      throw new DfsError('invalidArgument', `operation ${id} was answered, and the answer received`)
    }
    if (
      this.#logged.size + this.#running.size >= UNACKNOWLEDGED_MAX &&
      answeredBelow <= this.#min()
    ) {
      throw new DfsError(
        'tooManyRequests',
        `${UNACKNOWLEDGED_MAX} answers of this session are not acknowledged; acknowledge some`,
      )
    }
  }

  /** Remembers an operation as under way until `answer` settles. */
  start(operation: number, answer: Promise<unknown>): void {
    this.#running.set(operation, answer)
    const over = (): void => void this.#running.delete(operation)
    answer.then(over, over)
  }

  /** Logs the answer in the operation's own transaction, and forgets what was acknowledged. */
  record(
    { id, answeredBelow }: Operation,
    method: number,
    answer: Uint8Array,
    txn: Transaction,
  ): void {
    txn.put(tables.replies, keys.reply(this.#session, id), { method, answer })
    const acknowledged: number[] = []
    if (answeredBelow > this.#answeredBelow) {
      for (const logged of this.#logged) if (logged < answeredBelow) acknowledged.push(logged)
    }
    for (const old of acknowledged) txn.delete(tables.replies, keys.reply(this.#session, old))
    txn.afterDecision(() => {
      for (const old of acknowledged) this.#logged.delete(old)
      this.#logged.add(id)
      this.#answeredBelow = Math.max(this.#answeredBelow, answeredBelow)
    })
  }

  /** Deletes a session's log from the store, in steps. */
  static async erase(database: Database, session: number): Promise<void> {
    const range = ranges.replies(session)
    let after: Buffer | undefined
    for (;;) {
      const page = await database.durablePage(range, ERASE_STEP, after)
      if (page.last === undefined) return
      await database.write({}, (txn) => {
        for (const key of keysOf(page)) txn.delete(tables.replies, key)
      })
      after = page.last
    }
  }

  #min(): number {
    let min = Number.MAX_SAFE_INTEGER
    for (const logged of this.#logged) min = Math.min(min, logged)
    return min
  }
}

/** Answers deleted in one transaction. */
const ERASE_STEP = 512
