/**
 * A client's profile, DIR/profile.json: which cluster, which user, and this device's keys.
 *
 * Whoever reads it can open the store as this device, without a password; so it is written with mode
 * 0600, and one that others could read is refused. It is replaced atomically.
 */
import { open, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { CLUSTER_ID_BYTES } from '../../schema/wire/session-proof.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { KEY_BYTES } from '../crypto/key-wrap.ts'
import { syncFolder, writeDurably } from './durable-file.ts'

const VERSION = 1
const FILE = 'profile.json'
/** Bytes; a profile is about 1500. */
const PROFILE_BYTES_MAX = 65_536

export interface Profile {
  readonly version: number
  /** The cluster's id, hex. */
  readonly cluster: string
  /** Addresses of the metadata server and its standby, host:port. */
  readonly addresses: readonly string[]
  /** The highest epoch that a metadata server has told, and its proof in base64; 0 and empty: none yet. */
  readonly epoch?: number
  readonly epochProof?: string
  /** The cluster's CA: no other server is talked to. */
  readonly caPem: string
  readonly user: string
  readonly device: number
  /** Ed25519, PKCS#8 DER, base64. */
  readonly devicePrivateKey: string
  /** 32 bytes that wrap the master key for this device, base64. */
  readonly deviceWrapKey: string
}

/**
 * Reads DIR/profile.json. Throws `notLoggedIn` when there is none, `forbidden` when others may read
 * it, `recordCorrupt` when it is no profile.
 */
export async function readProfile(dir: string): Promise<Profile> {
  const path = join(dir, FILE)
  let found
  try {
    found = await stat(path)
  } catch (cause) {
    if (codeOf(cause) !== 'ENOENT') throw cause
    throw new DfsError('notLoggedIn', `no profile at ${path}: run dfs login first`, { cause })
  }
  if ((found.mode & 0o077) !== 0) {
    const mode = (found.mode & 0o777).toString(8)
    throw new DfsError(
      'forbidden',
      `${path} has mode ${mode}, so that others may read its keys: chmod 600 ${path}`,
    )
  }
  if (found.size > PROFILE_BYTES_MAX) throw corrupt(path, `${found.size} bytes long`)
  return parse(path, await readFile(path, 'utf8'))
}

/** Writes DIR/profile.json; durable when it resolves. Makes DIR with mode 0700 if need be. */
export async function writeProfile(dir: string, profile: Profile): Promise<void> {
  await writeDurably(dir, FILE, `${JSON.stringify(profile, undefined, 2)}\n`)
}

/** Deletes DIR/profile.json, overwriting it first; the folder stays. Nothing is wrong if it is not there. */
export async function eraseProfile(dir: string): Promise<void> {
  const path = join(dir, FILE)
  let file
  try {
    file = await open(path, 'r+')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return
    throw error
  }
  try {
    const { size } = await file.stat()
    await file.write(Buffer.alloc(size), 0, size, 0)
    await file.sync()
  } finally {
    await file.close()
  }
  await rm(path)
  await syncFolder(dir)
}

function parse(path: string, text: string): Profile {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw corrupt(path, 'not JSON', cause)
  }
  if (typeof value !== 'object' || value === null) throw corrupt(path, 'not an object')
  const fields = value as Partial<Record<keyof Profile, unknown>>
  if (fields.version !== VERSION) throw corrupt(path, `of version ${String(fields.version)}`)
  const field = (name: keyof Profile, good: (given: string) => boolean): string => {
    const given = fields[name]
    if (typeof given !== 'string' || !good(given))
      throw corrupt(path, `${name} is missing or wrong`)
    return given
  }
  const { device, addresses, epoch = 0, epochProof = '' } = fields
  if (!Number.isInteger(device) || (device as number) < 1) throw corrupt(path, 'device is wrong')
  if (!isAddressList(addresses)) throw corrupt(path, 'addresses is wrong')
  if (!Number.isSafeInteger(epoch) || typeof epochProof !== 'string') {
    throw corrupt(path, 'epoch is wrong')
  }
  return {
    version: VERSION,
    cluster: field('cluster', (hex) => new RegExp(`^[0-9a-f]{${CLUSTER_ID_BYTES * 2}}$`).test(hex)),
    addresses,
    caPem: field('caPem', (pem) => pem.startsWith('-----BEGIN CERTIFICATE-----')),
    user: field('user', (user) => user.length > 0),
    device: device as number,
    devicePrivateKey: field('devicePrivateKey', (key) => key.length > 0),
    deviceWrapKey: field('deviceWrapKey', (key) => Buffer.from(key, 'base64').length === KEY_BYTES),
    ...(epoch === 0 ? {} : { epoch: epoch as number, epochProof }),
  }
}

function isAddressList(value: unknown): value is string[] {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((address) => typeof address === 'string' && address.includes(':'))
  )
}

function corrupt(path: string, why: string, cause?: unknown): DfsError {
  const detail = `${path} is not a profile (${why}): remove it and run dfs login`
  return new DfsError('recordCorrupt', detail, { cause })
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
