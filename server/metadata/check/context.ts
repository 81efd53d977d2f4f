/**
 * What the parts of a check share: where the records are, what was found, the sums so far, and the
 * files that facts are sorted in.
 */
import { join } from 'node:path'
import type { UserRecord } from '../../../schema/generated/records.ts'
import type { OrderedStore } from '../../store/ordered-store.ts'
import type { KeyRange } from '../store/keys.ts'
import type { Kind } from '../store/layout.ts'
import { Cursor } from './cursor.ts'
import type { Findings } from './findings.ts'
import { SortedFacts } from './sorted-facts.ts'

/** Sums by name; what was never added to is 0. */
class Sums {
  readonly #sums = new Map<string, number>()

  add(name: string, amount = 1): void {
    this.#sums.set(name, this.get(name) + amount)
  }

  get(name: string): number {
    return this.#sums.get(name) ?? 0
  }

  names(): string[] {
    return [...this.#sums.keys()]
  }
}

/** The highest id seen of each sequence. */
class HighestIds {
  readonly #highest = new Map<string, number>()

  see(sequence: string, id: number): void {
    if (id > (this.#highest.get(sequence) ?? 0)) this.#highest.set(sequence, id)
  }

  entries(): IterableIterator<[string, number]> {
    return this.#highest.entries()
  }
}

interface WalkOptions<V> {
  readonly range?: KeyRange
  /** This walk does not tell of damage, another one of the same records does. */
  readonly again?: boolean
  readonly mend?: (key: Buffer) => V
}

export interface ContextOptions {
  readonly store: OrderedStore
  readonly findings: Findings
  /** An empty folder for files of facts. */
  readonly scratch: string
  readonly onRecords: (count: number) => void
}

export class Context {
  readonly store: OrderedStore
  readonly findings: Findings
  /** What the counters should say. */
  readonly counters = new Sums()
  readonly highest = new HighestIds()
  /** All users; read first. */
  readonly users = new Map<number, UserRecord>()
  /** Chunkservers that have a record. */
  readonly servers = new Set<number>()
  readonly #options: ContextOptions
  readonly #facts: SortedFacts[] = []
  readonly #cursors: { close(): Promise<void> }[] = []

  constructor(options: ContextOptions) {
    this.store = options.store
    this.findings = options.findings
    this.#options = options
  }

  /** A walk over the records of a kind. */
  async walk<V>(
    kind: Kind<V>,
    { again = false, ...more }: WalkOptions<V> = {},
  ): Promise<Cursor<V>> {
    const { store, findings, onRecords } = this.#options
    const report = again ? {} : { report: findings }
    const cursor = await Cursor.open({ store, kind, onRecords, ...report, ...more })
    this.#cursors.push(cursor)
    return cursor
  }

  facts(name: string, width: number): SortedFacts {
    const facts = new SortedFacts(join(this.#options.scratch, name), width)
    this.#facts.push(facts)
    return facts
  }

  /** Whether a user is being taken apart: his tree is whole no more. */
  leaving(user: number): boolean {
    return this.users.get(user)?.deleting === true
  }

  /** Ends the walks of a part that is done. */
  async endWalks(): Promise<void> {
    for (const cursor of this.#cursors.splice(0)) await cursor.close()
  }

  async close(): Promise<void> {
    await this.endWalks()
    for (const facts of this.#facts) facts.close()
  }
}
