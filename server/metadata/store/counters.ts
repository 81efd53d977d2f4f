/**
 * Exact sums: inodes, chunks, a user's bytes. Changes are added when a transaction is decided and
 * written in its batch, so a counter always equals what the records say, also after a kill.
 *
 * All counters are in memory: a few for the cluster, three for each user, one for each chunkserver.
 */
import { invariant } from '../../../schema/wire/invariant.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import type { Change, OrderedStore } from '../../store/ordered-store.ts'
import { keyAfter } from '../../store/ordered-store.ts'
import { keys, parts, ranges } from './keys.ts'
import { tables } from './tables.ts'

/** The names of all counters. */
export const counterNames = {
  inodes: 'inodes',
  chunks: 'chunks',
  users: 'users',
  userBytes: (user: number): string => `user-bytes/${user}`,
  userInodes: (user: number): string => `user-inodes/${user}`,
  /** Bytes of the version table of a user's tree. */
  treeBytes: (user: number): string => `tree-bytes/${user}`,
  deletes: (server: number): string => `deletes/${server}`,
  /** Chunks queued for repair that have so many replicas left. */
  repairs: (replicasLeft: number): string => `repairs/${replicasLeft}`,
} as const

const PAGE = 10_000

function counterDamaged(name: string): DfsError {
  const detail = `the counter ${name} is damaged; dfs-metadata check --repair counts anew`
  return new DfsError('recordCorrupt', detail)
}

export class Counters {
  readonly #values = new Map<string, number>()
  readonly #changed = new Set<string>()

  /** Reads all counters. */
  static async load(store: OrderedStore): Promise<Counters> {
    const counters = new Counters()
    let { from } = ranges.counters
    for (;;) {
      const damaged: string[] = []
      const onCorrupt = (key: Buffer): void => void damaged.push(parts.counterName(key))
      const page = await store.range({ from, to: ranges.counters.to, limit: PAGE, onCorrupt })
      if (damaged[0] !== undefined) throw counterDamaged(damaged[0])
      for (const { key, value } of page) {
        counters.#values.set(parts.counterName(key), tables.numbers.decode(value).value)
      }
      const last = page.at(-1)
      if (last === undefined || page.length < PAGE) return counters
      from = keyAfter(last.key)
    }
  }

  get(name: string): number {
    return this.#values.get(name) ?? 0
  }

  add(name: string, delta: number): void {
    const value = this.get(name) + delta
    invariant(value >= 0, `counter ${name} would fall to ${value}`)
    this.#values.set(name, value)
    this.#changed.add(name)
  }

  /** The changes to write with the next batch. */
  takeChanges(): Change[] {
    const changes: Change[] = []
    for (const name of this.#changed) {
      const value = tables.numbers.encode({ value: this.get(name) })
      changes.push({ key: keys.counter(name), value })
    }
    this.#changed.clear()
    return changes
  }
}
