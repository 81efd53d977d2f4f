/**
 * reveal: the records that are kept for an inode of the caller and for the entry that names it, byte
 * by byte as they are stored. Nothing is left out but what belongs to no single inode: counters, the
 * tree's state and version table, the
 * chunks' places in the servers' own lists, and logged answers.
 */
import type {
  RevealRequest,
  RevealResponse,
  StoredRecord,
} from '../../../schema/generated/metadata.ts'
import { methods } from '../../../schema/methods.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { keyAfter } from '../../store/ordered-store.ts'
import { refuse } from '../input.ts'
import { isFile } from '../inode-kinds.ts'
import { keys, parts, ranges } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'
import type { Query } from './operation.ts'
import { ownInode } from './tree.ts'

/** Windows in one answer: with all their extents and chunks, some megabytes. */
const WINDOWS_AT_ONCE = 16

export const reveal: Query<RevealRequest, RevealResponse> = {
  method: methods.reveal,
  check({ parent, token }) {
    const bytes = parent === 0 ? 0 : limits.tokenBytes
    if (token.length !== bytes) refuse(`a token of ${token.length} bytes, not ${bytes}`)
  },

  async run(txn, { inode, parent, token, firstWindow }, caller, { topology }) {
    const record = await ownInode(txn, caller, inode)
    if (parent !== 0) await ownInode(txn, caller, parent)
    // What is stored is what is durable.
    await txn.settle()
    const records: StoredRecord[] = []
    if (firstWindow === 0) {
      if (parent !== 0) await add(txn, records, 'DentryRecord', keys.dentry(parent, token))
      await add(txn, records, 'InodeRecord', keys.inode(inode))
      await add(txn, records, 'XattrRecord', keys.xattr(inode))
    }
    if (!isFile(record)) return { records, servers: [], nextWindow: 0 }
    const { to } = ranges.windows(record.content)
    const from = keys.window(record.content, firstWindow)
    const windows = await txn.durableRange({ from, to }, WINDOWS_AT_ONCE)
    const chunks = new Set<number>()
    for (const { key, value } of windows) {
      records.push({ table: 'WindowRecord', key, value })
      for (const { chunk } of tables.windows.decode(value).extents) chunks.add(chunk)
    }
    const servers = new Set<number>()
    for (const chunk of chunks) {
      const stored = await add(txn, records, 'PlacedChunkRecord', keys.chunk(chunk))
      if (stored !== undefined)
        tables.chunks.decode(stored).servers.forEach((id) => servers.add(id))
    }
    const last = windows.at(-1)
    const more = last !== undefined && windows.length === WINDOWS_AT_ONCE
    const nextWindow = more ? parts.windowIndex(last.key) + 1 : 0
    return { records, servers: topology.addresses(servers), nextWindow }
  },
}

/** Adds the record under `key`, if there is one. */
async function add(
  txn: Transaction,
  records: StoredRecord[],
  table: string,
  key: Buffer,
): Promise<Uint8Array | undefined> {
  const [entry] = await txn.durableRange({ from: key, to: keyAfter(key) }, 1)
  if (entry !== undefined) records.push({ table, key, value: entry.value })
  return entry?.value
}
