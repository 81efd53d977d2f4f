/**
 * What the operations on accounts share: finding users and whose account a connection may change, and
 * the one refusal that tells nobody whether it was the name or the password that was wrong.
 */
import { createHash } from 'node:crypto'
import * as opaque from '@serenity-kit/opaque'
import type { Account } from '../../../schema/generated/metadata.ts'
import type { UserRecord } from '../../../schema/generated/records.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { refuse } from '../input.ts'
import type { Proof } from '../services.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'

/** Bytes of a raw Ed25519 public key. */
const PUBLIC_KEY_BYTES = 32
/** Characters of an OPAQUE registration record. */
const RECORD_LENGTH_MAX = 2_048
/** Characters of a user's name. */
const USER_NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/u
/** Bytes of a wrapped key: 32 and what sealing adds, with room for later forms. */
const WRAPPED_KEY_BYTES_MAX = 256

export function checkUserName(name: string): void {
  if (!USER_NAME.test(name)) {
    refuse(
      'a user name has 1 to 64 letters, digits, dots, dashes, underscores or @, and starts with a letter or digit',
    )
  }
}

export function checkWrappedKey(key: Uint8Array): void {
  if (key.length === 0 || key.length > WRAPPED_KEY_BYTES_MAX) {
    refuse(`a wrapped key of ${key.length} bytes; it has 1 to ${WRAPPED_KEY_BYTES_MAX}`)
  }
}

export function checkPublicKey(key: Uint8Array): void {
  if (key.length !== PUBLIC_KEY_BYTES) refuse(`an Ed25519 public key of ${key.length} bytes`)
}

/** The public key of a recovery code and what the code wraps: both, or neither for no code. */
export function checkRecovery(key: Uint8Array, wrapped: Uint8Array): void {
  if (key.length === 0 && wrapped.length === 0) return
  checkPublicKey(key)
  checkWrappedKey(wrapped)
}

export function checkOpaqueRecord(record: string): void {
  if (record.length === 0 || record.length > RECORD_LENGTH_MAX) {
    refuse(`an OPAQUE record of ${record.length} characters`)
  }
}

/**
 * The user of a connection's proof. Throws `notLoggedIn` without one, or when the password or recovery
 * code that was proven is not the account's any more.
 */
export async function provenUser(txn: Transaction, proof: Proof | undefined): Promise<UserRecord> {
  const user = proof && (await txn.get(tables.users, keys.user(proof.user)))
  const stands =
    user !== undefined &&
    !user.disabled &&
    (proof?.by === 'password'
      ? user.opaqueRecord === proof.record
      : proof !== undefined && Buffer.compare(user.recoveryKey, proof.key) === 0)
  if (!stands) {
    throw new DfsError('notLoggedIn', 'this needs a login with the password on this connection')
  }
  return user
}

export const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest()

export async function userByName(txn: Transaction, name: string): Promise<UserRecord | undefined> {
  const id = await txn.get(tables.numbers, keys.userName(name))
  return id === undefined ? undefined : txn.get(tables.users, keys.user(id.value))
}

/** Throws `forbidden` when the operator has disabled the account. For owners who have proven themselves. */
export function requireEnabled({ user, disabled }: UserRecord): void {
  if (disabled) throw new DfsError('forbidden', `the account ${user} is disabled; ask the operator`)
}

/** A user's record goes when his sessions have ended and his devices are gone, so a device's user is there. */
export async function userById(txn: Transaction, user: number): Promise<UserRecord> {
  const record = await txn.get(tables.users, keys.user(user))
  if (record === undefined) {
    throw new DfsError('recordCorrupt', `user ${user} has a device or a session and no record`)
  }
  return record
}

export const loginRefused = (): DfsError =>
  new DfsError('loginRefused', 'the user name or the password is wrong')

/** What the owner gets; `wrappedMasterKey` by the password or by the device. */
export function accountOf(user: UserRecord, wrappedMasterKey: Uint8Array): Account {
  const { userId, rootInode, wrappedRootKey } = user
  return { userId, user: user.user, rootInode, wrappedMasterKey, wrappedRootKey }
}

/** OPAQUE's answer to who chooses a password. Throws `invalidArgument` for a request that is none. */
export function opaqueRegistration(
  serverSetup: string,
  userIdentifier: string,
  registrationRequest: string,
): string {
  const { registrationResponse } = opaqueStep(
    () =>
      opaque.server.createRegistrationResponse({
        serverSetup,
        userIdentifier,
        registrationRequest,
      }),
    () => new DfsError('invalidArgument', 'the OPAQUE registration request is malformed'),
  )
  return registrationResponse
}

/** Runs OPAQUE's server side: what it cannot read is the peer's fault, and never a crash of ours. */
export function opaqueStep<R>(step: () => R, refusal: () => DfsError): R {
  try {
    return step()
  } catch (error) {
    throw new DfsError(refusal().code, refusal().message, { cause: error })
  }
}
