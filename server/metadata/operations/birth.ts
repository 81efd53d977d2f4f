/**
 * birth: a file or directory that its mount made earlier, under a lease, and held back until now.
 *
 * As create, but for the inode number, which is one of those that the session was given, and for the
 * content that came meanwhile: inline, or what a window's patch holds. Refused with `staleLease` when the lease under which it was made was
 * lost: others may have seen that the name does not exist, or have given it away.
 */
import type { BirthRequest, InodeResponse } from '../../../schema/generated/metadata.ts'
import { methods } from '../../../schema/methods.ts'
import { manifestDigest, manifestEntry, windowDigest } from '../../../schema/wire/content.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { checkInline, refuse } from '../input.ts'
import { InodeKind, isDirectory } from '../inode-kinds.ts'
import type { Caller, Services } from '../services.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'
import { aNewName, checkNewName, newInode, putNewInode } from './create.ts'
import type { Mutation } from './operation.ts'
import { addUserBytes } from './quota.ts'
import { freeName, inodeName, ownDirectory, putChangedDirectory } from './tree.ts'

const NO_BYTES = new Uint8Array(0)

export const birth: Mutation<BirthRequest, InodeResponse> = {
  method: methods.birth,
  ...aNewName,
  check(request) {
    checkNewName(request)
    const { attributes, inline, patch } = request
    const { kind } = attributes
    if (kind !== InodeKind.file && kind !== InodeKind.directory) {
      refuse('only regular files and directories are held back')
    }
    if (patch.length === 0) checkInline(attributes, inline)
    else checkPatch(request)
  },
  // The number, which must be free, is looked up in the same trip to the engine.
  warm: (request) => [...aNewName.warm(request), inodeName(request.inode)],

  async run(txn, request, caller, services) {
    const { inode: id, parent, token, entry, attributes, inline, patch, hold, atime } = request
    requireLease(txn, request.lease, caller, services)
    const directory = await ownDirectory(txn, caller, parent)
    const dentryKey = await freeName(txn, parent, token)
    await requireFreeNumber(txn, id, caller)
    const session = caller.session.record.session
    if (hold) services.holds.checkRoom(session)
    const now = services.clock.nowNs()
    const made = newInode(id, { attributes, inline, owner: caller.user, parent, now })
    const allocatedBytes = inline.length + patch.length
    const record = {
      ...made,
      inode: { ...made.inode, atime: atime === 0n ? now : atime, allocatedBytes },
      // Not its own number, which the client chose: content ids are never used twice.
      content: await services.inodeIds.take(),
    }
    putNewInode(txn, record)
    if (patch.length > 0) {
      const digest = windowDigest([], patch)
      txn.put(tables.windows, keys.window(record.content, 0), { extents: [], digest, patch })
    }
    txn.put(tables.dentries, dentryKey, { inode: id, entry })
    const changed = putChangedDirectory(txn, directory, {
      entries: 1,
      directories: isDirectory(record) ? 1 : 0,
      now,
    })
    addUserBytes(txn, caller, allocatedBytes)
    if (hold) txn.afterDecision(() => services.holds.add(session, id))
    // Its sender has the content; here it would be logged once more, with the answer.
    const inode = request.terse ? { ...record.inode, inline: NO_BYTES } : record.inode
    return { inode, parent: changed }
  },
}

/** A file whose only content is the patch of its first window. */
function checkPatch({ attributes, inline, patch }: BirthRequest): void {
  const { kind, size, contentDigest } = attributes
  if (kind !== InodeKind.file) refuse('only a regular file has windows')
  if (inline.length > 0) refuse('both inline content and a patch')
  if (size === 0) refuse('a patch of an empty file')
  if (patch.length > limits.sealedPatchBytesMax) {
    refuse(`a patch of ${patch.length} bytes; at most ${limits.sealedPatchBytesMax}`)
  }
  const manifest = manifestEntry(0, windowDigest([], patch))
  if (!Buffer.from(contentDigest).equals(manifestDigest(manifest))) {
    refuse('the content digest is not that of the content')
  }
}

/** Refuses with `staleLease` what was made under a lease that was lost; 0 for none. */
export function requireLease(
  txn: Transaction,
  lease: number,
  { session }: Caller,
  { leases }: Services,
): void {
  if (lease === 0) return
  if (!leases.holds(session, lease)) {
    const detail = 'another mount of this tree was let in while this one did not answer'
    throw new DfsError('staleLease', `lease ${lease} was lost: ${detail}; write the file again`)
  }
  txn.guard(() => leases.holds(session, lease))
}

async function requireFreeNumber(txn: Transaction, id: number, { session }: Caller): Promise<void> {
  const { inodeNumbers } = session.record
  const given = inodeNumbers.some(
    (first, at) => at % 2 === 0 && id >= first && id < (inodeNumbers[at + 1] ?? 0),
  )
  if (!given) refuse(`inode number ${id} was not given to this session`)
  if ((await txn.get(tables.inodes, keys.inode(id))) !== undefined) {
    refuse(`inode number ${id} is used already`)
  }
}
