/**
 * What a check finds, and what it does about it.
 *
 * Repairs never guess. Each finding says what its repair rests on: some take nothing away and are
 * right whatever else is wrong, the others rest on tables that must be whole, so they wait for a store
 * in which no record is damaged and nothing that is named is missing.
 */
import type { Change, OrderedStore } from '../../store/ordered-store.ts'

/**
 * `damaged`: a record that does not match its checksum or cannot be decoded. `unknown`: a key that
 * belongs to no table. `missing`: something is named, or must be there, and is not. `content`: a file
 * whose content is not the one that its owner sealed. `conflict`: two records that cannot both be
 * true. `count`: a count that is not what it counts. `index`: of a relation that is kept twice, the
 * second one is not as the first. `garbage`: what nothing leads to.
 */
export type FindingKind =
  'damaged' | 'unknown' | 'missing' | 'content' | 'conflict' | 'count' | 'index' | 'garbage'

/** Of these nobody knows the truth; while there are any, what rests on the tables waits. */
const LOSSES: ReadonlySet<FindingKind> = new Set(['damaged', 'missing', 'content', 'conflict'])

export interface Finding {
  readonly kind: FindingKind
  readonly detail: string
  readonly repaired: boolean
}

interface Repair {
  /** Right whatever else is wrong; without it the repair waits for a store without losses. */
  readonly always?: boolean
  /** What to write; asked for only when it is going to be. */
  changes(): readonly Change[] | Promise<readonly Change[]>
}

/** Findings kept with their details; more are counted. */
const DETAILS_MAX = 1_000

/** How much is repaired: nothing, what is right in any case, all of which the truth is known. */
export type RepairLevel = 'nothing' | 'always' | 'known'

export class Findings {
  readonly list: Finding[] = []
  /** Findings by kind. */
  readonly counts = new Map<FindingKind, number>()
  repairs = 0
  readonly #store: OrderedStore
  readonly #level: RepairLevel

  constructor(store: OrderedStore, level: RepairLevel) {
    this.#store = store
    this.#level = level
  }

  get total(): number {
    let total = 0
    for (const count of this.counts.values()) total += count
    return total
  }

  /** Whether something is lost, so that nobody knows the whole truth. */
  get losses(): boolean {
    return [...this.counts.keys()].some((kind) => LOSSES.has(kind))
  }

  async add(kind: FindingKind, detail: string, repair?: Repair): Promise<void> {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1)
    let repaired = false
    if (repair !== undefined && this.#applies(repair)) {
      // Unsynced: whoever repairs ends with a synced batch.
      await this.#store.write(await repair.changes(), { sync: false })
      this.repairs++
      repaired = true
    }
    if (this.list.length < DETAILS_MAX) this.list.push({ kind, detail, repaired })
  }

  #applies({ always = false }: Repair): boolean {
    return this.#level === 'known' || (this.#level === 'always' && always)
  }
}
