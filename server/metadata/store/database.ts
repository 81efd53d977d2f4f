/**
 * Transactions over the ordered store: optimistic, with queues that keep those who would collide
 * apart.
 *
 * Guarantees: what a transaction read is as of the moment it was decided; its changes are atomic;
 * `read` and `write` return only when all that they changed or saw is durable. Nothing is locked
 * over an await but the inodes that a mutation names.
 */
import { performance } from 'node:perf_hooks'
import { DfsError } from '../../../schema/wire/status.ts'
import { keyAfter, type Entry, type OrderedStore } from '../../store/ordered-store.ts'
import type { RequestTimes } from '../request-times.ts'
import { CommitLog } from '../standby/commit-log.ts'
import { historyChange, Role } from '../standby/history.ts'
import { Committer, type Watcher } from './committer.ts'
import { Counters } from './counters.ts'
import type { KeyRange } from './keys.ts'
import { readPage, type Page } from './page.ts'
import { Queues } from './queues.ts'
import { RecordCache } from './record-cache.ts'
import {
  textOf,
  Transaction,
  type LookupOptions,
  type RecordName,
  type RecordSource,
} from './transaction.ts'
import type { Table } from './tables.ts'

/** Times that an operation is run before its caller is told to come back. */
const ATTEMPTS_MAX = 20
/** Changes that may wait for a slow disk; beyond, mutations are refused. */
const WAITING_MAX = 200_000
/** Operations under way; more are refused. */
const TRANSACTIONS_MAX = 8_192

export interface DatabaseOptions {
  /** Bytes of records kept in memory. */
  readonly cacheBytes: number
  /** A batch could not be written: the process must end, see committer.ts. */
  readonly onFailure: (error: unknown) => void
}

export interface WriteOptions {
  /** Inodes (or other numbers) that this changes: it waits for its turn on each. */
  readonly queues?: readonly number[]
  /** Read before the turn comes, so that nobody waits behind us for the engine. */
  readonly warm?: readonly RecordName[]
  /** As {@link warm}, for records whose names stand in those; what it reads is not relied on. */
  readonly warmUp?: (transaction: Transaction) => Promise<void>
  /** Where to note what took how long. */
  readonly times?: RequestTimes
  /** Also while no change is taken because the standby is away: what brings it back. */
  readonly always?: boolean
}

export class Database implements RecordSource {
  readonly counters: Counters
  /** The numbered log of the batches. */
  readonly log: CommitLog
  readonly #store: OrderedStore
  readonly #cache: RecordCache
  readonly #committer: Committer
  readonly #queues = new Queues()
  #active = 0

  private constructor(
    store: OrderedStore,
    log: CommitLog,
    counters: Counters,
    options: DatabaseOptions,
  ) {
    this.#store = store
    this.log = log
    this.counters = counters
    this.#cache = new RecordCache(options.cacheBytes)
    this.#committer = new Committer(store, log, counters, this.#cache, options.onFailure)
  }

  static async open(store: OrderedStore, options: DatabaseOptions): Promise<Database> {
    const log = await CommitLog.load(store)
    return new Database(store, log, await Counters.load(store), options)
  }

  /** Runs a transaction that changes nothing in the store. */
  async read<R>(
    run: (transaction: Transaction) => R | Promise<R>,
    times?: RequestTimes,
  ): Promise<R> {
    const transaction = new Transaction(this, times)
    const generation = this.#begin()
    let decision: Decision<R>
    try {
      decision = await this.#decide(transaction, run)
    } finally {
      this.#end(generation)
    }
    return answer(decision, transaction.times)
  }

  /** Runs a transaction that changes something. See {@link WriteOptions} for what makes it fast. */
  async write<R>(
    { queues = [], warm = [], warmUp, times, always = false }: WriteOptions,
    run: (transaction: Transaction) => R | Promise<R>,
  ): Promise<R> {
    if (this.#committer.waiting >= WAITING_MAX) {
      throw new DfsError('tooManyRequests', 'the disk of the metadata server is slow; try again')
    }
    const refusal = this.log.writeRefusal()
    if (refusal !== undefined && !always) throw refusal
    const transaction = new Transaction(this, times)
    const generation = this.#begin()
    let decision: Decision<R>
    try {
      const startedMs = performance.now()
      if (warm.length > 0) await this.#warm(warm)
      if (warmUp !== undefined) await warmUp(transaction)
      const leave = await this.#queues.enter(queues)
      transaction.times.turnMs = performance.now() - startedMs
      try {
        decision = await this.#decide(transaction, run)
      } finally {
        leave()
      }
    } finally {
      this.#end(generation)
    }
    return answer(decision, transaction.times)
  }

