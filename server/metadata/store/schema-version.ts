/**
 * The version of what is in the store, and how a store of an older version becomes one of this.
 *
 * A migration takes the store from one version to the next, in bounded batches. How far it came is
 * written in the batch of what it did, so after a kill it goes on where it was, and each record is
 * rewritten once. The server does not serve before it is through. There is no way back: take a backup
 * before a newer program is started.
 *
 *   from  to  what changes
 *   ----  --  ------------
 *   1     2   nothing is rewritten: records of chunks say which copies are damaged and whether the chunk
 *             waits for repair, which older programs would drop
 *   2     3   nothing is rewritten: records of windows may have a patch, which older programs would drop
 */
import type { Log } from '../../../schema/rpc/api.ts'
import { invariant } from '../../../schema/wire/invariant.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { keyAfter, type Change, type Entry, type OrderedStore } from '../../store/ordered-store.ts'
import { breakHistory } from '../standby/history.ts'
import { keys, ranges, type KeyRange } from './keys.ts'
import { tables } from './tables.ts'

/** The meaning of what is in the store; raised with every change that old code would misread. */
export const SCHEMA_VERSION = 3

/** Records that a migration reads, and rewrites, at once. */
const BATCH = 1_000

export interface Migration {
  /** The version it starts from; it leads to the next one. */
  readonly from: number
  /** The records it goes through. */
  readonly range: KeyRange
  /** What is written in the place of a record, in one batch with the others of its page. */
  readonly rewrite: (entry: Entry) => readonly Change[]
}

/** One for each version but the last, in order. */
const migrations: readonly Migration[] = [
  { from: 1, range: ranges.repairs, rewrite: () => [] },
  { from: 2, range: ranges.repairs, rewrite: () => [] },
]

export interface MigrateOptions {
  readonly log: Log
  readonly migrations?: readonly Migration[]
  /** The version to reach. */
  readonly to?: number
}

/**
 * Brings a store up to date; one without a cluster record is new and stays as it is. Throws
 * `versionMismatch` for a store that a newer program wrote, `recordCorrupt` for a damaged record on the
 * way.
 */
export async function migrate(
  store: OrderedStore,
  { log, migrations: all = migrations, to = SCHEMA_VERSION }: MigrateOptions,
): Promise<void> {
  for (;;) {
    const stored = await store.get(keys.cluster)
    if (stored === undefined) return
    const version = tables.cluster.decode(stored).schemaVersion
    if (version > to) throw newer(version, to)
    if (version === to) return
    const migration = all.find(({ from }) => from === version)
    invariant(migration !== undefined, `there is a migration from version ${version}`)
    log.warn({ from: version, to: version + 1 }, 'migrating the store')
    await run(store, migration)
    log.warn({ version: version + 1 }, 'the store is migrated')
  }
}

async function run(
  store: OrderedStore,
  { from: version, range, rewrite }: Migration,
): Promise<void> {
  const position = await store.get(keys.migrating)
  let from = position === undefined ? range.from : keyAfter(position)
  for (;;) {
    const page = await store.range({ from, to: range.to, limit: BATCH })
    const last = page.at(-1)
    if (last === undefined) break
    const changes = page.flatMap((entry) => rewrite(entry))
    await store.write([...changes, { key: keys.migrating, value: last.key }], { sync: true })
    from = keyAfter(last.key)
  }
  await breakHistory(store)
  const stored = await store.get(keys.cluster)
  invariant(stored !== undefined, 'a store that is migrated has its cluster record')
  const cluster = { ...tables.cluster.decode(stored), schemaVersion: version + 1 }
  await store.write(
    [
      { key: keys.cluster, value: tables.cluster.encode(cluster) },
      { key: keys.migrating, value: undefined },
    ],
    { sync: true },
  )
}

/** Throws `versionMismatch` for a store that a newer program wrote. */
export function requireNotNewer(version: number): void {
  if (version > SCHEMA_VERSION) throw newer(version, SCHEMA_VERSION)
}

/** Throws `versionMismatch` for a store of any other version: for those who do not migrate it. */
export function requireCurrent(version: number): void {
  requireNotNewer(version)
  if (version === SCHEMA_VERSION) return
  const detail = `the store is of version ${version}; start dfs-metadata serve once, which brings it to ${SCHEMA_VERSION}`
  throw new DfsError('versionMismatch', detail)
}

function newer(version: number, known: number): DfsError {
  return new DfsError(
    'versionMismatch',
    `the store is of version ${version}, this program knows ${known}; use the program that wrote it`,
  )
}
