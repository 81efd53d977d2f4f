/**
 * Group commit: transactions are decided in memory, one after the other and each in one go; what is
 * decided while a batch is being written goes into the next, in one synced write. So the rate of
 * commits is not bound to the rate of syncs, and the wait adapts by itself: an idle server writes at
 * once, a busy one gathers for as long as a sync takes.
 *
 * Decided but not yet durable records are in the overlay; whoever reads them answers only after
 * they are durable. Later decisions build on them, so a batch that cannot be written ends the
 * server (`onFailure`): there is no way to take back what others have seen.
 *
 * What waits is cut into batches of a bounded size, as handing one over blocks everybody. Each has the
 * counters as they were after its last decision.
 *
 * Durable is what is on our own disk and, when a synchronous standby is followed by one, also on the
 * standby's (standby/commit-log.ts). The next batch is written meanwhile.
 */
import type { Change, OrderedStore } from '../../store/ordered-store.ts'
import type { CommitLog } from '../standby/commit-log.ts'
import type { Counters } from './counters.ts'
import type { RecordCache } from './record-cache.ts'
import type { Table } from './tables.ts'
import type { Transaction } from './transaction.ts'

/** What a record will be once its batch is written. */
export interface Decided {
  readonly value: unknown
  readonly sequence: number
}

/**
 * Told the key of a record that was decided, whether there is one now, and the number of the decision.
 * Must not throw.
 */
export type Watcher = (key: Buffer, exists: boolean, sequence: number) => void

interface Batch {
  readonly changes: Change[]
  readonly texts: string[]
  readonly durable: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
  /** The last decision in it. */
  sequence: number
  /** Its number in the log, once it is being written. */
  number: number
}

/** Changes after which a batch takes no further decision: about 5 ms of everybody's time. */
const BATCH_CHANGES_MAX = 1_024
/** Decisions remembered in a generation before the one before it is forgotten. */
const GENERATION_WRITES_MIN = 4_096

function newBatch(): Batch {
  let resolve = (): void => undefined
  let reject = (_error: unknown): void => undefined
  const durable = new Promise<void>((done, fail) => {
    resolve = done
    reject = fail
  })
  // A batch that is given up may have nobody who waits for it.
  durable.catch(() => undefined)
  return { changes: [], texts: [], durable, resolve, reject, sequence: 0, number: 0 }
}

export class Committer {
  readonly #store: OrderedStore
  readonly #log: CommitLog
  readonly #counters: Counters
  readonly #cache: RecordCache
  readonly #onFailure: (error: unknown) => void
  readonly #overlay = new Map<string, Decided>()
  /** Number of the last decision. */
  #sequence = 0
  #writtenSequence = 0
  #durableSequence = 0
  #next = newBatch()
  /** Batches that take no more decisions, and wait for those before them. */
  readonly #full: Batch[] = []
  /** Batches that are not durable yet, in order; the last one may be being written. */
  readonly #pending: Batch[] = []
  #pendingChanges = 0
  #fullChanges = 0
  #writing = false
  /** The write under way, or the last one. */
  #write: Promise<void> | undefined
  #scheduled = false
  #failed = false
  readonly #watchers = new Map<Table<unknown>, Watcher>()
  // Who changed a key last, kept for as long as a running transaction may ask: two generations, the
  // older of which goes when nobody who began before the newer one is left.
  #newer = new Map<string, number>()
  #older = new Map<string, number>()
  #generation = 0
  #activeOlder = 0
  #activeNewer = 0

  constructor(
    store: OrderedStore,
    log: CommitLog,
    counters: Counters,
    cache: RecordCache,
    onFailure: (error: unknown) => void,
  ) {
    this.#store = store
    this.#log = log
    log.onReleased = () => this.#release()
    log.onSuperseded = () => this.#giveUp()
    this.#counters = counters
    this.#cache = cache
    this.#onFailure = onFailure
  }

  get sequence(): number {
    return this.#sequence
  }

  /** Changes that wait for the batch being written, or for the standby. */
  get waiting(): number {
    return this.#next.changes.length + this.#pendingChanges + this.#fullChanges
  }

  /** The last decision that is durable; so are all before it. */
  get durableSequence(): number {
    return this.#durableSequence
  }

  /** The last decision that a scan of the store shows. */
  get writtenSequence(): number {
    return this.#writtenSequence
  }

  /** A batch could not be written: nothing is decided or durable any more. */
  get failed(): boolean {
    return this.#failed
  }

  /** Has `watcher` told of each change of a table in the moment of its decision; one for a table. */
  watch(table: Table<unknown>, watcher: Watcher): void {
    this.#watchers.set(table, watcher)
  }

  overlaid(text: string): Decided | undefined {
    return this.#overlay.get(text)
  }

  /** Whether a key was changed by a decision after `sequence`. */
  changedSince(text: string, sequence: number): boolean {
    const last = this.#newer.get(text) ?? this.#older.get(text)
    return last !== undefined && last > sequence
  }

