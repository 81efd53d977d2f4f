/**
 * setAttributes: chmod, chown, utimens. Everything that the client seals but content, size and kind;
 * and the times that are the server's: atime, and a directory's mtime.
 *
 * Carries the stored version + 1; anything else is `versionConflict` and changes nothing, since the
 * seal would cover attributes that somebody else has changed.
 */
import type { Attributes } from '../../../schema/generated/common.ts'
import type { InodeResponse, SetAttributesRequest } from '../../../schema/generated/metadata.ts'
import { methods } from '../../../schema/methods.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { checkAttributes, refuse } from '../input.ts'
import { isDirectory } from '../inode-kinds.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Mutation } from './operation.ts'
import { inodeName, ownInode } from './tree.ts'

export const setAttributes: Mutation<SetAttributesRequest, InodeResponse> = {
  method: methods.setAttributes,
  check({ attributes }) {
    checkAttributes(attributes)
  },
  queues: ({ inode }) => [inode],
  warm: ({ inode }) => [inodeName(inode)],

  async run(txn, request, caller, services) {
    const record = await ownInode(txn, caller, request.inode)
    const before = record.inode
    checkNextVersion(before.attributes, request.attributes)
    if (request.attributes.size !== before.attributes.size || !sameContent(before, request)) {
      refuse('setAttributes does not change size or content; commit does')
    }
    let { mtime } = request.attributes
    if (isDirectory(record)) {
      mtime = request.directoryMtime === 0n ? before.attributes.mtime : request.directoryMtime
    }
    const inode = {
      ...before,
      attributes: { ...request.attributes, mtime },
      atime: request.atime === 0n ? before.atime : request.atime,
      ctime: services.clock.nowNs(),
    }
    txn.put(tables.inodes, keys.inode(request.inode), { ...record, inode })
    return { inode }
  },
}

const sameContent = (
  before: { readonly attributes: Attributes },
  after: { readonly attributes: Attributes },
): boolean => Buffer.compare(before.attributes.contentDigest, after.attributes.contentDigest) === 0

/** Refuses a change that was not made from what is stored. */
export function checkNextVersion(stored: Attributes, changed: Attributes): void {
  if (changed.version !== stored.version + 1) {
    throw new DfsError(
      'versionConflict',
      `version ${changed.version} cannot follow ${stored.version}; read the inode again`,
    )
  }
  if (changed.kind !== stored.kind) refuse('an inode keeps its kind')
}