  /** Has `watcher` told of each change of a table in the moment of its decision; one for a table. */
  watch(table: Table<unknown>, watcher: Watcher): void {
    this.#committer.watch(table, watcher)
  }

  /** Number of the last decision that is durable, as watchers are told it; so are all before it. */
  get durableSequence(): number {
    return this.#committer.durableSequence
  }

  /** Waits until everything decided so far is durable. */
  async settle(): Promise<void> {
    await this.#committer.durable(this.#committer.sequence)
  }

  /** Another server, of this epoch, is the right one: nothing is decided, written or answered any more. */
  async supersede(epoch: number): Promise<void> {
    if (this.log.superseded !== undefined) return
    this.log.supersede(epoch)
    await this.#committer.idle()
    const change = historyChange({ ...this.log.history, role: Role.superseded })
    await this.#store.write([change], { sync: true })
  }

  /** Waits for what is decided, then closes the store. */
  async close(): Promise<void> {
    this.log.end()
    if (this.log.superseded !== undefined) await this.#committer.idle()
    else if (!this.#committer.failed) await this.settle()
    await this.#store.close()
  }

  /** The store itself, for a walk over all that is durable; nothing is written past this database. */
  get durable(): Pick<OrderedStore, 'scan'> {
    return this.#store
  }

  async durablePage(range: KeyRange, limit: number, after?: Buffer): Promise<Page> {
    const page = await readPage(this.#store, range, limit, after)
    await this.#seen()
    return page
  }

  async durableRange(range: KeyRange, limit: number, after?: Buffer): Promise<Entry[]> {
    const from = after === undefined ? range.from : keyAfter(after)
    const entries = await this.#store.range({ from, to: range.to, limit })
    await this.#seen()
    return entries
  }

  /** What a scan saw may be on our disk and not yet on the standby's. */
  #seen(): Promise<void> | undefined {
    return this.#committer.durable(this.#committer.writtenSequence)
  }

  /** Entries as they are on our own disk, for a copy of the store. */
  copyRange(range: KeyRange, limit: number, onCorrupt: (key: Buffer) => void): Promise<Entry[]> {
    return this.#store.range({ ...range, limit, onCorrupt })
  }

  lookup<V>(
    transaction: Transaction,
    table: Table<V>,
    key: Buffer,
    text: string,
    watched: boolean,
  ): V | undefined | Promise<V | undefined> {
    const known = this.#known(transaction, { table, key, text, watched })
    if (known === undefined) return this.#fetch(transaction, table, key, text, watched)
    return known.value
  }

  async lookupAll<V>(
    transaction: Transaction,
    table: Table<V>,
    keys: readonly Buffer[],
    { watched, onDamaged }: LookupOptions,
  ): Promise<(V | undefined)[]> {
    const found: (V | undefined)[] = Array.from({ length: keys.length })
    const missing: { at: number; key: Buffer; text: string }[] = []
    for (const [at, key] of keys.entries()) {
      const text = textOf(key)
      const known =
        transaction.writes.get(text) ?? this.#known(transaction, { table, key, text, watched })
      if (known === undefined) missing.push({ at, key, text })
      else found[at] = known.value as V | undefined
    }
    if (missing.length === 0) return found
    const { sequence } = this.#committer
    const damaged = new Set<number>()
    const startedMs = performance.now()
    const stored = await this.#store.getMany(
      missing.map(({ key }) => key),
      onDamaged && ((i) => damaged.add(i)),
    )
    transaction.times.readMs += performance.now() - startedMs
    for (const [i, { at, key, text }] of missing.entries()) {
      if (this.#committer.changedSince(text, sequence)) {
        found[at] = await this.lookup(transaction, table, key, text, watched)
      } else if (damaged.has(i)) {
        onDamaged?.(at)
      } else {
        if (watched) transaction.noteRead(text, sequence)
        found[at] = this.#keep(table, key, stored[i])
      }
    }
    return found
  }

