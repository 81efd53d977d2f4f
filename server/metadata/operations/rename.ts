/**
 * rename(2), POSIX semantics.
 *
 * The target is replaced if it exists, unless one side is a directory and the other is not, or the
 * target is a directory with entries. Two names of one inode: nothing happens. A directory never
 * moves below itself; the walk to the root that proves it is safe because a user's renames between
 * directories follow each other (they share a queue), and nothing else changes where a directory is.
 */
import type { RenameRequest, RenameResponse } from '../../../schema/generated/metadata.ts'
import type { Inode } from '../../../schema/generated/common.ts'
import type { InodeRecord } from '../../../schema/generated/records.ts'
import { methods } from '../../../schema/methods.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { checkEntry, checkToken } from '../input.ts'
import { dropName } from '../inode-removal.ts'
import { isDirectory } from '../inode-kinds.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'
import type { Mutation } from './operation.ts'
import { dentryName, entryInode, inodeName, ownDirectory, putChangedDirectory } from './tree.ts'

/** The queue of a user's renames between directories: below all inode numbers. */
const moveQueue = (user: number): number => -user

export const rename: Mutation<RenameRequest, RenameResponse> = {
  method: methods.rename,
  check({ fromToken, toToken, entry }) {
    checkToken(fromToken)
    checkToken(toToken)
    checkEntry(entry)
  },
  queues: ({ fromParent, toParent, inode }, { user }) =>
    fromParent === toParent ? [fromParent, inode] : [moveQueue(user), fromParent, toParent, inode],
  warm: ({ fromParent, fromToken, toParent, toToken, inode }) => [
    inodeName(fromParent),
    inodeName(toParent),
    inodeName(inode),
    dentryName(fromParent, fromToken),
    dentryName(toParent, toToken),
  ],

  async run(txn, request, caller, services) {
    const { fromParent, fromToken, toParent, toToken } = request
    const from = await ownDirectory(txn, caller, fromParent)
    const to = fromParent === toParent ? from : await ownDirectory(txn, caller, toParent)
    const source = await sourceOf(txn, request)
    const dentry = await txn.get(tables.dentries, keys.dentry(toParent, toToken))
    if (dentry !== undefined && request.noReplace) {
      throw new DfsError('exists', `directory ${toParent} has the new name already`)
    }
    if (dentry?.inode === request.inode) return { inode: source.inode }
    const target = dentry === undefined ? undefined : await entryInode(txn, dentry.inode)
    if (target !== undefined) refuseReplace(source, target)
    if (isDirectory(source) && from !== to) await refuseLoop(txn, source, to)

    const now = services.clock.nowNs()
    txn.delete(tables.dentries, keys.dentry(fromParent, fromToken))
    txn.put(tables.dentries, keys.dentry(toParent, toToken), {
      inode: request.inode,
      entry: request.entry,
    })
    const moved = { ...source.inode, ctime: now }
    const parent = isDirectory(source) ? toParent : source.parent
    txn.put(tables.inodes, keys.inode(request.inode), { ...source, inode: moved, parent })
    const replaced = target === undefined ? undefined : dropName(txn, target, { ...services, now })
    const parents = putParents(txn, { from, to, source, target, now })
    return { inode: moved, replaced: replaced?.inode, ...parents }
  },
}

async function sourceOf(
  txn: Transaction,
  { fromParent, fromToken, inode }: RenameRequest,
): Promise<InodeRecord> {
  const dentry = await txn.get(tables.dentries, keys.dentry(fromParent, fromToken))
  if (dentry === undefined) {
    throw new DfsError('notFound', `directory ${fromParent} has no such name to rename`)
  }
  if (dentry.inode !== inode) {
    throw new DfsError('versionConflict', `the name means inode ${dentry.inode} by now; look again`)
  }
  return entryInode(txn, inode)
}

function refuseReplace(source: InodeRecord, target: InodeRecord): void {
  const { inode, entryCount } = target.inode
  if (isDirectory(source) && !isDirectory(target)) {
    throw new DfsError('notDirectory', `a directory cannot replace inode ${inode}, which is none`)
  }
  if (!isDirectory(source) && isDirectory(target)) {
    throw new DfsError('isDirectory', `only a directory can replace directory ${inode}`)
  }
  if (entryCount > 0) {
    throw new DfsError('notEmpty', `directory ${inode} has ${entryCount} entries`)
  }
}

async function refuseLoop(txn: Transaction, source: InodeRecord, to: InodeRecord): Promise<void> {
  let at = to
  for (;;) {
    if (at.inode.inode === source.inode.inode) {
      throw new DfsError('wouldLoop', `directory ${at.inode.inode} cannot move below itself`)
    }
    if (at.parent === at.inode.inode) return
    const above = await txn.peek(tables.inodes, keys.inode(at.parent))
    if (above === undefined) {
      throw new DfsError('recordCorrupt', `directory ${at.inode.inode} has no parent record`)
    }
    at = above
  }
}

interface Move {
  readonly from: InodeRecord
  readonly to: InodeRecord
  readonly source: InodeRecord
  readonly target: InodeRecord | undefined
  readonly now: bigint
}

function putParents(
  txn: Transaction,
  { from, to, source, target, now }: Move,
): { fromParent: Inode; toParent: Inode } {
  const directory = isDirectory(source) ? 1 : 0
  const replaced = target === undefined ? 0 : 1
  const replacedDirectory = target !== undefined && isDirectory(target) ? 1 : 0
  if (from === to) {
    const change = { entries: -replaced, directories: -replacedDirectory, now }
    const changed = putChangedDirectory(txn, from, change)
    return { fromParent: changed, toParent: changed }
  }
  return {
    fromParent: putChangedDirectory(txn, from, { entries: -1, directories: -directory, now }),
    toParent: putChangedDirectory(txn, to, {
      entries: 1 - replaced,
      directories: directory - replacedDirectory,
      now,
    }),
  }
}
