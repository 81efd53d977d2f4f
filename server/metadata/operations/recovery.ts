/**
 * setRecovery, recover: a code that restores access without the password. We keep a public key derived
 * from it and the master key wrapped by it; neither helps anybody to the code.
 *
 * A proof of the code allows no more than setting a new password. An unknown user, one without a code
 * and a wrong code are answered alike.
 */
import { generateKeyPairSync } from 'node:crypto'
import type { Connection } from '../../../schema/rpc/api.ts'
import type {
  Account,
  RecoverRequest,
  SetRecoveryRequest,
} from '../../../schema/generated/metadata.ts'
import { recoveryProof } from '../../../schema/wire/session-proof.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { refuse } from '../input.ts'
import { stateOf, type Services } from '../services.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import {
  accountOf,
  checkRecovery,
  checkUserName,
  provenUser,
  requireEnabled,
  userByName,
} from './accounts.ts'
import { signedBy } from './ed25519.ts'

export async function setRecovery(
  { recoveryKey, recoveryMasterKey }: SetRecoveryRequest,
  connection: Connection,
  { database, log }: Services,
): Promise<void> {
  const { proof } = stateOf(connection)
  if (proof?.by !== 'password') {
    throw new DfsError('notLoggedIn', 'a recovery code is made right after the password was proven')
  }
  if (recoveryKey.length === 0) refuse('no recovery key')
  checkRecovery(recoveryKey, recoveryMasterKey)
  const name = await database.write({}, async (txn) => {
    const user = await provenUser(txn, proof)
    txn.put(tables.users, keys.user(user.userId), { ...user, recoveryKey, recoveryMasterKey })
    return user.user
  })
  log.info({ user: name, from: connection.peer.address }, 'new recovery code')
}

export async function recover(
  { user: name, signature }: RecoverRequest,
  connection: Connection,
  { database, loginLimits, policy, log }: Services,
): Promise<Account> {
  checkUserName(name)
  const state = stateOf(connection)
  const nonce = state.challenge
  state.challenge = undefined
  if (nonce === undefined) refuse('recover without a challenge on this connection')
  loginLimits.attempt(connection.peer.address, name)
  const user = await database.read((txn) => userByName(txn, name))
  const known = user !== undefined && user.recoveryKey.length > 0
  const key = known ? user.recoveryKey : NOBODYS_KEY
  const right = signedBy(key, signature, recoveryProof(policy.cluster, nonce, name))
  if (!known || !right) {
    log.warn({ user: name, from: connection.peer.address }, 'recovery refused')
    throw new DfsError('loginRefused', 'the user name or the recovery code is wrong')
  }
  loginLimits.succeeded(connection.peer.address, name)
  requireEnabled(user)
  state.proof = { by: 'recovery', user: user.userId, key: user.recoveryKey }
  log.warn({ user: name, from: connection.peer.address }, 'opened with the recovery code')
  return accountOf(user, user.recoveryMasterKey)
}

/** Checked for users who do not exist, so that the answer takes as long. */
const NOBODYS_KEY = generateKeyPairSync('ed25519')
  .publicKey.export({ format: 'der', type: 'spki' })
  .subarray(-32)
