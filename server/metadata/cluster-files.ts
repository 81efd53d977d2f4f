/**
 * The directory of a metadata server: what `init` makes, `serve` reads and the operator's commands
 * use.
 *
 *   ca/certificate.pem, private-key.pem        the cluster's authority
 *   identity/certificate.pem, private-key.pem  the metadata server
 *   admin/certificate.pem, private-key.pem     the operator
 *   cluster.json                               the cluster's id and policy; written last by init
 *   address                                    host:port a line, best first, written by serve
 *   standby.json                               of a standby: where its metadata server is
 *   db.new/, db.ready/, db.old/                a copy under way, complete, and what it replaces
 *   db/                                        the store
 */
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DfsError } from '../../schema/wire/status.ts'
import { limits } from '../../schema/wire/limits.ts'
import { CLUSTER_ID_BYTES } from '../../schema/wire/session-proof.ts'
import type { TlsIdentity } from '../../schema/rpc/api.ts'
import {
  createAuthority,
  createKeyPair,
  issueCertificate,
  type Authority,
} from '../identity/certificates.ts'
import { writeDurably } from './durable-file.ts'
import { refuse } from './input.ts'
import { ADMIN_NAME, METADATA_NAME } from './peer-names.ts'
import type { ClusterPolicy } from './services.ts'

/** Days that the server's and the operator's certificates are good for. */
const CERTIFICATE_DAYS = 3_650

/** Paths inside the directory. */
export const clusterPaths = (dir: string) =>
  ({
    authority: join(dir, 'ca'),
    identity: join(dir, 'identity'),
    admin: join(dir, 'admin'),
    cluster: join(dir, 'cluster.json'),
    address: join(dir, 'address'),
    store: join(dir, 'db'),
    standby: join(dir, 'standby.json'),
    copying: join(dir, 'db.new'),
    ready: join(dir, 'db.ready'),
    replaced: join(dir, 'db.old'),
  }) as const

export interface InitOptions {
  readonly dir: string
  readonly replicas: number
  /** 2 without it, or 1 with one replica. */
  readonly writeQuorum?: number | undefined
}

/** Makes a new cluster in an empty or new directory. Throws `exists` when it is not empty. */
export async function initCluster({
  dir,
  replicas,
  writeQuorum = Math.min(2, replicas),
}: InitOptions): Promise<void> {
  if (!Number.isInteger(replicas) || replicas < 1 || replicas > limits.replicasMax) {
    refuse(`${replicas} replicas; 1 to ${limits.replicasMax}`)
  }
  if (!Number.isInteger(writeQuorum) || writeQuorum < 1 || writeQuorum > replicas) {
    refuse(`a write quorum of ${writeQuorum}; 1 to the number of replicas, ${replicas}`)
  }
  await mkdir(dir, { recursive: true, mode: 0o700 })
  if ((await readdir(dir)).length > 0) {
    throw new DfsError('exists', `${dir} is not empty; a new cluster needs an empty directory`)
  }
  const paths = clusterPaths(dir)
  const authority = await createAuthority()
  await writeIdentity(paths.authority, authority)
  await writeIdentity(paths.identity, await issue(authority, METADATA_NAME))
  await writeIdentity(paths.admin, await issue(authority, ADMIN_NAME))
  const cluster = randomBytes(CLUSTER_ID_BYTES).toString('hex')
  await writePolicy(dir, { cluster, replicas, writeQuorum })
}

/** Written last: with it the directory is a cluster's. */
export async function writePolicy(
  dir: string,
  policy: { readonly cluster: string; readonly replicas: number; readonly writeQuorum: number },
): Promise<void> {
  await writeDurably(clusterPaths(dir).cluster, `${JSON.stringify(policy)}\n`)
}

/** A new key and a certificate for it; the first name is who its owner is. */
export async function issue(authority: Authority, ...names: string[]): Promise<TlsIdentity> {
  const { privateKeyPem, publicKeyPem } = await createKeyPair()
  const certificatePem = await issueCertificate(authority, {
    names,
    publicKeyPem,
    days: CERTIFICATE_DAYS,
  })
  return { certificatePem, privateKeyPem }
}

/** The cluster's id and policy. Throws `notFound` when the directory holds no cluster. */
export async function readPolicy(dir: string): Promise<ClusterPolicy> {
  const { cluster: path } = clusterPaths(dir)
  const text = await readText(path, `${dir} holds no cluster; make one with dfs-metadata init`)
  const { cluster, replicas, writeQuorum } = parsed(text)
  if (
    typeof cluster !== 'string' ||
    typeof replicas !== 'number' ||
    typeof writeQuorum !== 'number' ||
    Buffer.from(cluster, 'hex').length !== CLUSTER_ID_BYTES
  ) {
    throw new DfsError('recordCorrupt', `${path} is damaged; restore it from a backup`)
  }
  return { cluster: Buffer.from(cluster, 'hex'), replicas, writeQuorum }
}

/** An object without fields for what is no JSON. */
function parsed(text: string): Record<string, unknown> {
  try {
    return { ...(JSON.parse(text) as Record<string, unknown>) }
  } catch (error) {
    if (error instanceof SyntaxError) return {}
    throw error
  }
}

/** A certificate and its key from one of the directories of {@link clusterPaths}. */
export async function readIdentity(directory: string): Promise<TlsIdentity> {
  const missing = `${directory} is not complete; restore it from a backup`
  return {
    certificatePem: await readText(join(directory, 'certificate.pem'), missing),
    privateKeyPem: await readText(join(directory, 'private-key.pem'), missing),
  }
}

/** Where the running server is reached. Throws `notFound` when none ever ran. */
export async function readAddresses(dir: string): Promise<string[]> {
  const text = await readText(
    clusterPaths(dir).address,
    `no metadata server has run on ${dir}; start it with dfs-metadata serve`,
  )
  return text.trim().split('\n')
}

export async function writeAddresses(dir: string, addresses: readonly string[]): Promise<void> {
  await writeDurably(clusterPaths(dir).address, `${addresses.join('\n')}\n`)
}

/** Files that make a directory this cluster's, beside its store; the last one says that it is whole. */
const CLUSTER_FILES = [
  'ca/certificate.pem',
  'ca/private-key.pem',
  'identity/certificate.pem',
  'identity/private-key.pem',
  'admin/certificate.pem',
  'admin/private-key.pem',
  'cluster.json',
] as const

/** All that a backup keeps beside the store: content by path. Secret. Throws `notFound`. */
export async function readClusterFiles(dir: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {}
  for (const path of CLUSTER_FILES) {
    files[path] = await readText(join(dir, path), `${dir} is not complete: there is no ${path}`)
  }
  return files
}

/** Writes them into a new directory. Throws `recordCorrupt` when one is missing; others are not written. */
export async function writeClusterFiles(
  dir: string,
  files: Readonly<Record<string, unknown>>,
): Promise<void> {
  for (const path of CLUSTER_FILES) {
    const text = files[path]
    if (typeof text !== 'string') throw new DfsError('recordCorrupt', `a backup without ${path}`)
    await mkdir(dirname(join(dir, path)), { recursive: true, mode: 0o700 })
    await writeDurably(join(dir, path), text)
  }
}

export async function writeIdentity(directory: string, identity: TlsIdentity): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  await writeDurably(join(directory, 'certificate.pem'), identity.certificatePem)
  await writeDurably(join(directory, 'private-key.pem'), identity.privateKeyPem)
}

async function readText(path: string, missing: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw new DfsError('notFound', missing, { cause: error })
  }
}
