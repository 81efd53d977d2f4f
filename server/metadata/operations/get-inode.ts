/**
 * getInode: an inode by its number, also one without a name that is still held. With `hold`, counts
 * a hold in the same moment, so that it cannot go in between.
 */
import type { GetInodeRequest, InodeResponse } from '../../../schema/generated/metadata.ts'
import { methods } from '../../../schema/methods.ts'
import { whileOpen } from '../sessions.ts'
import type { Query } from './operation.ts'
import { ownInode } from './tree.ts'

export const getInode: Query<GetInodeRequest, InodeResponse> = {
  method: methods.getInode,
  async run(txn, { inode, hold }, caller, services) {
    const record = await ownInode(txn, caller, inode)
    if (hold) {
      const session = caller.session.record.session
      services.holds.checkRoom(session)
      whileOpen(txn, caller.session)
      txn.afterDecision(() => services.holds.add(session, inode))
    }
    return { inode: record.inode }
  },
}
