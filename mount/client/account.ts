/**
 * Accounts: registering with an invitation and logging in with a password, each of which makes this
 * machine a device of the user and yields the profile that opens sessions from then on.
 *
 * The password never leaves this process (password-proof.ts); it yields the export key, from which the
 * master key is unwrapped.
 */
import { methods } from '../../schema/methods.ts'
import type { Peer } from '../../schema/quic/api.ts'
import type { Log } from '../../schema/rpc/api.ts'
import type { RegisterFinishRequest } from '../../schema/generated/metadata.ts'
import { manifestDigest, NO_XATTRS } from '../../schema/wire/content.ts'
import { parseCredential } from '../../schema/wire/credential.ts'
import { CLUSTER_ID_BYTES } from '../../schema/wire/session-proof.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { InodeKey } from '../crypto/inode-key.ts'
import { generateKey, unwrapKey, wrapKey } from '../crypto/key-wrap.ts'
import type { WrapContext } from '../crypto/key-wrap.ts'
import type { RecoveryCode } from '../crypto/recovery-code.ts'
import { withMetadata, type ClusterTrust } from './account-connection.ts'
import { Device } from './device.ts'
import { byPassword, newPassword, provePassword } from './password-proof.ts'
import type { Profile } from './profile.ts'

const KIND_DIRECTORY = 2
const ROOT_MODE = 0o700
const NO_BYTES = new Uint8Array(0)

export interface RegisterOptions {
  /** The text that `dfs-metadata user add` printed. */
  readonly invitation: string
  readonly user: string
  readonly password: string
  /** What this machine is called in the list of devices. */
  readonly deviceName: string
  /** A new code that restores access without the password; without it there is none. */
  readonly recovery?: RecoveryCode
  /** Who owns the root directory in its attributes; this process's user and group by default. */
  readonly owner?: { readonly uid: number; readonly gid: number }
  readonly log?: Log
}

/**
 * Redeems an invitation: sets the password, makes the user's keys and root directory, and logs in.
 * Throws `tokenInvalid` for a used, expired or foreign invitation, `serverUntrusted` when the server
 * is not of the invitation's cluster.
 */
export async function registerAccount(options: RegisterOptions): Promise<Profile> {
  const { addresses, secret, caPem } = parseCredential(options.invitation, 'invitation')
  return withMetadata({ addresses, caPem }, options.log, async (peer) => {
    await register(peer, secret, options)
    try {
      return await loginOn(peer, { ...options, cluster: { addresses, caPem } })
    } catch (error) {
      throw explained(error, `${options.user} is registered, but the login failed: run dfs login`)
    }
  })
}

/** The same failure, with what it means for the caller in front. */
function explained(error: unknown, meaning: string): unknown {
  if (!(error instanceof DfsError)) return error
  return new DfsError(error.code, `${meaning} (${error.message})`, { cause: error })
}

export interface LoginOptions {
  readonly cluster: ClusterTrust
  readonly user: string
  readonly password: string
  readonly deviceName: string
  readonly log?: Log
}

/**
 * Logs in with the password and makes this machine a device of the user. Throws `loginRefused` for
 * a wrong password or an unknown user, `serverUntrusted` when the server is not of this cluster.
 */
export async function loginAccount(options: LoginOptions): Promise<Profile> {
  return withMetadata(options.cluster, options.log, async (peer) => loginOn(peer, options))
}

/** The cluster that a text printed by `dfs-metadata card` names. Throws `tokenInvalid`. */
export function clusterFromCard(card: string): ClusterTrust {
  const { addresses, caPem } = parseCredential(card, 'cluster')
  return { addresses, caPem }
}

async function register(
  peer: Peer,
  invitation: Uint8Array,
  options: RegisterOptions,
): Promise<void> {
  const { user, recovery } = options
  const { record, exportKey } = await newPassword(options.password, async (opaqueRequest) => {
    const request = { invitation, user, opaqueRequest }
    return (await peer.call(methods.registerStart, request)).opaqueResponse
  })
  const masterKey = generateKey()
  const rootKey = InodeKey.generate()
  try {
    await finishRegistration(peer, {
      invitation,
      user,
      opaqueRecord: record,
      wrappedMasterKey: wrapKey(exportKey, byPassword(user), masterKey),
      wrappedRootKey: wrapKey(masterKey, rootOf(user), rootKey.secret),
      root: rootKey.sealAttributes({
        kind: KIND_DIRECTORY,
        mode: ROOT_MODE,
        uid: options.owner?.uid ?? process.getuid?.() ?? 0,
        gid: options.owner?.gid ?? process.getgid?.() ?? 0,
        rdev: 0,
        size: 0,
        mtime: BigInt(Date.now()) * 1_000_000n,
        version: 1,
        contentDigest: manifestDigest(new Uint8Array()),
        xattrDigest: NO_XATTRS,
      }),
      recoveryKey: recovery?.publicKey ?? NO_BYTES,
      recoveryMasterKey: recovery?.wrapMasterKey(user, masterKey) ?? NO_BYTES,
    })
  } finally {
    exportKey.fill(0)
    masterKey.fill(0)
    rootKey.erase()
  }
}

async function finishRegistration(peer: Peer, request: RegisterFinishRequest): Promise<void> {
  try {
    await peer.call(methods.registerFinish, request)
  } catch (error) {
    const lost = error instanceof DfsError && error.code === 'connectionLost'
    if (!lost) throw error
    throw explained(error, 'it is not known whether the registration took effect: try dfs login')
  }
}

async function loginOn(peer: Peer, options: LoginOptions): Promise<Profile> {
  const { account, exportKey } = await provePassword(peer, options)
  const { user, cluster } = options
  const device = Device.generate()
  let masterKey: Buffer | undefined
  try {
    masterKey = unwrapKey(exportKey, byPassword(user), account.wrappedMasterKey)
    const { device: id } = await peer.call(methods.addDevice, {
      name: options.deviceName,
      publicKey: device.publicKey,
      wrappedMasterKey: device.wrapMasterKey(user, masterKey),
    })
    const challenge = await peer.call(methods.challenge, { device: id })
    if (challenge.cluster.length !== CLUSTER_ID_BYTES) {
      throw new DfsError('frameMalformed', 'the metadata server names no cluster')
    }
    return {
      version: 1,
      cluster: Buffer.from(challenge.cluster).toString('hex'),
      addresses: [...cluster.addresses],
      caPem: cluster.caPem,
      user,
      device: id,
      ...device.toProfile(),
    }
  } finally {
    exportKey.fill(0)
    masterKey?.fill(0)
  }
}

const rootOf = (user: string): WrapContext => ({ purpose: 'root by master', owner: user })

/** The secret of the user's root directory, out of what the server keeps. Throws `notAuthentic`. */
export function unwrapRootKey(user: string, masterKey: Uint8Array, wrapped: Uint8Array): InodeKey {
  const secret = unwrapKey(masterKey, rootOf(user), wrapped)
  const key = new InodeKey(secret)
  secret.fill(0)
  return key
}
