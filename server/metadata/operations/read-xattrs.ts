/**
 * readXattrs: the sealed extended attributes of an inode, and the inode whose seal vouches for them,
 * as of one moment.
 */
import type { ReadXattrsRequest, ReadXattrsResponse } from '../../../schema/generated/metadata.ts'
import { methods } from '../../../schema/methods.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Query } from './operation.ts'
import { ownInode } from './tree.ts'

export const readXattrs: Query<ReadXattrsRequest, ReadXattrsResponse> = {
  method: methods.readXattrs,
  async run(txn, { inode }, caller) {
    const record = await ownInode(txn, caller, inode)
    if (record.xattrBytes === 0) return { inode: record.inode, xattrs: NO_BYTES }
    const stored = await txn.get(tables.xattrs, keys.xattr(inode))
    if (stored === undefined) {
      throw new DfsError('recordCorrupt', `the extended attributes of inode ${inode} are lost`)
    }
    return { inode: record.inode, xattrs: stored.sealed }
  },
}

const NO_BYTES = new Uint8Array(0)
