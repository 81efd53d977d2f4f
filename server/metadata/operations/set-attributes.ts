/**
 * setAttributes: chmod, chown, utimens, extended attributes. Everything that the client seals but
 * content, size and kind; and the times that are the server's: atime, and a directory's mtime.
 *
 * Carries the stored version + 1; anything else is `versionConflict` and changes nothing, since the
 * seal would cover attributes that somebody else has changed.
 */
import type { Attributes } from '../../../schema/generated/common.ts'
import type { InodeResponse, SetAttributesRequest } from '../../../schema/generated/metadata.ts'
import { methods } from '../../../schema/methods.ts'
import { xattrDigest } from '../../../schema/wire/content.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import type { InodeRecord } from '../../../schema/generated/records.ts'
import { checkAttributes, refuse } from '../input.ts'
import { isDirectory } from '../inode-kinds.ts'
import type { Caller } from '../services.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'
import type { Mutation } from './operation.ts'
import { addUserBytes } from './quota.ts'
import { inodeName, ownInode } from './tree.ts'

export const setAttributes: Mutation<SetAttributesRequest, InodeResponse> = {
  method: methods.setAttributes,
  check({ attributes, xattrs }) {
    checkAttributes(attributes)
    if (xattrs.length > limits.sealedXattrsBytesMax) {
      refuse(`${xattrs.length} bytes of extended attributes`)
    }
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
    const xattrBytes = changeXattrs(txn, record, request, caller)
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
    txn.put(tables.inodes, keys.inode(request.inode), { ...record, inode, xattrBytes })
    return { inode }
  },
}

const sameContent = (
  before: { readonly attributes: Attributes },
  after: { readonly attributes: Attributes },
): boolean => Buffer.compare(before.attributes.contentDigest, after.attributes.contentDigest) === 0

/** Replaces the record of extended attributes if its digest changes; its bytes afterwards. */
function changeXattrs(
  txn: Transaction,
  record: InodeRecord,
  { attributes, xattrs, inode }: SetAttributesRequest,
  caller: Caller,
): number {
  if (sameXattrs(record.inode.attributes, attributes)) {
    if (xattrs.length > 0) refuse('extended attributes whose digest is the one there was')
    return record.xattrBytes
  }
  if (Buffer.compare(xattrDigest(xattrs), attributes.xattrDigest) !== 0) {
    refuse('the digest is not that of the extended attributes')
  }
  if (xattrs.length > 0) txn.put(tables.xattrs, keys.xattr(inode), { sealed: xattrs })
  else txn.delete(tables.xattrs, keys.xattr(inode))
  addUserBytes(txn, caller, xattrs.length - record.xattrBytes)
  return xattrs.length
}

/** Whether both have the same extended attributes. */
export function sameXattrs(stored: Attributes, changed: Attributes): boolean {
  return Buffer.compare(stored.xattrDigest, changed.xattrDigest) === 0
}

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
