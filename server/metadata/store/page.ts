/**
 * A page of durable records, in which damaged ones stand by themselves: one bad record must not take
 * its neighbours along.
 */
import { keyAfter, type Entry, type OrderedStore } from '../../store/ordered-store.ts'
import type { KeyRange } from './keys.ts'

export interface Page {
  /** The good records, in order. */
  readonly entries: readonly Entry[]
  /** Keys of damaged records, in order. */
  readonly damaged: readonly Buffer[]
  /** The last key of all; undefined when there is none. */
  readonly last: Buffer | undefined
  /** There may be more behind `last`. */
  readonly more: boolean
}

/** Reads at most `limit` records, good and damaged, behind `after`. */
export async function readPage(
  store: OrderedStore,
  range: KeyRange,
  limit: number,
  after?: Buffer,
): Promise<Page> {
  const damaged: Buffer[] = []
  const entries = await store.range({
    from: after === undefined ? range.from : keyAfter(after),
    to: range.to,
    limit,
    onCorrupt: (key) => damaged.push(key),
  })
  const [good, bad] = [entries.at(-1)?.key, damaged.at(-1)]
  const last = good === undefined || (bad !== undefined && bad.compare(good) > 0) ? bad : good
  return { entries, damaged, last, more: entries.length + damaged.length === limit }
}

/** All keys of a page, in order: for records whose keys say everything. */
export function keysOf({ entries, damaged }: Page): Buffer[] {
  const all = entries.map(({ key }) => key)
  return damaged.length === 0 ? all : [...all, ...damaged].sort((a, b) => a.compare(b))
}
