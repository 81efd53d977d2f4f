/**
 * What a standby adds to the directory of a metadata server: how a machine becomes one, and how a
 * copied store takes the place of the one before, at once and also over a kill.
 */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises'
import { methods } from '../../../schema/methods.ts'
import type { Peer, PeerOptions } from '../../../schema/quic/api.ts'
import type { Log } from '../../../schema/rpc/api.ts'
import { parseCredential } from '../../../schema/wire/credential.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { syncFolder, writeDurably } from '../durable-file.ts'
import { clusterPaths, issue, writeIdentity, writePolicy } from '../cluster-files.ts'
import { ADMIN_NAME, METADATA_NAME, standbyName } from '../peer-names.ts'

const CLAIM_BYTES = 32

export interface JoinOptions {
  readonly dir: string
  /** host:port of the metadata server; empty: those in the token. */
  readonly of: readonly string[]
  /** What `dfs-metadata join-token --standby` prints. */
  readonly token: string
  readonly dialer: { peer(options: PeerOptions): Peer }
  readonly log: Log
}

/**
 * Makes the directory of a standby: the cluster's authority, and certificates that this machine issues
 * to itself. Its certificate also has the metadata server's name, which it may have to stand in for.
 */
export async function joinAsStandby(options: JoinOptions): Promise<void> {
  const { dir, of, token, dialer, log } = options
  const { addresses, caPem, secret } = parseCredential(token, 'join')
  await mkdir(dir, { recursive: true, mode: 0o700 })
  if ((await readdir(dir)).length > 0) {
    throw new DfsError('exists', `${dir} is not empty; a new standby needs an empty directory`)
  }
  const peer = dialer.peer({
    addresses: of.length > 0 ? of : addresses,
    serverName: METADATA_NAME,
    caPem,
    log,
  })
  try {
    const request = { token: secret, claim: randomBytes(CLAIM_BYTES) }
    const answer = await peer.call(methods.joinStandby, request)
    const authority = { certificatePem: caPem, privateKeyPem: answer.authorityKeyPem }
    const paths = clusterPaths(dir)
    const identity = await issue(authority, standbyName(answer.standby), METADATA_NAME)
    await writeIdentity(paths.authority, authority)
    await writeIdentity(paths.identity, identity)
    await writeIdentity(paths.admin, await issue(authority, ADMIN_NAME))
    await writeFollowed(dir, of.length > 0 ? of : addresses)
    const cluster = Buffer.from(answer.cluster).toString('hex')
    const { replicas, writeQuorum } = answer
    await writePolicy(dir, { cluster, replicas, writeQuorum })
    log.info({ standby: answer.standby, cluster }, 'joined the cluster as a standby')
  } finally {
    await peer.close()
  }
}

/** Remembers which metadata server a directory follows. */
export async function writeFollowed(dir: string, addresses: readonly string[]): Promise<void> {
  await writeDurably(clusterPaths(dir).standby, `${JSON.stringify({ of: addresses })}\n`)
}

/** The metadata server that a directory follows, or followed; empty when it never did. */
export async function readFollowed(dir: string): Promise<string[]> {
  const { standby } = clusterPaths(dir)
  if (!existsSync(standby)) return []
  const { of } = JSON.parse(await readFile(standby, 'utf8')) as { of?: unknown }
  return Array.isArray(of) ? of.filter((address) => typeof address === 'string') : []
}

/** Ends what a kill left of a copy: a complete one takes its place, a part of one goes. */
export async function finishCopy(dir: string): Promise<void> {
  const { store, copying, ready, replaced } = clusterPaths(dir)
  await rm(copying, { recursive: true, force: true })
  if (existsSync(ready)) {
    await rm(replaced, { recursive: true, force: true })
    if (existsSync(store)) await rename(store, replaced)
    await rename(ready, store)
    await syncFolder(dir)
  }
  await rm(replaced, { recursive: true, force: true })
}

/** The copy in DIR/db.new is complete and closed; both stores are. */
export async function takeCopy(dir: string): Promise<void> {
  const { copying, ready } = clusterPaths(dir)
  await rename(copying, ready)
  await syncFolder(dir)
  await finishCopy(dir)
}
