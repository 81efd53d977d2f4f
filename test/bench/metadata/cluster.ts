/**
 * The cluster that metadata benchmarks work on: a directory of `dfs-metadata` with a user and
 * chunkservers that only say they are there, the server as a process of its own, and what is known of
 * the tree in it.
 *
 * All of it stays in one folder, so that a store that took an hour to build serves many runs.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { registerAccount } from '../../../mount/client/account.ts'
import type { Profile } from '../../../mount/client/profile.ts'
import { methods } from '../../../schema/methods.ts'
import { Dialer } from '../../../schema/quic/dialer.ts'
import type { Peer, PeerOptions } from '../../../schema/quic/api.ts'
import type { Log, TlsIdentity } from '../../../schema/rpc/api.ts'
import { createKeyPair, createRequest } from '../../../server/identity/certificates.ts'
import {
  clusterPaths,
  initCluster,
  readAddresses,
  readIdentity,
} from '../../../server/metadata/cluster-files.ts'
import { METADATA_NAME } from '../../../server/metadata/peer-names.ts'
import type { LoopDelay } from './loop-delay.ts'

/** Files are made in batches of so many; of a tree, each batch is a directory. */
export const BATCH_FILES = 1_000
/** Joined at the same time. */
const JOINS_AT_ONCE = 8

const loopDelayModule = new URL('loop-delay.js', import.meta.url).href
const executable = fileURLToPath(new URL('../../../bin/dfs-metadata.js', import.meta.url))

export const log: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: (fields, message) => console.error(message, fields),
  error: (fields, message) => console.error(message, fields),
}

export type Layout = 'flat' | 'tree'

export interface Chunkserver extends TlsIdentity {
  readonly id: number
  readonly rack: string
}

/** What a run must know of the store that an earlier one built. */
interface State {
  readonly layout: Layout
  readonly replicas: number
  readonly profile: Profile
  /** Of another user, once there is one. */
  neighbour?: Profile
  readonly chunkservers: Chunkserver[]
  /** Of the folder that holds everything; 0 before it is made. */
  folder: number
  files: number
  /** By batch: the inode of its first file, those of the others follow. */
  firstInodes: number[]
  /** By batch: the directory that it is in. */
  parents: number[]
}

export interface RunningServer {
  readonly child: ChildProcess
  readonly pid: number
  /** Milliseconds from the start of the process to its word that it listens. */
  readonly readyMs: number
  kill(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>
  /** For how long its event loop was blocked, since this was asked last. */
  loopDelay(): Promise<LoopDelay>
}

export class BenchCluster {
  readonly folder: string
  readonly dir: string
  readonly state: State

  private constructor(folder: string, state: State) {
    this.folder = folder
    this.dir = join(folder, 'metadata')
    this.state = state
  }

  /** Opens what an earlier run made in `folder`, or makes it. */
  static async open(
    folder: string,
    wanted: { layout: Layout; replicas: number; servers: number },
  ): Promise<BenchCluster> {
    const path = join(folder, 'state.json')
    if (existsSync(path)) {
      return new BenchCluster(folder, JSON.parse(readFileSync(path, 'utf8')) as State)
    }
    const dir = join(folder, 'metadata')
    await initCluster({ dir, replicas: wanted.replicas, writeQuorum: Math.min(2, wanted.replicas) })
    const server = await serve(dir, 'warn')
    const dialer = new Dialer({ log })
    try {
      const profile = await register(dir, 'ann')
      const chunkservers = await joinAll(dir, dialer, wanted.servers)
      const { layout, replicas } = wanted
      const tree = { folder: 0, files: 0, firstInodes: [], parents: [] }
      const cluster = new BenchCluster(folder, { layout, replicas, profile, chunkservers, ...tree })
      cluster.save()
      return cluster
    } finally {
      await dialer.close()
      await server.kill('SIGTERM')
    }
  }

  save(): void {
    const path = join(this.folder, 'state.json')
    writeFileSync(`${path}.new`, JSON.stringify(this.state))
    renameSync(`${path}.new`, path)
  }

  serve(logLevel: 'warn' | 'error' = 'warn'): Promise<RunningServer> {
    return serve(this.dir, logLevel)
  }

