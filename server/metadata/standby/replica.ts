/**
 * A store that follows another one's log: applies batches in their order, many of them in one synced
 * write when they come faster than the disk. What it has acknowledged is durable.
 */
import { DfsError } from '../../../schema/wire/status.ts'
import type { CommitLog } from './commit-log.ts'
import { historyChange, Role } from './history.ts'
import type { OrderedStore } from '../../store/ordered-store.ts'

/** Requests that may wait for those before them. */
const PARKED_MAX = 256

interface Portion {
  readonly records: readonly Buffer[]
  readonly epoch: number
  readonly resolve: (number: number) => void
  readonly reject: (error: unknown) => void
}

export class Replica {
  readonly store: OrderedStore
  readonly commitLog: CommitLog
  readonly #onFailure: (error: unknown) => void
  /** Number of the next record to be queued. */
  #next: number
  #queue: Portion[] = []
  #applying: Promise<void> | undefined
  readonly #parked = new Map<number, { resolve: () => void; reject: (error: unknown) => void }>()
  #failed = false

  /** `onFailure`: the store cannot be written; the process must end. */
  constructor(store: OrderedStore, commitLog: CommitLog, onFailure: (error: unknown) => void) {
    this.store = store
    this.commitLog = commitLog
    this.#onFailure = onFailure
    this.#next = commitLog.history.number + 1
  }

  get number(): number {
    return this.commitLog.written
  }

  /** Takes records of which the first is number `first`; resolves when they are durable. */
  async append(first: number, records: readonly Buffer[], epoch: number): Promise<number> {
    if (first > this.#next) await this.#turn(first)
    if (first !== this.#next) {
      throw new DfsError('invalidArgument', `batch ${first} was sent, ${this.#next} is the next`)
    }
    this.#next += records.length
    const durable = new Promise<number>((resolve, reject) => {
      this.#queue.push({ records, epoch, resolve, reject })
    })
    this.#parked.get(this.#next)?.resolve()
    this.#parked.delete(this.#next)
    this.#applying ??= this.#apply().finally(() => (this.#applying = undefined))
    return durable
  }

  /** This store is a standby's from now on, under a metadata server of `epoch`. */
  async adopt(epoch: number): Promise<void> {
    const { history } = this.commitLog
    if (history.role === Role.standby && history.epoch === epoch) return
    this.commitLog.adopt(epoch)
    await this.store.write([historyChange(this.commitLog.history)], { sync: true })
  }

  /** The connection is over: what is queued is applied, what waited for others is dropped. */
  async settle(): Promise<void> {
    const over = new DfsError(
      'connectionLost',
      'the connection ended before the batch had its turn',
    )
    for (const { reject } of this.#parked.values()) reject(over)
    this.#parked.clear()
    while (this.#applying !== undefined) await this.#applying
    this.#next = this.commitLog.history.number + 1
  }

  async close(): Promise<void> {
    await this.settle()
    await this.store.close()
  }

  async #turn(first: number): Promise<void> {
    if (this.#parked.size >= PARKED_MAX) {
      throw new DfsError('tooManyRequests', `${PARKED_MAX} batches wait for one that did not come`)
    }
    await new Promise<void>((resolve, reject) => this.#parked.set(first, { resolve, reject }))
  }

  async #apply(): Promise<void> {
    while (this.#queue.length > 0 && !this.#failed) {
      const portions = this.#queue
      this.#queue = []
      try {
        const { epoch } = portions.at(-1) ?? { epoch: 0 }
        const changes = this.commitLog.replicate(
          portions.flatMap(({ records }) => [...records]),
          epoch,
        )
        const { number } = this.commitLog.history
        await this.store.write(changes, { sync: true })
        this.commitLog.wrote(number)
        for (const { resolve } of portions) resolve(number)
      } catch (error) {
        for (const { reject } of portions) reject(error)
        if (error instanceof DfsError && error.code === 'frameMalformed') continue
        this.#failed = true
        this.#onFailure(error)
      }
    }
  }
}
