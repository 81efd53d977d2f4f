/**
 * addDevice: a key with which a machine opens sessions without the password. Only on a connection
 * that has just proven the password. The same key again is the same device.
 */
import type { Connection } from '../../../schema/rpc/api.ts'
import type { AddDeviceRequest, AddDeviceResponse } from '../../../schema/generated/metadata.ts'
import { refuse } from '../input.ts'
import { stateOf, type Services } from '../services.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import { checkPublicKey, checkWrappedKey, provenUser } from './accounts.ts'
import { nextSmallId } from './small-ids.ts'

const NAME_LENGTH_MAX = 128
/** Devices of one user. */
const DEVICES_MAX = 128

export async function addDevice(
  { name, publicKey, wrappedMasterKey }: AddDeviceRequest,
  connection: Connection,
  { database, clock, log }: Services,
): Promise<AddDeviceResponse> {
  const { proof } = stateOf(connection)
  checkPublicKey(publicKey)
  if (name.length > NAME_LENGTH_MAX) refuse(`a device name of ${name.length} characters`)
  checkWrappedKey(wrappedMasterKey)
  const device = await database.write({}, async (txn) => {
    const user = await provenUser(txn, proof)
    const { userId } = user
    const devices = await txn.getAll(
      tables.devices,
      user.devices.map((id) => keys.device(id)),
    )
    const same = devices.find(
      (known) => known !== undefined && Buffer.compare(known.publicKey, publicKey) === 0,
    )
    if (same !== undefined) return same.device
    if (user.devices.length >= DEVICES_MAX) refuse(`${DEVICES_MAX} devices; remove one first`)
    const id = await nextSmallId(txn, 'devices')
    txn.put(tables.devices, keys.device(id), {
      device: id,
      userId,
      name,
      publicKey,
      wrappedMasterKey,
      created: clock.nowNs(),
    })
    txn.put(tables.users, keys.user(userId), { ...user, devices: [...user.devices, id] })
    return id
  })
  log.info({ user: proof?.user, device, name }, 'device added')
  return { device }
}
