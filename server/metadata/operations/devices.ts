/**
 * listDevices, revokeDevice: what can open an account without its password, and taking that back.
 *
 * A revoked device's sessions end before the answer is given, and it opens no new ones. Read tickets
 * that it has go on until they expire: chunkservers check them alone.
 */
import type { Connection } from '../../../schema/rpc/api.ts'
import type {
  ListDevicesResponse,
  RevokeDeviceRequest,
} from '../../../schema/generated/metadata.ts'
import type { UserRecord } from '../../../schema/generated/records.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { stateOf, type Services } from '../services.ts'
import { whileOpen } from '../sessions.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'
import { provenUser, userById } from './accounts.ts'

export async function listDevices(
  connection: Connection,
  { database, sessions }: Services,
): Promise<ListDevicesResponse> {
  return database.read(async (txn) => {
    const user = await ownerOn(txn, connection)
    const records = await txn.getAll(
      tables.devices,
      user.devices.map((id) => keys.device(id)),
    )
    const devices = records
      .filter((record) => record !== undefined)
      .map(({ device, name, created }) => {
        return { device, name, created, sessions: sessions.connectedOf(device) }
      })
    return { devices, recovery: user.recoveryKey.length > 0 }
  })
}

export async function revokeDevice(
  { device, force }: RevokeDeviceRequest,
  connection: Connection,
  { database, sessions, log }: Services,
): Promise<void> {
  const user = await database.write({}, async (txn) => {
    const owner = await ownerOn(txn, connection)
    if (!owner.devices.includes(device)) {
      throw new DfsError('notFound', `${owner.user} has no device ${device}; see dfs devices`)
    }
    const left = dropDevices(txn, owner, [device], force)
    txn.put(tables.users, keys.user(owner.userId), left)
    return owner.user
  })
  const ended = await sessions.endWhere((record) => record.device === device, connection)
  log.info({ user, device, from: connection.peer.address, sessions: ended }, 'device revoked')
}

/**
 * Deletes devices of a user; returns the user's record without them, for the caller to put. Throws
 * `lastWayIn` when only the password would be left, which its owner may not know any more.
 */
export function dropDevices(
  txn: Transaction,
  user: UserRecord,
  gone: readonly number[],
  force: boolean,
): UserRecord {
  const devices = user.devices.filter((device) => !gone.includes(device))
  if (devices.length === 0 && user.recoveryKey.length === 0 && !force) {
    throw new DfsError(
      'lastWayIn',
      `${user.user} has no recovery code and would have no device: without the password everything would be lost; make a code with dfs recovery, or repeat with --force`,
    )
  }
  for (const device of gone) txn.delete(tables.devices, keys.device(device))
  return { ...user, devices }
}

/** Whose account a connection speaks for: by its session, else by a proof. Throws `notLoggedIn`. */
async function ownerOn(txn: Transaction, connection: Connection): Promise<UserRecord> {
  const { caller, proof } = stateOf(connection)
  if (caller === undefined) return provenUser(txn, proof)
  whileOpen(txn, caller.session)
  return userById(txn, caller.user)
}
