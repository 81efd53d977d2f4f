/**
 * create: a new inode of any kind under a new name.
 *
 * Refused with `exists` when the directory has the name, `notFound` when it was removed itself. A
 * small file's content and a symbolic link's target come along, sealed. Root directories are made by
 * registerFinish.
 */
import type { Attributes, Inode, Operation } from '../../../schema/generated/common.ts'
import type { CreateRequest, InodeResponse } from '../../../schema/generated/metadata.ts'
import type { InodeRecord } from '../../../schema/generated/records.ts'
import { methods } from '../../../schema/methods.ts'
import { checkAttributes, checkEntry, checkInline, checkToken, refuse } from '../input.ts'
import { InodeKind, isDirectory } from '../inode-kinds.ts'
import { counterNames } from '../store/counters.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'
import type { Mutation } from './operation.ts'
import { addUserBytes } from './quota.ts'
import { dentryName, freeName, inodeName, ownDirectory, putChangedDirectory } from './tree.ts'

interface NewNameRequest {
  readonly operation: Operation
  readonly parent: number
  readonly token: Uint8Array
  readonly entry: Uint8Array
  readonly attributes: Attributes
  readonly inline: Uint8Array
  readonly hold: boolean
}

/** What every operation has that makes an inode under a new name. */
export const aNewName: Omit<Mutation<NewNameRequest, InodeResponse>, 'method' | 'run'> = {
  check(request) {
    checkNewName(request)
    checkInline(request.attributes, request.inline)
  },
  queues: ({ parent }) => [parent],
  warm: ({ parent, token }) => [inodeName(parent), dentryName(parent, token)],
  held: ({ hold }, { inode }) => (hold ? [inode.inode] : []),
}

export const create: Mutation<CreateRequest, InodeResponse> = {
  method: methods.create,
  ...aNewName,

  async run(txn, request, caller, services) {
    const { parent, token, entry, attributes, inline, hold } = request
    const directory = await ownDirectory(txn, caller, parent)
    const dentryKey = await freeName(txn, parent, token)
    const session = caller.session.record.session
    if (hold) services.holds.checkRoom(session)
    const now = services.clock.nowNs()
    const id = await services.inodeIds.take()
    const record = newInode(id, { attributes, inline, owner: caller.user, parent, now })
    putNewInode(txn, record)
    txn.put(tables.dentries, dentryKey, { inode: id, entry })
    const changed = putChangedDirectory(txn, directory, {
      entries: 1,
      directories: isDirectory(record) ? 1 : 0,
      now,
    })
    addUserBytes(txn, caller, record.inode.allocatedBytes)
    if (hold) txn.afterDecision(() => services.holds.add(session, id))
    return { inode: record.inode, parent: changed }
  },
}

/** All of a new inode under a new name but its content. */
export function checkNewName({
  token,
  entry,
  attributes,
}: Pick<NewNameRequest, 'token' | 'entry' | 'attributes'>): void {
  checkToken(token)
  checkEntry(entry)
  checkNew(attributes)
}

/** Attributes of an inode that does not exist yet. */
export function checkNew(attributes: Attributes): void {
  checkAttributes(attributes)
  if (attributes.version !== 1) refuse(`a new inode of version ${attributes.version}; it has 1`)
  if (attributes.xattrDigest.length > 0) refuse('a new inode has no extended attributes yet')
}

interface NewInode {
  readonly attributes: Attributes
  readonly inline: Uint8Array
  readonly owner: number
  /** Of a directory: where it is; its own id for a root. */
  readonly parent: number
  readonly now: bigint
}

/** The record of an inode that comes into being. */
export function newInode(id: number, from: NewInode): InodeRecord {
  const directory = from.attributes.kind === InodeKind.directory
  const inode: Inode = {
    inode: id,
    attributes: directory ? { ...from.attributes, mtime: from.now } : from.attributes,
    nlink: directory ? 2 : 1,
    ctime: from.now,
    atime: from.now,
    entryCount: 0,
    directoryCount: 0,
    allocatedBytes: from.inline.length,
    inline: from.inline,
  }
  return {
    inode,
    owner: from.owner,
    parent: directory ? from.parent : 0,
    content: id,
    xattrBytes: 0,
  }
}

/** Writes a new inode and counts it. */
export function putNewInode(txn: Transaction, record: InodeRecord): void {
  txn.put(tables.inodes, keys.inode(record.inode.inode), record)
  txn.add(counterNames.inodes, 1)
  txn.add(counterNames.userInodes(record.owner), 1)
}
