/**
 * registerStart, registerFinish: an invited user chooses a password (OPAQUE: we never see it), and
 * the root directory comes into being.
 *
 * The invitation is used up by the finish. The same finish repeated, after a lost answer, is answered
 * the same.
 */
import { timingSafeEqual } from 'node:crypto'
import type { Connection } from '../../../schema/rpc/api.ts'
import type {
  RegisterFinishRequest,
  RegisterFinishResponse,
  RegisterStartRequest,
  RegisterStartResponse,
} from '../../../schema/generated/metadata.ts'
import type { UserRecord } from '../../../schema/generated/records.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { checkInline, refuse } from '../input.ts'
import { InodeKind } from '../inode-kinds.ts'
import type { Services } from '../services.ts'
import { counterNames } from '../store/counters.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'
import {
  checkOpaqueRecord,
  checkRecovery,
  checkUserName,
  checkWrappedKey,
  opaqueRegistration,
  sha256,
  userByName,
} from './accounts.ts'
import { checkNew, newInode, putNewInode } from './create.ts'

export async function registerStart(
  { user, invitation, opaqueRequest }: RegisterStartRequest,
  connection: Connection,
  services: Services,
): Promise<RegisterStartResponse> {
  const { database, loginLimits, opaqueSetup } = services
  checkUserName(user)
  loginLimits.attemptFrom(connection.peer.address)
  const record = await database.read((txn) => invited(txn, user, invitation, services))
  loginLimits.passed(connection.peer.address)
  if (record.opaqueRecord !== '') throw usedUp()
  return { opaqueResponse: opaqueRegistration(opaqueSetup, user, opaqueRequest) }
}

export async function registerFinish(
  request: RegisterFinishRequest,
  connection: Connection,
  services: Services,
): Promise<RegisterFinishResponse> {
  const { user, invitation, opaqueRecord, wrappedMasterKey, wrappedRootKey, root } = request
  checkUserName(user)
  checkWrappedKey(wrappedMasterKey)
  checkWrappedKey(wrappedRootKey)
  checkNew(root)
  checkInline(root, NO_BYTES)
  if (root.kind !== InodeKind.directory) refuse('the root is a directory')
  checkOpaqueRecord(opaqueRecord)
  checkRecovery(request.recoveryKey, request.recoveryMasterKey)
  services.loginLimits.attemptFrom(connection.peer.address)
  const registered = await services.database.write({}, async (txn) => {
    const record = await invited(txn, user, invitation, services)
    if (record.opaqueRecord === opaqueRecord) {
      return { userId: record.userId, rootInode: record.rootInode }
    }
    if (record.opaqueRecord !== '') throw usedUp()
    const rootInode = await services.inodeIds.take()
    const now = services.clock.nowNs()
    const from = {
      attributes: root,
      inline: NO_BYTES,
      owner: record.userId,
      parent: rootInode,
      now,
    }
    putNewInode(txn, newInode(rootInode, from))
    txn.put(tables.users, keys.user(record.userId), {
      ...record,
      opaqueRecord,
      wrappedMasterKey,
      wrappedRootKey,
      rootInode,
      recoveryKey: request.recoveryKey,
      recoveryMasterKey: request.recoveryMasterKey,
    })
    txn.add(counterNames.users, 1)
    return { userId: record.userId, rootInode }
  })
  services.loginLimits.passed(connection.peer.address)
  return registered
}

const NO_BYTES = new Uint8Array(0)

const usedUp = (): DfsError =>
  new DfsError('tokenInvalid', 'this invitation was used; log in, or ask for a new account')

/** The user whom the invitation is for. One refusal for all that can be wrong with it. */
async function invited(
  txn: Transaction,
  user: string,
  invitation: Uint8Array,
  { clock }: Services,
): Promise<UserRecord> {
  const record = await userByName(txn, user)
  const given = sha256(invitation)
  const expected = record === undefined ? given : Buffer.from(record.invitationHash)
  const matches = expected.length === given.length && timingSafeEqual(expected, given)
  const good = record !== undefined && matches && !record.disabled
  if (!good || record.invitationExpires < clock.nowNs()) {
    throw new DfsError(
      'tokenInvalid',
      'no such invitation: another user name, or it has expired; ask for a new one',
    )
  }
  return record
}
