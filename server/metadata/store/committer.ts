/**
 * Group commit: transactions are decided in memory, one after the other and each in one go; what is
 * decided while a batch is being written goes into the next, in one synced write. So the rate of
 * commits is not bound to the rate of syncs, and the wait adapts by itself: an idle server writes at
 * once, a busy one gathers for as long as a sync takes.
 *
 * Decided but not yet durable records are in the overlay; whoever reads them answers only after
 * they are durable. Later decisions build on them, so a batch that cannot be written ends the
 * server (`onFailure`): there is no way to take back what others have seen.
 */
import type { Change, OrderedStore } from '../../store/ordered-store.ts'
import type { Counters } from './counters.ts'
import type { RecordCache } from './record-cache.ts'
import type { Transaction } from './transaction.ts'

/** What a record will be once its batch is written. */
export interface Decided {
  readonly value: unknown
  readonly sequence: number
}

interface Batch {
  readonly changes: Change[]
  readonly texts: string[]
  readonly durable: Promise<void>
  readonly resolve: () => void
  /** The last decision in it. */
  sequence: number
}

/** Decisions remembered in a generation before the one before it is forgotten. */
const GENERATION_WRITES_MIN = 4_096

function newBatch(): Batch {
  let resolve = (): void => undefined
  const durable = new Promise<void>((done) => (resolve = done))
  return { changes: [], texts: [], durable, resolve, sequence: 0 }
}

export class Committer {
  readonly #store: OrderedStore
  readonly #counters: Counters
  readonly #cache: RecordCache
  readonly #onFailure: (error: unknown) => void
  readonly #overlay = new Map<string, Decided>()
  /** Number of the last decision. */
  #sequence = 0
  #durableSequence = 0
  #next = newBatch()
  #writing: Batch | undefined
  #scheduled = false
  #failed = false
  // Who changed a key last, kept for as long as a running transaction may ask: two generations, the
  // older of which goes when nobody who began before the newer one is left.
  #newer = new Map<string, number>()
  #older = new Map<string, number>()
  #generation = 0
  #activeOlder = 0
  #activeNewer = 0

  constructor(
    store: OrderedStore,
    counters: Counters,
    cache: RecordCache,
    onFailure: (error: unknown) => void,
  ) {
    this.#store = store
    this.#counters = counters
    this.#cache = cache
    this.#onFailure = onFailure
  }

  get sequence(): number {
    return this.#sequence
  }

  /** Changes that wait for the batch being written. */
  get waiting(): number {
    return this.#next.changes.length
  }

  /** A batch could not be written: nothing is decided or durable any more. */
  get failed(): boolean {
    return this.#failed
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
    for (const { name, delta, limit } of transaction.counters) {
      if (limit !== undefined && this.#counters.get(name) + delta > limit.max) limit.refuse()
    }
    if (transaction.writes.size > 0) this.#take(transaction)
    for (const effect of transaction.effects) effect()
    return transaction.writes.size > 0 ? this.#next.durable : this.durable(transaction.dependsOn)
  }

  /** When decision number `sequence` is durable; undefined when it already is. */
  durable(sequence: number): Promise<void> | undefined {
    if (sequence <= this.#durableSequence) return undefined
    if (this.#writing !== undefined && sequence <= this.#writing.sequence) {
      return this.#writing.durable
    }
    return this.#next.durable
  }

  #take(transaction: Transaction): void {
    const sequence = ++this.#sequence
    const batch = this.#next
    batch.sequence = sequence
    for (const [text, { key, table, value }] of transaction.writes) {
      const encoded = value === undefined ? undefined : table.encode(value)
      batch.changes.push({ key, value: encoded })
      batch.texts.push(text)
      this.#overlay.set(text, { value, sequence })
      this.#newer.set(text, sequence)
      if (table.cached) this.#cache.set(text, value, encoded?.length ?? 0)
    }
    for (const { name, delta } of transaction.counters) this.#counters.add(name, delta)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled || this.#writing !== undefined || this.#failed) return
    this.#scheduled = true
    // Requests that came in the same turn of the event loop join this batch.
    setImmediate(() => {
      this.#scheduled = false
      void this.#write()
    })
  }

  async #write(): Promise<void> {
    const batch = this.#next
    this.#next = newBatch()
    this.#writing = batch
    try {
      await this.#store.write([...batch.changes, ...this.#counters.takeChanges()], { sync: true })
    } catch (error) {
      this.#failed = true
      this.#onFailure(error)
      return
    }
    this.#durableSequence = batch.sequence
    this.#writing = undefined
    for (const text of batch.texts) {
      const decided = this.#overlay.get(text)
      if (decided !== undefined && decided.sequence <= batch.sequence) this.#overlay.delete(text)
    }
    batch.resolve()
    if (this.#next.changes.length > 0) this.#schedule()
  }
}
