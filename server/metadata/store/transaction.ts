/**
 * What an operation sees of the store: records as of one moment, and changes that take effect all
 * at once or not at all. An operation may run several times before it is decided, so all it does it
 * does through its transaction; what must happen outside goes into `afterDecision`.
 */
import type { Entry } from '../../store/ordered-store.ts'
import { RequestTimes } from '../request-times.ts'
import type { KeyRange } from './keys.ts'
import type { Page } from './page.ts'
import type { Table } from './tables.ts'

/** A change that a transaction wants, by its key as text. */
export interface Write {
  readonly key: Buffer
  readonly table: Table<unknown>
  /** Undefined deletes. */
  readonly value: unknown
}

export interface CounterChange {
  readonly name: string
  readonly delta: number
  /** Called when the counter would exceed `max`; throws the refusal. */
  readonly limit: { readonly max: number; refuse(): never } | undefined
}

export interface LookupOptions {
  readonly watched: boolean
  /** Told which of the records are damaged; they come as undefined. Without it the lookup fails. */
  readonly onDamaged?: ((index: number) => void) | undefined
}

/** Where a transaction finds what it has not written itself. */
export interface RecordSource {
  lookup<V>(
    transaction: Transaction,
    table: Table<V>,
    key: Buffer,
    text: string,
    watched: boolean,
  ): V | undefined | Promise<V | undefined>
  /** Many records of one table, in the order of `keys`. */
  lookupAll<V>(
    transaction: Transaction,
    table: Table<V>,
    keys: readonly Buffer[],
    options: LookupOptions,
  ): Promise<(V | undefined)[]>
  durablePage(range: KeyRange, limit: number, after?: Buffer): Promise<Page>
  durableRange(range: KeyRange, limit: number, after?: Buffer): Promise<Entry[]>
  settle(): Promise<void>
}

/** Which record. */
export interface RecordName {
  readonly table: Table<unknown>
  readonly key: Buffer
}

/** Keys as map keys: one character a byte. */
export const textOf = (key: Buffer): string => key.toString('latin1')

export class Transaction {
  /** Keys read, and the number of the last decision when they were. */
  readonly reads = new Map<string, number>()
  readonly writes = new Map<string, Write>()
  readonly counters: CounterChange[] = []
  readonly guards: (() => boolean)[] = []
  readonly effects: (() => void)[] = []
  /** The newest decision that this one has seen records of; it must be durable before we answer. */
  dependsOn = 0
  /** Of the request that it serves. */
  readonly times: RequestTimes
  readonly #source: RecordSource

  constructor(source: RecordSource, times = new RequestTimes()) {
    this.#source = source
    this.times = times
  }

  /** The record, or undefined. If it changes before we are decided, the operation runs again. */
  get<V>(table: Table<V>, key: Buffer): V | undefined | Promise<V | undefined> {
    const text = textOf(key)
    const own = this.writes.get(text)
    if (own !== undefined) return own.value as V | undefined
    return this.#source.lookup(this, table, key, text, true)
  }

  /** As {@link get}, but a later change does not make the operation run again: for what a queue keeps still. */
  peek<V>(table: Table<V>, key: Buffer): V | undefined | Promise<V | undefined> {
    return this.#source.lookup(this, table, key, textOf(key), false)
  }

  /**
   * As {@link get} for many records of a table, in one trip to the engine. `onDamaged` is told which
   * are damaged, and they come as undefined; without it the lookup fails.
   */
  getAll<V>(
    table: Table<V>,
    keys: readonly Buffer[],
    onDamaged?: (index: number) => void,
  ): Promise<(V | undefined)[]> {
    return this.#source.lookupAll(this, table, keys, { watched: true, onDamaged })
  }

  /** As {@link peek} for many records of a table; `onDamaged` as in {@link getAll}. */
  peekAll<V>(
    table: Table<V>,
    keys: readonly Buffer[],
    onDamaged?: (index: number) => void,
  ): Promise<(V | undefined)[]> {
    return this.#source.lookupAll(this, table, keys, { watched: false, onDamaged })
  }

  put<V>(table: Table<V>, key: Buffer, value: V): void {
    this.writes.set(textOf(key), { key, table, value })
  }

  delete(table: Table<unknown>, key: Buffer): void {
    this.writes.set(textOf(key), { key, table, value: undefined })
  }

  /**
   * Durable records of a key range, in order: never those of this transaction or of one that is
   * still being written. Not watched for changes; the caller holds the queue of their inode, or
   * does not need to know.
   */
  durableRange(range: KeyRange, limit: number, after?: Buffer): Promise<Entry[]> {
    return this.#source.durableRange(range, limit, after)
  }

  /** As {@link durableRange}, with damaged records by themselves. */
  durablePage(range: KeyRange, limit: number, after?: Buffer): Promise<Page> {
    return this.#source.durablePage(range, limit, after)
  }

  /** Waits until everything decided so far is durable, so that {@link durableRange} shows it. */
  settle(): Promise<void> {
    return this.#source.settle()
  }

  /** Adds to a counter; above `limit.max` the operation is refused. */
  add(name: string, delta: number, limit?: CounterChange['limit']): void {
    this.counters.push({ name, delta, limit })
  }

  /** Something outside the store that must still hold when we are decided, else we run again. */
  guard(holds: () => boolean): void {
    this.guards.push(holds)
  }

  /** Runs in the moment of the decision, once; must not throw. */
  afterDecision(effect: () => void): void {
    this.effects.push(effect)
  }

  /** Remembers the first time that a key was read; for the source. */
  noteRead(text: string, sequence: number): void {
    if (!this.reads.has(text)) this.reads.set(text, sequence)
  }

  /** Forgets everything, for another run. */
  reset(): void {
    this.reads.clear()
    this.writes.clear()
    this.counters.length = 0
    this.guards.length = 0
    this.effects.length = 0
    this.dependsOn = 0
  }
}
