/**
 * joinStandby: a machine becomes a standby of the cluster, with a one-time token for that. It gets the
 * key of the cluster's authority, because it may have to take this server's place.
 *
 * The token is used up; but the same claim with the same token, repeated after a lost answer, gets the
 * same answer until the token expires.
 */
import type {
  JoinStandbyRequest,
  JoinStandbyResponse,
} from '../../../schema/generated/replication.ts'
import type { Connection } from '../../../schema/rpc/api.ts'
import { refuse } from '../input.ts'
import type { Services } from '../services.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import { sha256 } from './accounts.ts'
import { tokenInvalid, validToken } from './join.ts'
import { nextSmallId } from './small-ids.ts'

const CLAIM_BYTES = 32

export async function joinStandby(
  { token, claim }: JoinStandbyRequest,
  connection: Connection,
  services: Services,
): Promise<JoinStandbyResponse> {
  const { database, loginLimits, authority, policy, log } = services
  if (claim.length !== CLAIM_BYTES) refuse(`a claim of ${claim.length} bytes`)
  loginLimits.attemptFrom(connection.peer.address)
  const tokenHash = sha256(token)
  const requestHash = sha256(claim)
  const standby = await database.write({}, async (txn) => {
    const given = await validToken(txn, tokenHash, services, true)
    if (given.server !== 0) {
      if (!requestHash.equals(given.requestHash)) throw tokenInvalid()
      return given.server
    }
    const server = await nextSmallId(txn, 'standbys')
    txn.put(tables.joinTokens, keys.joinToken(tokenHash), { ...given, server, requestHash })
    return server
  })
  loginLimits.passed(connection.peer.address)
  log.warn({ standby, from: connection.peer.address }, 'a standby joined; it has the authority key')
  const { cluster, replicas, writeQuorum } = policy
  return { standby, authorityKeyPem: authority.privateKeyPem, cluster, replicas, writeQuorum }
}