  /** The profile, with the address that the server has now. */
  async profile(): Promise<Profile> {
    return { ...this.state.profile, addresses: await readAddresses(this.dir) }
  }

  /** The file with the profile of another user; the server must run. */
  async neighbour(): Promise<string> {
    this.state.neighbour ??= await register(this.dir, 'bob')
    this.save()
    const path = join(this.folder, 'neighbour.json')
    const addresses = await readAddresses(this.dir)
    writeFileSync(path, JSON.stringify({ ...this.state.neighbour, addresses }))
    return path
  }

  /** How a chunkserver dials the metadata server. */
  async dialling(identity?: TlsIdentity): Promise<PeerOptions> {
    return dialling(this.dir, identity)
  }

  /** The operator's connection. */
  async operator(dialer: Dialer): Promise<Peer> {
    return dialer.peer(await dialling(this.dir, await readIdentity(clusterPaths(this.dir).admin)))
  }

  inodeOf(file: number): number {
    const batch = Math.floor(file / BATCH_FILES)
    return (this.state.firstInodes[batch] ?? 0) + (file % BATCH_FILES)
  }

  parentOf(file: number): number {
    return this.state.parents[Math.floor(file / BATCH_FILES)] ?? 0
  }
}

async function dialling(dir: string, identity?: TlsIdentity): Promise<PeerOptions> {
  const { certificatePem: caPem } = await readIdentity(clusterPaths(dir).authority)
  const addresses = await readAddresses(dir)
  const more = identity === undefined ? {} : { identity }
  return { addresses, serverName: METADATA_NAME, caPem, log, ...more }
}

/** A new user, of a running server. */
function register(dir: string, user: string): Promise<Profile> {
  const invitation = command(dir, 'user', 'add', user)
  return registerAccount({ invitation, user, password: 'a password', deviceName: 'bench' })
}

function command(dir: string, ...args: string[]): string {
  const all = [executable, ...args, '--dir', dir]
  const { status, stdout, stderr } = spawnSync(process.execPath, all, { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
  return stdout.trim()
}

async function serve(dir: string, logLevel: 'warn' | 'error'): Promise<RunningServer> {
  const figures = join(dir, '..', 'loop.json')
  const startedMs = performance.now()
  const serving = [executable, 'serve', '--dir', dir, '--listen', '127.0.0.1:0']
  const child = spawn(
    process.execPath,
    ['--import', loopDelayModule, ...serving, '--log-level', logLevel],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, DFS_BENCH_LOOP: figures },
    },
  )
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve())
    child.once('exit', () => reject(new Error('dfs-metadata ended')))
  })
  return {
    child,
    pid: child.pid ?? 0,
    readyMs: performance.now() - startedMs,
    async kill(signal) {
      child.kill(signal)
      await ended
    },
    async loopDelay() {
      rmSync(figures, { force: true })
      child.kill('SIGUSR2')
      while (!existsSync(figures)) await sleep(2)
      return JSON.parse(readFileSync(figures, 'utf8')) as LoopDelay
    },
  }
}

/** The id of a chunkserver's store. */
export const storeOf = (server: number): Uint8Array => Buffer.from(`store ${server}`)

/** Joins chunkservers, in ten racks. */
async function joinAll(dir: string, dialer: Dialer, count: number): Promise<Chunkserver[]> {
  const options = await dialling(dir)
  const admin = dialer.peer({ ...options, identity: await readIdentity(clusterPaths(dir).admin) })
  const joined: Chunkserver[] = []
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) {
      const rack = `rack-${next++ % 10}`
      const { secret } = await admin.call(methods.createJoinToken, {
        validSeconds: 600,
        standby: false,
      })
      const { privateKeyPem, publicKeyPem } = await createKeyPair()
      const pem = await createRequest({ privateKeyPem, publicKeyPem }, 'chunkserver.dfs')
      const certificateRequest = Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/gu, ''), 'base64')
      const request = { token: secret, certificateRequest, rack }
      const { server, certificatePem } = await admin.call(methods.join, request)
      joined.push({ id: server, rack, certificatePem, privateKeyPem })
    }
  }
  await Promise.all(Array.from({ length: Math.min(JOINS_AT_ONCE, count) }, worker))
  await admin.close()
  return joined.sort((a, b) => a.id - b.id)
}
