/**
 * How an inode loses a name, and goes when it has none left.
 */
import type { InodeRecord } from '../../schema/generated/records.ts'
import { limits } from '../../schema/wire/limits.ts'
import type { Holds } from './holds.ts'
import { isDirectory } from './inode-kinds.ts'
import { counterNames } from './store/counters.ts'
import { keys } from './store/keys.ts'
import { tables } from './store/tables.ts'
import type { Transaction } from './store/transaction.ts'

/** What takes apart the content that is queued for purging. */
export interface PurgeQueue {
  /** `windows`: how many the content has at most. */
  add(content: number, windows: number): void
}

/** Bytes of an inode that windows hold, in extents and patches. */
export const extentBytes = ({ inode }: InodeRecord): number =>
  inode.allocatedBytes - inode.inline.length

/**
 * Takes one name from an inode. Without names it is removed, or kept as an orphan while somebody
 * holds it. Returns the inode as it is afterwards.
 */
export function dropName(
  txn: Transaction,
  record: InodeRecord,
  { holds, purger, now }: { holds: Holds; purger: PurgeQueue; now: bigint },
): InodeRecord {
  const id = record.inode.inode
  const nlink = isDirectory(record) ? 0 : record.inode.nlink - 1
  const after: InodeRecord = { ...record, inode: { ...record.inode, nlink, ctime: now } }
  if (nlink > 0) {
    txn.put(tables.inodes, keys.inode(id), after)
    return after
  }
  const held = holds.mayBeHeld(id)
  txn.guard(() => holds.mayBeHeld(id) === held)
  if (held) {
    txn.put(tables.inodes, keys.inode(id), after)
    txn.put(tables.marks, keys.orphan(id), true)
    txn.afterDecision(() => holds.orphaned(id))
  } else {
    removeInode(txn, record, purger)
  }
  return after
}

/** Removes an inode without names; its windows go in the background. */
export function removeInode(txn: Transaction, record: InodeRecord, purger: PurgeQueue): void {
  txn.delete(tables.inodes, keys.inode(record.inode.inode))
  txn.add(counterNames.inodes, -1)
  txn.add(counterNames.userInodes(record.owner), -1)
  const bytes = record.inode.allocatedBytes + record.xattrBytes
  if (bytes > 0) txn.add(counterNames.userBytes(record.owner), -bytes)
  if (record.xattrBytes > 0) txn.delete(tables.xattrs, keys.xattr(record.inode.inode))
  if (extentBytes(record) > 0) purgeContent(txn, record, purger)
}

/** Queues content that no inode leads to any more. */
export function purgeContent(
  txn: Transaction,
  { content, inode }: InodeRecord,
  purger: PurgeQueue,
): void {
  // No window of a file begins behind its size.
  const windows = Math.ceil(inode.attributes.size / limits.chunkBytesMax)
  txn.put(tables.purges, keys.purge(content), windows)
  txn.afterDecision(() => purger.add(content, windows))
}
