/**
 * Who this chunkserver is: its id, certificate and key, and the cluster it belongs to, in
 * DIR/identity; and how it gets them, by a one-time token.
 */
import { existsSync } from 'node:fs'
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { methods } from '../../schema/methods.ts'
import type { Peer, PeerOptions } from '../../schema/quic/api.ts'
import type { Log, TlsIdentity } from '../../schema/rpc/api.ts'
import { parseCredential } from '../../schema/wire/credential.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { createKeyPair, createRequest } from '../identity/certificates.ts'
import { diskError, syncDirectory } from './disk.ts'

export interface ServerIdentity extends TlsIdentity {
  readonly caPem: string
  /** This server's id in the cluster. */
  readonly server: number
  /** Id of the cluster, hexadecimal. */
  readonly cluster: string
}

const FILES = {
  certificate: 'certificate.pem',
  key: 'private-key.pem',
  ca: 'ca.pem',
  /** Written last: with it the identity is complete. */
  server: 'server.json',
} as const

const FORMAT_VERSION = 1

/** The identity in a chunkserver's directory, undefined when it has none yet. */
export async function loadIdentity(directory: string): Promise<ServerIdentity | undefined> {
  const folder = join(directory, 'identity')
  if (!existsSync(join(folder, FILES.server))) return undefined
  const read = async (name: string): Promise<string> => {
    try {
      return await readFile(join(folder, name), 'utf8')
    } catch (error) {
      throw diskError('read', join(folder, name), error)
    }
  }
  const { server, cluster } = parseServer(await read(FILES.server), join(folder, FILES.server))
  return {
    server,
    cluster,
    certificatePem: await read(FILES.certificate),
    privateKeyPem: await read(FILES.key),
    caPem: await read(FILES.ca),
  }
}

export interface JoinOptions {
  readonly directory: string
  /** The text that `dfs-metadata join-token` prints. */
  readonly token: string
  /** host:port of the metadata server; empty: those in the token. */
  readonly metadata: readonly string[]
  readonly rack: string
  readonly dialer: { peer(options: PeerOptions): Peer }
  readonly log: Log
}

/**
 * Buys a certificate with a one-time token and keeps it. Throws `tokenInvalid` for a text that is no
 * token and for one that is used up or expired.
 */
export async function joinCluster(options: JoinOptions): Promise<ServerIdentity> {
  const { token, metadata, rack, dialer, log } = options
  const credential = parseCredential(token, 'join')
  const keys = await createKeyPair()
  const request = await createRequest(keys, 'chunkserver.dfs')
  const peer = dialer.peer({
    addresses: metadata.length > 0 ? metadata : credential.addresses,
    serverName: 'metadata.dfs',
    caPem: credential.caPem,
    log,
  })
  try {
    const answer = await peer.call(methods.join, {
      token: credential.secret,
      certificateRequest: derOf(request),
      rack,
    })
    const identity: ServerIdentity = {
      server: answer.server,
      cluster: Buffer.from(answer.cluster).toString('hex'),
      certificatePem: answer.certificatePem,
      privateKeyPem: keys.privateKeyPem,
      caPem: credential.caPem,
    }
    await saveIdentity(options.directory, identity)
    log.info({ server: identity.server, cluster: identity.cluster, rack }, 'joined the cluster')
    return identity
  } finally {
    await peer.close()
  }
}

/** Keeps an identity durably; readable by its owner only. */
async function saveIdentity(directory: string, identity: ServerIdentity): Promise<void> {
  const folder = join(directory, 'identity')
  const { server, cluster } = identity
  const json = `${JSON.stringify({ version: FORMAT_VERSION, server, cluster }, undefined, 2)}\n`
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await writeDurably(folder, FILES.key, identity.privateKeyPem)
    await writeDurably(folder, FILES.certificate, identity.certificatePem)
    await writeDurably(folder, FILES.ca, identity.caPem)
    await writeDurably(folder, FILES.server, json)
    await syncDirectory(directory)
  } catch (error) {
    throw diskError('write', folder, error)
  }
}

async function writeDurably(folder: string, name: string, text: string): Promise<void> {
  const path = join(folder, name)
  const handle = await open(`${path}.new`, 'w', 0o600)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(`${path}.new`, path)
  await syncDirectory(folder)
}

function parseServer(text: string, path: string): { server: number; cluster: string } {
  const refuse = (why: string): DfsError =>
    new DfsError(
      'recordCorrupt',
      `${path} ${why}; restore it, or remove the folder and join again with a new token`,
    )
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new DfsError('recordCorrupt', refuse('is not JSON').message, { cause: error })
  }
  if (typeof value !== 'object' || value === null) throw refuse('holds no object')
  const { version, server, cluster } = value as Record<string, unknown>
  if (version !== FORMAT_VERSION) throw refuse(`has format ${String(version)}`)
  if (!Number.isSafeInteger(server) || (server as number) < 1) throw refuse('names no server')
  if (typeof cluster !== 'string') throw refuse('names no cluster')
  return { server: server as number, cluster }
}

function derOf(pem: string): Uint8Array {
  return Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
}
