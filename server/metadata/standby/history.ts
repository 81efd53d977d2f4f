/**
 * Where a store is in the history of its cluster, as the store itself tells: its role, epoch and last
 * batch, and which log records it has.
 */
import type { HistoryRecord } from '../../../schema/generated/records.ts'
import { keyAfter, type Change, type OrderedStore } from '../../store/ordered-store.ts'
import { keys, parts, ranges } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import { FIRST_EPOCH } from './epoch-proof.ts'
import { decodeHead } from './log-record.ts'
import { LogRetention, type RetentionBounds } from './log-retention.ts'

const SCAN_PAGE = 64
const MARK_MAX = 2 ** 48

/** What a store is for, as in HistoryRecord. */
export const Role = { primary: 1, standby: 2, superseded: 3 } as const

/** The place of a store that says nothing. */
export const NEW_HISTORY: HistoryRecord = {
  role: Role.primary,
  epoch: FIRST_EPOCH,
  number: 0,
  mark: 0,
}

/** A store's place in the history; undefined for one that was never written with a log. */
export async function readHistory(store: OrderedStore): Promise<HistoryRecord | undefined> {
  const stored = await store.get(keys.history)
  return stored === undefined ? undefined : tables.history.decode(stored)
}

export const historyChange = (history: HistoryRecord): Change => ({
  key: keys.history,
  value: tables.history.encode(history),
})

export const randomMark = (): number => 1 + Math.floor(Math.random() * MARK_MAX)

const onCorrupt = (): void => undefined

/** What is kept of the log. */
export async function scanLog(
  store: OrderedStore,
  history: HistoryRecord,
  bounds: Partial<RetentionBounds>,
): Promise<LogRetention> {
  let retention: LogRetention | undefined
  let { from } = ranges.logRecords
  for (;;) {
    const page = await store.range({ from, to: ranges.logRecords.to, limit: SCAN_PAGE, onCorrupt })
    for (const { key, value } of page) {
      const number = parts.id(key)
      // Behind a damaged record: what is before it helps nobody.
      if (retention?.end !== number) retention = new LogRetention(number, bounds)
      retention.add(value.length, decodeHead(value).atMs)
    }
    const last = page.at(-1)
    if (last === undefined) return retention ?? new LogRetention(history.number + 1, bounds)
    from = keyAfter(last.key)
  }
}

/**
 * For who changes a store without its log: from here on it is of another history, so that a standby
 * copies anew instead of going on beside it. Synced, with what was written unsynced before.
 */
export async function breakHistory(store: OrderedStore): Promise<void> {
  for (;;) {
    const page = await store.range({ ...ranges.logRecords, limit: SCAN_PAGE, onCorrupt })
    if (page.length === 0) break
    const deletes = page.map(({ key }) => ({ key, value: undefined }))
    await store.write(deletes, { sync: false })
  }
  const history = (await readHistory(store)) ?? NEW_HISTORY
  await store.write([historyChange({ ...history, mark: randomMark() })], { sync: true })
}
