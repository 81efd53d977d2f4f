/**
 * Changing what opens an account: a new password, a new recovery code, and the way back in with the
 * code. The master key stays the same, so nothing that is stored is encrypted again.
 */
import { methods } from '../../schema/methods.ts'
import type { Peer } from '../../schema/quic/api.ts'
import type { Log } from '../../schema/rpc/api.ts'
import type { SetPasswordResponse } from '../../schema/generated/metadata.ts'
import { recoveryProof } from '../../schema/wire/session-proof.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { unwrapKey, wrapKey } from '../crypto/key-wrap.ts'
import { RecoveryCode } from '../crypto/recovery-code.ts'
import { withMetadata, type ClusterTrust } from './account-connection.ts'
import { byPassword, newPassword, provePassword } from './password-proof.ts'

interface AccountOptions {
  readonly cluster: ClusterTrust
  readonly user: string
  readonly log?: Log
}

interface NewPassword {
  readonly newPassword: string
  /** Devices must log in again, but for `keepDevice`. */
  readonly revokeDevices: boolean
  /** The device whose sessions go on; 0 for none. */
  readonly keepDevice: number
  /** Also when only the password would be left to get in with. */
  readonly force: boolean
}

export interface ChangePasswordOptions extends AccountOptions, NewPassword {
  readonly password: string
}

/**
 * Replaces the password; the user's other sessions end. Throws `loginRefused` when the old one is
 * wrong, `lastWayIn` when only the new one would be left. When the connection is lost before the
 * answer, either of the two passwords is the right one.
 */
export async function changePassword(options: ChangePasswordOptions): Promise<SetPasswordResponse> {
  return withMetadata(options.cluster, options.log, async (peer) => {
    const masterKey = await masterByPassword(peer, options)
    return setPassword(peer, options, masterKey)
  })
}

/** Makes a recovery code, in place of an older one. Throws `loginRefused` for a wrong password. */
export async function renewRecovery(
  options: AccountOptions & { readonly password: string },
): Promise<RecoveryCode> {
  return withMetadata(options.cluster, options.log, async (peer) => {
    const masterKey = await masterByPassword(peer, options)
    try {
      const code = RecoveryCode.generate()
      await peer.call(methods.setRecovery, {
        recoveryKey: code.publicKey,
        recoveryMasterKey: code.wrapMasterKey(options.user, masterKey),
      })
      return code
    } finally {
      masterKey.fill(0)
    }
  })
}

export interface RecoverOptions extends AccountOptions, NewPassword {
  readonly code: RecoveryCode
}

/**
 * Sets a new password with the recovery code, which stays good. Throws `loginRefused` for a wrong code
 * or an unknown user, `notAuthentic` when the server gave what the code did not wrap.
 */
export async function recoverAccount(options: RecoverOptions): Promise<SetPasswordResponse> {
  const { cluster, user, code, log } = options
  return withMetadata(cluster, log, async (peer) => {
    const challenge = await peer.call(methods.challenge, { device: 0 })
    const message = recoveryProof(challenge.cluster, challenge.nonce, user)
    const account = await peer.call(methods.recover, { user, signature: code.sign(message) })
    return setPassword(peer, options, code.unwrapMasterKey(user, account.wrappedMasterKey))
  })
}

async function masterByPassword(
  peer: Peer,
  login: { readonly user: string; readonly password: string },
): Promise<Buffer> {
  const { account, exportKey } = await provePassword(peer, login)
  try {
    return unwrapKey(exportKey, byPassword(login.user), account.wrappedMasterKey)
  } finally {
    exportKey.fill(0)
  }
}

/** Erases the master key. */
async function setPassword(
  peer: Peer,
  { user, keepDevice, revokeDevices, force, ...given }: NewPassword & { readonly user: string },
  masterKey: Buffer,
): Promise<SetPasswordResponse> {
  try {
    const { record, exportKey } = await newPassword(given.newPassword, async (opaqueRequest) => {
      return (await peer.call(methods.passwordStart, { opaqueRequest })).opaqueResponse
    })
    const wrappedMasterKey = wrapKey(exportKey, byPassword(user), masterKey)
    exportKey.fill(0)
    const request = { opaqueRecord: record, wrappedMasterKey, keepDevice, revokeDevices, force }
    return await peer.call(methods.setPassword, request).catch(whichPassword)
  } finally {
    masterKey.fill(0)
  }
}

function whichPassword(error: unknown): never {
  const lost =
    error instanceof DfsError &&
    (error.code === 'connectionLost' || error.code === 'deadlineExceeded')
  if (!lost) throw error
  const detail = `no answer to the change of the password: try the new one, then the old one (${error.message})`
  throw new DfsError(error.code, detail, { cause: error })
}
