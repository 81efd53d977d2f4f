/**
 * changeNames: births, removals and renames that a mount answered under the lease of the tree and sends
 * in its order. One transaction: all of them take effect, or none does.
 *
 * Each says which inode its names must still mean, since the server may have been restarted, and
 * others let in, between the answer and now.
 */
import type { Inode } from '../../../schema/generated/common.ts'
import type {
  ChangeNamesRequest,
  ChangeNamesResponse,
  NameChange,
} from '../../../schema/generated/metadata.ts'
import { methods } from '../../../schema/methods.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { refuse } from '../input.ts'
import type { Caller, Services } from '../services.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'
import { birth, requireLease } from './birth.ts'
import type { Mutation } from './operation.ts'
import { rename } from './rename.ts'
import { unlink } from './unlink.ts'

const NO_BYTES = new Uint8Array(0)

/** One change as the operation of its own that it is like. */
type Single = ReturnType<typeof singleOf>

export const changeNames: Mutation<ChangeNamesRequest, ChangeNamesResponse> = {
  method: methods.changeNames,
  check(request) {
    const { length } = request.changes
    if (length === 0 || length > limits.nameChangesMax) {
      refuse(`${length} changes of names; 1 to ${limits.nameChangesMax} travel together`)
    }
    for (const single of singles(request)) {
      if (single.birth !== undefined) birth.check?.(single.birth)
      else if (single.unlink !== undefined) unlink.check?.(single.unlink)
      else rename.check?.(single.rename)
    }
  },
  cost: ({ changes }) => changes.length,
  queues: (request, caller) =>
    singles(request).flatMap((single) => {
      if (single.birth !== undefined) return birth.queues(single.birth, caller)
      if (single.unlink !== undefined) return unlink.queues(single.unlink, caller)
      return rename.queues(single.rename, caller)
    }),
  warm: (request) =>
    singles(request).flatMap((single) => {
      if (single.birth !== undefined) return birth.warm(single.birth)
      if (single.unlink !== undefined) return unlink.warm(single.unlink)
      return rename.warm(single.rename)
    }),
  async warmUp(txn, { changes }) {
    const removed = changes.flatMap(({ unlink: { inode } = NOTHING }) => inode ?? [])
    await txn.peekAll(
      tables.inodes,
      removed.map((inode) => keys.inode(inode)),
      () => undefined,
    )
  },
  held: ({ changes }) =>
    changes.flatMap(({ birth: born }) => (born?.hold === true ? born.inode : [])),

  async run(txn, request, caller, services) {
    const after = new Map<number, Inode>()
    for (const single of singles(request)) {
      requireLease(txn, single.lease, caller, services)
      for (const inode of await runSingle(txn, single, caller, services)) {
        if (inode === undefined) continue
        if (inode.nlink === 0) after.delete(inode.inode)
        else after.set(inode.inode, { ...inode, inline: NO_BYTES })
      }
    }
    return { inodes: [...after.values()] }
  },
}

const NOTHING: { readonly inode?: number } = {}

const singles = ({ operation, changes }: ChangeNamesRequest): Single[] =>
  changes.map((change) => singleOf(change, operation))

function singleOf(change: NameChange, operation: ChangeNamesRequest['operation']) {
  const { lease } = change
  const kinds = [change.birth, change.unlink, change.rename]
  if (kinds.filter((kind) => kind !== undefined).length !== 1) {
    refuse('a change of names is one of a birth, a removal and a rename')
  }
  if (change.birth !== undefined) {
    return { lease, birth: { ...change.birth, operation, lease, terse: true } }
  }
  if (change.unlink !== undefined) return { lease, unlink: { ...change.unlink, operation } }
  const moved = change.rename ?? refuse('a change of names that changes nothing')
  return { lease, rename: { ...moved, operation, noReplace: moved.replaced === 0 } }
}

/** Returns the inodes that it changed. */
async function runSingle(
  txn: Transaction,
  single: Single,
  caller: Caller,
  services: Services,
): Promise<readonly (Inode | undefined)[]> {
  if (single.birth !== undefined) {
    const { inode, parent } = await birth.run(txn, single.birth, caller, services)
    return [inode, parent]
  }
  if (single.unlink !== undefined) {
    const { parent: directory, token, inode: expected } = single.unlink
    await requireMeaning(txn, keys.dentry(directory, token), expected)
    const { inode, parent } = await unlink.run(txn, single.unlink, caller, services)
    return [inode, parent]
  }
  const { toParent, toToken, replaced: expected } = single.rename
  await requireMeaning(txn, keys.dentry(toParent, toToken), expected)
  const answer = await rename.run(txn, single.rename, caller, services)
  return [answer.inode, answer.replaced, answer.fromParent, answer.toParent]
}

/** Refuses with `versionConflict` when an entry names another inode; 0 for no entry. */
async function requireMeaning(txn: Transaction, key: Buffer, expected: number): Promise<void> {
  const dentry = await txn.get(tables.dentries, key)
  if ((dentry?.inode ?? 0) === expected) return
  const detail = `a name means inode ${dentry?.inode ?? 0}, not ${expected}, by now`
  throw new DfsError('versionConflict', detail)
}
