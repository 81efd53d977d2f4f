/**
 * Reading the tree on behalf of a caller. What is not the caller's is answered as what is not there.
 */
import type { Inode } from '../../../schema/generated/common.ts'
import type { InodeRecord } from '../../../schema/generated/records.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { isDirectory } from '../inode-kinds.ts'
import type { Caller } from '../services.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { RecordName, Transaction } from '../store/transaction.ts'

export const inodeName = (inode: number): RecordName => ({
  table: tables.inodes,
  key: keys.inode(inode),
})

export const dentryName = (parent: number, token: Uint8Array): RecordName => ({
  table: tables.dentries,
  key: keys.dentry(parent, token),
})

/** The caller's inode. Throws `staleInode` when there is none or it is somebody else's. */
export async function ownInode(
  txn: Transaction,
  caller: Caller,
  inode: number,
): Promise<InodeRecord> {
  const record = await txn.get(tables.inodes, keys.inode(inode))
  if (record === undefined || record.owner !== caller.user) {
    throw new DfsError('staleInode', `inode ${inode} does not exist (any more)`)
  }
  return record
}

/** The caller's directory. Throws also `notDirectory`, and `notFound` for one that was removed. */
export async function ownDirectory(
  txn: Transaction,
  caller: Caller,
  inode: number,
): Promise<InodeRecord> {
  const record = await ownInode(txn, caller, inode)
  if (!isDirectory(record)) throw new DfsError('notDirectory', `inode ${inode} is no directory`)
  if (record.inode.nlink === 0) throw new DfsError('notFound', `directory ${inode} was removed`)
  return record
}

/** The key of an entry to be made. Throws `exists` when the directory has the name. */
export async function freeName(
  txn: Transaction,
  parent: number,
  token: Uint8Array,
): Promise<Buffer> {
  const key = keys.dentry(parent, token)
  if ((await txn.get(tables.dentries, key)) !== undefined) {
    throw new DfsError('exists', `directory ${parent} has this name already`)
  }
  return key
}

/** The inode that an entry names; every entry has one. */
export async function entryInode(txn: Transaction, inode: number): Promise<InodeRecord> {
  const record = await txn.get(tables.inodes, keys.inode(inode))
  if (record === undefined) {
    throw new DfsError('recordCorrupt', `inode ${inode} is named by an entry and has no record`)
  }
  return record
}

/** Writes a directory whose entries changed, with its times and counts; returns it. */
export function putChangedDirectory(
  txn: Transaction,
  directory: InodeRecord,
  change: { readonly entries: number; readonly directories: number; readonly now: bigint },
): Inode {
  const { inode } = directory
  const directoryCount = inode.directoryCount + change.directories
  const changed = {
    ...inode,
    attributes: { ...inode.attributes, mtime: change.now },
    ctime: change.now,
    entryCount: inode.entryCount + change.entries,
    directoryCount,
    nlink: 2 + directoryCount,
  }
  txn.put(tables.inodes, keys.inode(inode.inode), { ...directory, inode: changed })
  return changed
}