  /** A transaction begins to read; returns what {@link end} must be told. */
  begin(): number {
    if (this.#activeOlder === 0 && this.#newer.size >= GENERATION_WRITES_MIN) {
      this.#older = this.#newer
      this.#newer = new Map()
      this.#activeOlder = this.#activeNewer
      this.#activeNewer = 0
      this.#generation++
    }
    this.#activeNewer++
    return this.#generation
  }

  end(generation: number): void {
    if (generation === this.#generation) this.#activeNewer--
    else this.#activeOlder--
  }

  /** Whether all that a transaction read is still so. */
  valid(transaction: Transaction): boolean {
    for (const [text, sequence] of transaction.reads) {
      if (this.changedSince(text, sequence)) return false
    }
    for (const holds of transaction.guards) if (!holds()) return false
    return true
  }

  /**
   * Decides a valid transaction: from here on everybody sees its changes. Returns when it, and all
   * that it has seen, is durable; undefined when it already is. Throws a counter's refusal, with no
   * effect.
   */
  decide(transaction: Transaction): Promise<void> | undefined {
    const { superseded } = this.#log
    if (superseded !== undefined) throw superseded
    for (const { name, delta, limit } of transaction.counters) {
      if (limit !== undefined && this.#counters.get(name) + delta > limit.max) limit.refuse()
    }
    const durable =
      transaction.writes.size > 0 ? this.#take(transaction) : this.durable(transaction.dependsOn)
    for (const effect of transaction.effects) effect()
    return durable
  }

  /** When decision number `sequence` is durable; undefined when it already is. */
  durable(sequence: number): Promise<void> | undefined {
    if (sequence <= this.#durableSequence) return undefined
    for (const batch of this.#pending) if (sequence <= batch.sequence) return batch.durable
    for (const batch of this.#full) if (sequence <= batch.sequence) return batch.durable
    return this.#next.durable
  }

  #take(transaction: Transaction): Promise<void> {
    const sequence = ++this.#sequence
    const batch = this.#next
    batch.sequence = sequence
    for (const [text, { key, table, value }] of transaction.writes) {
      const encoded = value === undefined ? undefined : table.encode(value)
      batch.changes.push({ key, value: encoded })
      batch.texts.push(text)
      this.#overlay.set(text, { value, sequence })
      this.#newer.set(text, sequence)
      if (table.cached) this.#cache.set(key, encoded)
      this.#watchers.get(table)?.(key, encoded !== undefined, sequence)
    }
    for (const { name, delta } of transaction.counters) this.#counters.add(name, delta)
    if (batch.changes.length >= BATCH_CHANGES_MAX) {
      this.#full.push(this.#closeNext())
      this.#fullChanges += batch.changes.length
    }
    this.#schedule()
    return batch.durable
  }

  /** What was decided so far takes no more. */
  #closeNext(): Batch {
    const batch = this.#next
    batch.changes.push(...this.#counters.takeChanges())
    this.#next = newBatch()
    return batch
  }

  /** The next one to write. */
  #nextBatch(): Batch {
    const full = this.#full.shift()
    if (full === undefined) return this.#closeNext()
    this.#fullChanges -= full.changes.length
    return full
  }

  #schedule(): void {
    if (this.#scheduled || this.#writing || this.#failed || this.#log.superseded !== undefined)
      return
    this.#scheduled = true
    // Requests that came in the same turn of the event loop join this batch.
    setImmediate(() => {
      this.#scheduled = false
      this.#write = this.#writeNext()
    })
  }

  async #writeNext(): Promise<void> {
    if (this.#log.superseded !== undefined) return
    const batch = this.#nextBatch()
    this.#writing = true
    this.#pending.push(batch)
    this.#pendingChanges += batch.changes.length
    const { changes } = batch
    const logged = this.#log.append(changes)
    batch.number = this.#log.history.number
    try {
      await this.#store.write([...changes, ...logged], { sync: true })
    } catch (error) {
      this.#failed = true
      this.#onFailure(error)
      return
    }
    this.#writing = false
    this.#writtenSequence = batch.sequence
    if (this.#full.length > 0 || this.#next.changes.length > 0) this.#schedule()
    this.#log.wrote(batch.number)
    this.#release()
  }

  /** Resolves when no write is under way; none begins once the server is superseded. */
  async idle(): Promise<void> {
    await this.#write
  }

  /** Another server is the right one: what is not acknowledged by now never is. */
  #giveUp(): void {
    for (const batch of [...this.#pending, ...this.#full, this.#next])
      batch.reject(this.#log.superseded)
  }

  /** Lets go of batches that are durable by now, in order. */
  #release(): void {
    const { released, superseded } = this.#log
    if (superseded !== undefined) return
    for (;;) {
      const [batch] = this.#pending
      if (batch === undefined || batch.number === 0 || batch.number > released) return
      if (batch.sequence > this.#writtenSequence) return
      this.#pending.shift()
      this.#pendingChanges -= batch.changes.length
      this.#durableSequence = batch.sequence
      for (const text of batch.texts) {
        const decided = this.#overlay.get(text)
        if (decided !== undefined && decided.sequence <= batch.sequence) this.#overlay.delete(text)
      }
      batch.resolve()
    }
  }
}