  /** What is in memory of a record: decided and being written, or cached. */
  #known<V>(
    transaction: Transaction,
    { table, key, text, watched }: Wanted<V>,
  ): { readonly value: V | undefined } | undefined {
    const decided = this.#committer.overlaid(text)
    const stored = decided === undefined ? this.#cache.get(key) : undefined
    if (decided === undefined && stored === undefined) return undefined
    if (watched) transaction.noteRead(text, this.#committer.sequence)
    if (decided === undefined) return { value: stored ? table.decode(stored) : undefined }
    if (decided.sequence > transaction.dependsOn) transaction.dependsOn = decided.sequence
    return decided as { readonly value: V | undefined }
  }

  async #fetch<V>(
    transaction: Transaction,
    table: Table<V>,
    key: Buffer,
    text: string,
    watched: boolean,
  ): Promise<V | undefined> {
    const { sequence } = this.#committer
    const startedMs = performance.now()
    const stored = await this.#store.get(key)
    transaction.times.readMs += performance.now() - startedMs
    // Changed while the engine was reading: what it gave may be old, and must not reach the cache.
    if (this.#committer.changedSince(text, sequence)) {
      return this.lookup(transaction, table, key, text, watched)
    }
    if (watched) transaction.noteRead(text, sequence)
    return this.#keep(table, key, stored)
  }

  #keep<V>(table: Table<V>, key: Buffer, stored: Buffer | undefined): V | undefined {
    const value = stored === undefined ? undefined : table.decode(stored)
    if (table.cached) this.#cache.set(key, stored)
    return value
  }

  /** Brings records into the cache. The caller's transaction has begun. */
  async #warm(names: readonly RecordName[]): Promise<void> {
    const committer = this.#committer
    const missing: { name: RecordName; text: string }[] = []
    for (const name of names) {
      const text = textOf(name.key)
      if (committer.overlaid(text) === undefined && !this.#cache.has(name.key)) {
        missing.push({ name, text })
      }
    }
    if (missing.length === 0) return
    const { sequence } = committer
    const stored = await this.#store.getMany(missing.map(({ name }) => name.key))
    for (const [i, { name, text }] of missing.entries()) {
      if (!committer.changedSince(text, sequence)) this.#keep(name.table, name.key, stored[i])
    }
  }

  async #decide<R>(
    transaction: Transaction,
    run: (transaction: Transaction) => R | Promise<R>,
  ): Promise<Decision<R>> {
    const { times } = transaction
    const startedMs = performance.now()
    try {
      return await this.#run(transaction, run)
    } finally {
      times.transactionMs += performance.now() - startedMs
    }
  }

  async #run<R>(
    transaction: Transaction,
    run: (transaction: Transaction) => R | Promise<R>,
  ): Promise<Decision<R>> {
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      transaction.reset()
      transaction.times.runs++
      let result: R
      try {
        result = await run(transaction)
      } catch (error) {
        // A refusal that rests on records that changed meanwhile is no refusal.
        if (!this.#committer.valid(transaction)) continue
        return { error, durable: this.#committer.durable(transaction.dependsOn) }
      }
      if (!this.#committer.valid(transaction)) continue
      return { result, durable: this.#committer.decide(transaction) }
    }
    throw new DfsError('tooManyRequests', 'others kept changing the same records; try again')
  }

  #begin(): number {
    if (this.#active >= TRANSACTIONS_MAX) {
      throw new DfsError(
        'tooManyRequests',
        `${TRANSACTIONS_MAX} operations are under way at the metadata server; try again`,
      )
    }
    this.#active++
    return this.#committer.begin()
  }

  #end(generation: number): void {
    this.#active--
    this.#committer.end(generation)
  }
}

/** A record that a transaction asks for. */
interface Wanted<V> {
  readonly table: Table<V>
  readonly key: Buffer
  readonly text: string
  readonly watched: boolean
}

/** How an operation ended, and when that may be told. */
type Decision<R> = { readonly durable: Promise<void> | undefined } & (
  { readonly result: R } | { readonly error: unknown }
)

async function answer<R>(decision: Decision<R>, times: RequestTimes): Promise<R> {
  if (decision.durable !== undefined) {
    const startedMs = performance.now()
    await decision.durable
    times.syncMs += performance.now() - startedMs
  }
  if ('error' in decision) throw decision.error
  return decision.result
}
