/**
 * disableUser, deleteUser, setQuota: for the operator. Sessions of a user who may not go on end before
 * the answer is given; read tickets that he has expire within their ten minutes.
 */
import type {
  DeleteUserRequest,
  DisableUserRequest,
  SetQuotaRequest,
} from '../../../schema/generated/metadata.ts'
import type { UserRecord } from '../../../schema/generated/records.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { quotaOf, stateOf, type Services } from '../services.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'
import { checkUserName, userByName } from './accounts.ts'

export async function disableUser(
  { user: name, disabled }: DisableUserRequest,
  { database, sessions, log }: Services,
): Promise<void> {
  checkUserName(name)
  const userId = await database.write({}, async (txn) => {
    const user = await knownUser(txn, name)
    txn.put(tables.users, keys.user(user.userId), { ...user, disabled })
    return user.userId
  })
  const ended = disabled ? await sessions.endWhere((record) => record.userId === userId) : 0
  log.warn({ user: name, sessions: ended }, disabled ? 'user disabled' : 'user enabled')
}

/** The name is free again when all that the user stored is gone. */
export async function deleteUser(
  { user: name }: DeleteUserRequest,
  { database, sessions, userRemoval, log }: Services,
): Promise<void> {
  checkUserName(name)
  const userId = await database.write({}, async (txn) => {
    const user = await knownUser(txn, name)
    for (const device of user.devices) txn.delete(tables.devices, keys.device(device))
    const after = { ...user, disabled: true, deleting: true, devices: [] }
    txn.put(tables.users, keys.user(user.userId), after)
    return user.userId
  })
  const ended = await sessions.endWhere((record) => record.userId === userId)
  log.warn({ user: name, userId, sessions: ended }, 'user deleted; his files follow')
  userRemoval.add(userId)
}

export async function setQuota(
  { user: name, quotaBytes }: SetQuotaRequest,
  { database, sessions, log }: Services,
): Promise<void> {
  checkUserName(name)
  const changed = await database.write({}, async (txn) => {
    const user = { ...(await knownUser(txn, name)), quotaBytes }
    txn.put(tables.users, keys.user(user.userId), user)
    return user
  })
  for (const connection of sessions.connectionsOf(changed.userId)) {
    const { caller } = stateOf(connection)
    if (caller !== undefined) caller.quotaBytes = quotaOf(changed)
  }
  log.info({ user: name, quotaBytes }, 'quota changed')
}

async function knownUser(txn: Transaction, name: string): Promise<UserRecord> {
  const user = await userByName(txn, name)
  if (user === undefined || user.deleting) {
    throw new DfsError('notFound', `there is no user ${name}; see dfs-metadata user list`)
  }
  return user
}
