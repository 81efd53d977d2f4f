/**
 * unlink and rmdir: takes a name away.
 *
 * An inode without names goes with its content, unless somebody holds it: then it stays until the
 * last hold ends. A directory must be empty.
 */
import type { UnlinkRequest, UnlinkResponse } from '../../../schema/generated/metadata.ts'
import type { InodeRecord } from '../../../schema/generated/records.ts'
import { methods } from '../../../schema/methods.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { checkToken } from '../input.ts'
import { dropName } from '../inode-removal.ts'
import { isDirectory } from '../inode-kinds.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Mutation } from './operation.ts'
import { dentryName, entryInode, inodeName, ownDirectory, putChangedDirectory } from './tree.ts'

export const unlink: Mutation<UnlinkRequest, UnlinkResponse> = {
  method: methods.unlink,
  check({ token }) {
    checkToken(token)
  },
  queues: ({ parent }) => [parent],
  warm: ({ parent, token }) => [inodeName(parent), dentryName(parent, token)],
  async warmUp(txn, { parent, token }) {
    const dentry = await txn.peek(tables.dentries, keys.dentry(parent, token))
    if (dentry !== undefined) await txn.peek(tables.inodes, keys.inode(dentry.inode))
  },

  async run(txn, { parent, token, directory: wantsDirectory }, caller, services) {
    const { holds, purger, clock } = services
    const directory = await ownDirectory(txn, caller, parent)
    const dentryKey = keys.dentry(parent, token)
    const dentry = await txn.get(tables.dentries, dentryKey)
    if (dentry === undefined) throw new DfsError('notFound', `directory ${parent} has no such name`)
    const record = await entryInode(txn, dentry.inode)
    refuseUnlink(record, wantsDirectory)
    const now = clock.nowNs()
    txn.delete(tables.dentries, dentryKey)
    const changed = putChangedDirectory(txn, directory, {
      entries: -1,
      directories: isDirectory(record) ? -1 : 0,
      now,
    })
    return { inode: dropName(txn, record, { holds, purger, now }).inode, parent: changed }
  },
}

function refuseUnlink(record: InodeRecord, wantsDirectory: boolean): void {
  const { inode, entryCount } = record.inode
  if (wantsDirectory && !isDirectory(record)) {
    throw new DfsError('notDirectory', `inode ${inode} is no directory`)
  }
  if (!wantsDirectory && isDirectory(record)) {
    throw new DfsError('isDirectory', `inode ${inode} is a directory`)
  }
  if (entryCount > 0) {
    throw new DfsError('notEmpty', `directory ${inode} has ${entryCount} entries`)
  }
}
