/**
 * list: a page of a directory's entries with their inodes, in order of token.
 *
 * Holds everything that was there when the listing began and was not removed since; what comes or
 * goes meanwhile may or may not be seen. Reads what is durable: entries of unanswered operations
 * are not shown yet. An entry whose inode is damaged comes without it; a damaged entry, whose name
 * nobody knows any more, is left out.
 */
import type { ListedEntry, ListRequest, ListResponse } from '../../../schema/generated/metadata.ts'
import { methods } from '../../../schema/methods.ts'
import type { Log } from '../../../schema/rpc/api.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { checkToken, refuse } from '../input.ts'
import type { Entry } from '../../store/ordered-store.ts'
import { keys, parts, ranges } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'
import type { Query } from './operation.ts'
import { ownDirectory } from './tree.ts'

/** Entries that are as much work as a small read. */
const ENTRIES_PER_COST = 16
/** Entries read and decoded in one go, a millisecond or two; then others get their turn. */
const SLICE = 128

export const list: Query<ListRequest, ListResponse> = {
  method: methods.list,
  check({ after, limit }) {
    if (after.length > 0) checkToken(after)
    if (limit === 0 || limit > limits.listEntriesMax) {
      refuse(`a page of ${limit} entries; it has 1 to ${limits.listEntriesMax}`)
    }
  },

  cost: ({ limit }) => Math.ceil(limit / ENTRIES_PER_COST),

  async run(txn, { directory, after, limit }, caller, { log }) {
    await ownDirectory(txn, caller, directory)
    let behind = after.length > 0 ? keys.dentry(directory, after) : undefined
    for (;;) {
      const page = await txn.durablePage(ranges.dentries(directory), limit, behind)
      if (page.damaged.length > 0) {
        log.error({ directory, entries: page.damaged.length }, 'entries of a directory are damaged')
      }
      const entries: ListedEntry[] = []
      for (let first = 0; first < page.entries.length; first += SLICE) {
        entries.push(...(await listed(txn, page.entries.slice(first, first + SLICE), log)))
      }
      // An empty page would end the listing: what is damaged or gone is passed over here.
      if (entries.length > 0 || !page.more) return { entries, more: page.more }
      behind = page.last
    }
  },
}

/** Entries with their inodes, which whoever lists has then and will not ask for: they are not cached. */
async function listed(txn: Transaction, page: readonly Entry[], log: Log): Promise<ListedEntry[]> {
  const dentries = page.map(({ value }) => tables.dentries.decode(value))
  const damaged = new Set<number>()
  const inodes = await txn.peekAll(
    UNCACHED_INODES,
    dentries.map(({ inode }) => keys.inode(inode)),
    (i) => damaged.add(i),
  )
  const entries: ListedEntry[] = []
  for (const [i, { key }] of page.entries()) {
    const dentry = dentries[i]
    const record = inodes[i]
    if (dentry !== undefined && damaged.has(i)) {
      log.error(
        { inode: dentry.inode },
        'the record of an inode is damaged; see dfs-metadata check',
      )
    } else if (dentry === undefined || record === undefined) {
      // Unlinked since the page was read.
      continue
    }
    entries.push({ token: parts.token(key), entry: dentry.entry, inode: record?.inode })
  }
  return entries
}

const UNCACHED_INODES = { ...tables.inodes, cached: false }
