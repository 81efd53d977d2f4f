/**
 * join: a machine becomes a chunkserver of the cluster, with a one-time token.
 *
 * The names in its certificate are decided here. The token is used up; but the same request with the
 * same token, repeated after a lost answer, gets the same certificate until the token expires.
 */
import type { Connection } from '../../../schema/rpc/api.ts'
import type { JoinRequest, JoinResponse } from '../../../schema/generated/cluster.ts'
import type { JoinTokenRecord } from '../../../schema/generated/records.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { issueCertificate } from '../../identity/certificates.ts'
import { chunkserverName } from '../peer-names.ts'
import { refuse } from '../input.ts'
import type { Services } from '../services.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'
import { sha256 } from './accounts.ts'
import { nextSmallId } from './small-ids.ts'

const RACK_LENGTH_MAX = 64
/** Days that a chunkserver's certificate is good for. */
const CERTIFICATE_DAYS = 3_650

export async function join(
  { token, certificateRequest, rack }: JoinRequest,
  connection: Connection,
  services: Services,
): Promise<JoinResponse> {
  const { database, loginLimits, authority, policy, topology, clock, log } = services
  checkRack(rack)
  loginLimits.attemptFrom(connection.peer.address)
  const tokenHash = sha256(token)
  const requestHash = sha256(certificateRequest)
  const given = await database.read((txn) => validToken(txn, tokenHash, services))
  loginLimits.passed(connection.peer.address)
  const answer = (server: number, certificatePem: string): JoinResponse => ({
    server,
    certificatePem,
    cluster: policy.cluster,
  })
  if (given.server !== 0) {
    if (!requestHash.equals(given.requestHash)) throw tokenInvalid()
    return answer(given.server, given.certificatePem)
  }
  // An id that is not used in the end, because another request used the token first, stays unused.
  const server = await database.write({}, (txn) => nextSmallId(txn, 'servers'))
  const certificatePem = await issueCertificate(authority, {
    names: [chunkserverName(server)],
    requestPem: pemOf(certificateRequest),
    days: CERTIFICATE_DAYS,
  })
  const record = {
    id: server,
    rack,
    addresses: [],
    joined: clock.nowNs(),
    totalBytes: 0,
    revoked: false,
    lost: false,
    draining: false,
    store: new Uint8Array(0),
  }
  await database.write({}, async (txn) => {
    const now = await validToken(txn, tokenHash, services)
    if (now.server !== 0) throw tokenInvalid()
    txn.put(tables.joinTokens, keys.joinToken(tokenHash), {
      ...now,
      server,
      requestHash,
      certificatePem,
    })
    txn.put(tables.servers, keys.server(server), record)
    txn.afterDecision(() => topology.put(record))
  })
  log.info({ server, rack, from: connection.peer.address }, 'chunkserver joined')
  return answer(server, certificatePem)
}

export function checkRack(rack: string): void {
  if (rack.length === 0 || rack.length > RACK_LENGTH_MAX) {
    refuse(`a rack name of ${rack.length} characters; it has 1 to ${RACK_LENGTH_MAX}`)
  }
}

/** A token that was not used up; `standby`: for a standby. Throws `tokenInvalid`. */
export async function validToken(
  txn: Transaction,
  tokenHash: Buffer,
  { clock }: Pick<Services, 'clock'>,
  standby = false,
): Promise<JoinTokenRecord> {
  const record = await txn.get(tables.joinTokens, keys.joinToken(tokenHash))
  if (record === undefined || record.expires < clock.nowNs() || record.standby !== standby) {
    throw tokenInvalid()
  }
  return record
}

export const tokenInvalid = (): DfsError =>
  new DfsError(
    'tokenInvalid',
    'this join token is unknown, used or expired; make one with dfs-metadata join-token',
  )

function pemOf(der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/gu) ?? []
  return `-----BEGIN CERTIFICATE REQUEST-----\n${lines.join('\n')}\n-----END CERTIFICATE REQUEST-----\n`
}
