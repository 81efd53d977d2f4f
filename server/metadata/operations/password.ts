/**
 * passwordStart, setPassword: a new password for an account whose old one, or whose recovery code, was
 * just proven on this connection. Nothing is encrypted again: the same master key, wrapped anew.
 *
 * The record, the wrapped key and the devices that go change in one transaction; the sessions end
 * before the answer is given. Other connections that had proven the old password can do nothing more.
 */
import type { Connection } from '../../../schema/rpc/api.ts'
import type {
  PasswordStartRequest,
  PasswordStartResponse,
  SetPasswordRequest,
  SetPasswordResponse,
} from '../../../schema/generated/metadata.ts'
import { stateOf, type Services } from '../services.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import { checkOpaqueRecord, checkWrappedKey, opaqueRegistration, provenUser } from './accounts.ts'
import { dropDevices } from './devices.ts'

export async function passwordStart(
  { opaqueRequest }: PasswordStartRequest,
  connection: Connection,
  { database, opaqueSetup }: Services,
): Promise<PasswordStartResponse> {
  const { proof } = stateOf(connection)
  const { user } = await database.read((txn) => provenUser(txn, proof))
  return { opaqueResponse: opaqueRegistration(opaqueSetup, user, opaqueRequest) }
}

export async function setPassword(
  request: SetPasswordRequest,
  connection: Connection,
  { database, sessions, log }: Services,
): Promise<SetPasswordResponse> {
  const { opaqueRecord, wrappedMasterKey, keepDevice, revokeDevices, force } = request
  checkOpaqueRecord(opaqueRecord)
  checkWrappedKey(wrappedMasterKey)
  const { proof } = stateOf(connection)
  const { userId, user, devicesRevoked } = await database.write({}, async (txn) => {
    const known = await provenUser(txn, proof)
    const gone = revokeDevices ? known.devices.filter((device) => device !== keepDevice) : []
    const left = gone.length === 0 ? known : dropDevices(txn, known, gone, force)
    txn.put(tables.users, keys.user(known.userId), { ...left, opaqueRecord, wrappedMasterKey })
    return { userId: known.userId, user: known.user, devicesRevoked: gone.length }
  })
  const sessionsEnded = await sessions.endWhere(
    (record) => record.userId === userId && record.device !== keepDevice,
    connection,
  )
  log.info(
    { user, by: proof?.by, from: connection.peer.address, sessionsEnded, devicesRevoked },
    'password changed',
  )
  return { sessionsEnded, devicesRevoked }
}
