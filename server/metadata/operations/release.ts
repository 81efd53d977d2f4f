/**
 * release: undoes one hold for each time that an inode is listed. What is not held is ignored, so a
 * repeated release after a lost answer cannot fail.
 */
import type { Empty, ReleaseRequest } from '../../../schema/generated/metadata.ts'
import { methods } from '../../../schema/methods.ts'
import type { Query } from './operation.ts'

export const release: Query<ReleaseRequest, Empty> = {
  method: methods.release,
  run(_txn, { inodes }, caller, { holds }) {
    for (const inode of inodes) holds.release(caller.session.record.session, inode)
    return {}
  },
}
