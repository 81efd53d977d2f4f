/**
 * Makes a standby's store a metadata server's: one synced batch that raises the epoch.
 *
 * An asynchronous standby may lack the last batches, and with them ids that the old server gave out.
 * So every sequence jumps ahead: no id means one thing to a client of the old server and another here.
 */
import type { HistoryRecord } from '../../../schema/generated/records.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import type { Change, OrderedStore } from '../../store/ordered-store.ts'
import { keys, ranges } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import { CommitLog } from './commit-log.ts'
import { Role } from './history.ts'

/** Ids left out: more than are given out in any time that a standby may be behind. */
const ID_GAP = 1_000_000_000
/** Of those that are counted from 1 without gaps, and have 32 bits. */
const SMALL_ID_GAP = 100
const SMALL_IDS = new Set(['users', 'devices', 'servers', 'standbys'])
const SEQUENCES_MAX = 100

/**
 * Promotes; `addresses`: where the metadata server was that this store has followed, which may come
 * back as its standby. Throws `exists` when the store is a metadata server's already.
 */
export async function promoteStore(
  store: OrderedStore,
  addresses: readonly string[],
): Promise<HistoryRecord> {
  const log = await CommitLog.load(store)
  if (log.history.role !== Role.standby) {
    throw new DfsError('exists', 'this is no standby; it needs no promotion')
  }
  const standby = { name: '', addresses: [...addresses], sync: false, fallbackMs: 0 }
  log.promote(standby)
  const changes: Change[] = [{ key: keys.standby, value: tables.standbys.encode(standby) }]
  for (const { key, value } of await store.range({ ...ranges.sequences, limit: SEQUENCES_MAX })) {
    const next = tables.numbers.decode(value).value
    const gap = SMALL_IDS.has(key.toString('utf8', 1)) ? SMALL_ID_GAP : ID_GAP
    changes.push({ key, value: tables.numbers.encode({ value: next + gap }) })
  }
  await store.write([...changes, ...log.append(changes)], { sync: true })
  return log.history
}
