/**
 * link: one more name for an inode that is no directory and still has a name.
 */
import type { InodeResponse, LinkRequest } from '../../../schema/generated/metadata.ts'
import type { InodeRecord } from '../../../schema/generated/records.ts'
import { methods } from '../../../schema/methods.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { checkEntry, checkToken } from '../input.ts'
import { isDirectory } from '../inode-kinds.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Mutation } from './operation.ts'
import {
  dentryName,
  freeName,
  inodeName,
  ownDirectory,
  ownInode,
  putChangedDirectory,
} from './tree.ts'

export const link: Mutation<LinkRequest, InodeResponse> = {
  method: methods.link,
  check({ token, entry }) {
    checkToken(token)
    checkEntry(entry)
  },
  queues: ({ parent, inode }) => [parent, inode],
  warm: ({ parent, token, inode }) => [
    inodeName(parent),
    inodeName(inode),
    dentryName(parent, token),
  ],

  async run(txn, { inode, parent, token, entry }, caller, services) {
    const directory = await ownDirectory(txn, caller, parent)
    const record = await ownInode(txn, caller, inode)
    refuseLink(record)
    const dentryKey = await freeName(txn, parent, token)
    const now = services.clock.nowNs()
    const linked = { ...record.inode, nlink: record.inode.nlink + 1, ctime: now }
    txn.put(tables.inodes, keys.inode(inode), { ...record, inode: linked })
    txn.put(tables.dentries, dentryKey, { inode, entry })
    const changed = putChangedDirectory(txn, directory, { entries: 1, directories: 0, now })
    return { inode: linked, parent: changed }
  },
}

function refuseLink(record: InodeRecord): void {
  const { inode, nlink } = record.inode
  if (isDirectory(record)) throw new DfsError('notPermitted', 'a directory has one name only')
  if (nlink === 0) throw new DfsError('notFound', `inode ${inode} has no name any more`)
  if (nlink >= limits.linksMax) {
    throw new DfsError('tooManyLinks', `inode ${inode} has ${nlink} names; no more are allowed`)
  }
}
