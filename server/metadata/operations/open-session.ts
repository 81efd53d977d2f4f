/**
 * challenge, openSession: a device proves its key on this connection and takes up its session, or a
 * new one. A nonce is good for one proof. The answer's session differs from the one asked for when
 * that one is gone; what was under way in it is then unknown to the server.
 */
import { randomBytes } from 'node:crypto'
import type { Connection } from '../../../schema/rpc/api.ts'
import type {
  ChallengeResponse,
  OpenSessionRequest,
  OpenSessionResponse,
} from '../../../schema/generated/metadata.ts'
import type { DeviceRecord, UserRecord } from '../../../schema/generated/records.ts'
import { NONCE_BYTES, sessionProof } from '../../../schema/wire/session-proof.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { HELD_INODES_MAX } from '../holds.ts'
import { refuse } from '../input.ts'
import { quotaOf, stateOf, type Services } from '../services.ts'
import type { Database } from '../store/database.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import { accountOf, requireEnabled, userById } from './accounts.ts'
import { signedBy } from './ed25519.ts'

export function challenge(connection: Connection, { policy }: Services): ChallengeResponse {
  const nonce = randomBytes(NONCE_BYTES)
  stateOf(connection).challenge = nonce
  return { nonce, cluster: policy.cluster }
}

export async function openSession(
  request: OpenSessionRequest,
  connection: Connection,
  services: Services,
): Promise<OpenSessionResponse> {
  const { device: deviceId, signature, session: wanted, held } = request
  const { database, policy, sessions, leases, primary } = services
  await primary.heard(request)
  const state = stateOf(connection)
  const nonce = state.challenge
  state.challenge = undefined
  if (nonce === undefined) refuse('openSession without a challenge on this connection')
  if (state.caller !== undefined) refuse('this connection has a session already')
  if (held.length > HELD_INODES_MAX)
    refuse(`${held.length} inodes held; ${HELD_INODES_MAX} at most`)
  const { device, user } = await deviceAndUser(deviceId, database)
  if (
    device === undefined ||
    user === undefined ||
    !signedBy(device.publicKey, signature, sessionProof(policy.cluster, nonce, deviceId))
  ) {
    throw deviceRefused()
  }
  requireEnabled(user)
  const mine = await ownedOnly(held, user.userId, services)
  const session = await sessions.open(connection, user, device, wanted, mine)
  // Revoked or disabled while we were opening: sessions were ended before this one was there.
  const still = await deviceAndUser(deviceId, database)
  if (still.device === undefined || still.user === undefined || still.user.disabled) {
    await sessions.endWhere((record) => record.device === deviceId, connection)
    throw deviceRefused()
  }
  state.caller = { user: user.userId, session, quotaBytes: quotaOf(still.user) }
  return {
    session: session.record.session,
    account: accountOf(user, device.wrappedMasterKey),
    replicas: policy.replicas,
    writeQuorum: policy.writeQuorum,
    lease: leases.opened(session, sessions.soleOf(user.userId) === session),
    boot: leases.boot,
    metadata: primary.addresses,
    ...primary.epoch,
  }
}

async function deviceAndUser(
  id: number,
  database: Database,
): Promise<{ device: DeviceRecord | undefined; user: UserRecord | undefined }> {
  return database.read(async (txn) => {
    const device = await txn.get(tables.devices, keys.device(id))
    return { device, user: device && (await userById(txn, device.userId)) }
  })
}

const deviceRefused = (): DfsError =>
  new DfsError(
    'loginRefused',
    'this device is not known here or its proof is wrong; log in again with the password',
  )

/** A client can hold only what is its own; the rest of its list is ignored. */
async function ownedOnly(
  held: readonly number[],
  user: number,
  { database }: Services,
): Promise<number[]> {
  if (held.length === 0) return []
  return database.read(async (txn) => {
    const records = await txn.peekAll(
      tables.inodes,
      held.map((inode) => keys.inode(inode)),
      // A damaged inode is as one that is not there; it must not keep the whole mount out.
      () => undefined,
    )
    return held.filter((_, i) => records[i]?.owner === user)
  })
}
