/**
 * `dfs up`: a whole cluster on this machine, every part a process of its own.
 *
 * Starts what is not running and leaves alone what is, so that it also brings back a daemon that was
 * killed. A second start finds the same cluster, account and files.
 */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { methods } from '../../schema/methods.ts'
import type { Log } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { initCluster } from '../../server/metadata/cluster-files.ts'
import { registerAccount } from '../../mount/client/account.ts'
import { openClient } from '../../mount/client/open.ts'
import { readProfile, writeProfile } from '../../mount/client/profile.ts'
import { RecoveryCode } from '../../mount/crypto/recovery-code.ts'
import { invite, makeJoinToken } from '../metadata/operator.ts'
import { Daemon } from './daemon.ts'
import { forceUnmount, isMounted } from './mount-point.ts'
import { chunkserverName, clusterPaths, readState, writeState } from './state.ts'
import type { ClusterPaths, ClusterState } from './state.ts'

/** How long all chunkservers may take until the metadata server counts them as alive. */
const SERVERS_ALIVE_MS = 30_000
/** How long an invitation or a token is good for that is used at once. */
const TOKEN_SECONDS = 3_600
const USER = 'me'

export interface UpOptions {
  readonly dir: string
  readonly mount: string | undefined
  readonly chunkservers: number | undefined
  readonly racks: number | undefined
  readonly replicas: number | undefined
  readonly log: Log
  /** Told about each step. */
  readonly say: (text: string) => void
}

export interface RunningCluster {
  readonly paths: ClusterPaths
  readonly state: ClusterState
  readonly daemons: readonly Daemon[]
}

/** Brings the cluster up; resolves when the mount answers. Throws DfsError saying what did not. */
export async function up(options: UpOptions): Promise<RunningCluster> {
  const paths = clusterPaths(options.dir)
  const state = settle(options)
  mkdirSync(paths.dir, { recursive: true, mode: 0o700 })
  writeState(paths.dir, state)
  const { say } = options

  const metadata = new Daemon(paths, 'metadata')
  const address = await startMetadata(metadata, paths, state, say)
  await ensureAccount(paths, state, address, say)
  const servers: Daemon[] = []
  for (let index = 1; index <= state.chunkservers; index++) {
    servers.push(await startChunkserver(index, paths, state, address, say))
  }
  await Promise.all(servers.map(async (server) => remember(server, paths, state)))
  await waitForServers(paths, state, options.log)
  const mount = await startMount(paths, state, say)
  return { paths, state, daemons: [metadata, ...servers, mount] }
}

/** What was asked for now, else at the first `up`, else the defaults. */
function settle(options: UpOptions): ClusterState {
  const { dir } = options
  const old = readState(dir)
  if (old === undefined) {
    const chunkservers = options.chunkservers ?? 3
    const state = {
      version: 1,
      chunkservers,
      racks: options.racks ?? Math.min(2, chunkservers),
      replicas: options.replicas ?? Math.min(2, chunkservers),
      user: USER,
      mount: options.mount ?? join(process.cwd(), 'mnt'),
      ports: {},
    }
    if (state.replicas > state.chunkservers) {
      throw new DfsError(
        'invalidArgument',
        `${state.replicas} replicas need as many chunkservers; there are ${state.chunkservers}`,
      )
    }
    return state
  }
  if (options.replicas !== undefined && options.replicas !== old.replicas) {
    throw new DfsError('invalidArgument', `${dir} was made with --replicas ${old.replicas}`)
  }
  if (options.chunkservers !== undefined && options.chunkservers < old.chunkservers) {
    throw new DfsError(
      'invalidArgument',
      `${dir} has ${old.chunkservers} chunkservers, which may hold the only copy of something`,
    )
  }
  const mount = options.mount ?? old.mount
  if (mount !== old.mount && isMounted(old.mount)) {
    throw new DfsError('exists', `${dir} is mounted at ${old.mount}: dfs down first`)
  }
  return {
    ...old,
    chunkservers: options.chunkservers ?? old.chunkservers,
    racks: options.racks ?? old.racks,
    mount,
  }
}

async function startMetadata(
  daemon: Daemon,
  paths: ClusterPaths,
  state: ClusterState,
  say: (text: string) => void,
): Promise<string> {
  if (!existsSync(join(paths.metadata, 'cluster.json'))) {
    say('making a new cluster')
    await initCluster({ dir: paths.metadata, replicas: state.replicas })
  }
  if (daemon.pid !== undefined) return daemon.listening()
  say('starting the metadata server')
  await startOnPort(daemon, state, (listen) =>
    daemon.start('dfs-metadata', ['serve', '--dir', paths.metadata, '--listen', listen]),
  )
  return remember(daemon, paths, state)
}

async function startChunkserver(
  index: number,
  paths: ClusterPaths,
  state: ClusterState,
  address: string,
  say: (text: string) => void,
): Promise<Daemon> {
  const name = chunkserverName(index)
  const daemon = new Daemon(paths, name)
  if (daemon.pid !== undefined) return daemon
  const dir = paths.chunkserver(index)
  const rack = `rack-${((index - 1) % state.racks) + 1}`
  say(`starting ${name} in ${rack}`)
  const args = ['serve', '--dir', dir, '--metadata', address, '--rack', rack]
  if (!existsSync(join(dir, 'identity'))) {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    const token = join(dir, 'join-token')
    const request = { validSeconds: TOKEN_SECONDS, standby: false }
    const text = await makeJoinToken(paths.metadata, request)
    writeFileSync(token, text, { mode: 0o600 })
    args.push('--token-file', token)
  }
  await startOnPort(daemon, state, (listen) =>
    daemon.start('dfs-chunkserver', [...args, '--listen', listen]),
  )
  return daemon
}

/** Starts a daemon on the port it had last, on any other when that one is taken. */
async function startOnPort(
  daemon: Daemon,
  state: ClusterState,
  start: (listen: string) => void,
): Promise<void> {
  const port = state.ports[daemon.name]
  if (port !== undefined) {
    start(`127.0.0.1:${port}`)
    try {
      await daemon.listening()
      return
    } catch (error) {
      const taken = /EADDRINUSE|in use/.test(readFileSync(daemon.logFile, 'utf8'))
      if (!taken) throw error
    }
  }
  start('127.0.0.1:0')
}

async function remember(daemon: Daemon, paths: ClusterPaths, state: ClusterState): Promise<string> {
  const address = await daemon.listening()
  state.ports[daemon.name] = Number(address.slice(address.lastIndexOf(':') + 1))
  writeState(paths.dir, state)
  return address
}

/** Makes the account at the first start; later, tells the profile where the metadata server is. */
async function ensureAccount(
  paths: ClusterPaths,
  state: ClusterState,
  address: string,
  say: (text: string) => void,
): Promise<void> {
  if (existsSync(join(paths.profile, 'profile.json'))) {
    const profile = await readProfile(paths.profile)
    if (profile.addresses.length !== 1 || profile.addresses[0] !== address) {
      await writeProfile(paths.profile, { ...profile, addresses: [address] })
    }
    return
  }
  say(`registering the user ${state.user}`)
  const request = { user: state.user, quotaBytes: 0, validSeconds: TOKEN_SECONDS }
  const invitation = await invite(paths.metadata, request)
  const password = randomBytes(12).toString('base64url')
  writeFileSync(paths.password, `${password}\n`, { mode: 0o600 })
  const recovery = RecoveryCode.generate()
  writeFileSync(paths.recoveryCode, `${recovery.toText()}\n`, { mode: 0o600 })
  const profile = await registerAccount({
    invitation,
    user: state.user,
    password,
    deviceName: hostname(),
    recovery,
  })
  await writeProfile(paths.profile, profile)
}

async function waitForServers(paths: ClusterPaths, state: ClusterState, log: Log): Promise<void> {
  const client = await openClient({ profile: await readProfile(paths.profile), log })
  try {
    const end = Date.now() + SERVERS_ALIVE_MS
    for (;;) {
      const { servers } = await client.session.read(methods.clusterStatus, {})
      const alive = servers.filter(({ state: is }) => is !== 'silent' && is !== 'lost').length
      if (alive >= state.chunkservers) return
      if (Date.now() > end) {
        throw new DfsError(
          'tooFewServers',
          `only ${alive} of ${state.chunkservers} chunkservers came up; see ${paths.logs}`,
        )
      }
      await sleep(100)
    }
  } finally {
    await client.close()
  }
}

async function startMount(
  paths: ClusterPaths,
  state: ClusterState,
  say: (text: string) => void,
): Promise<Daemon> {
  const daemon = new Daemon(paths, 'mount')
  if (daemon.pid !== undefined && isMounted(state.mount)) return daemon
  say(`mounting ${state.mount}`)
  if (isMounted(state.mount) && !forceUnmount(state.mount)) {
    throw new DfsError('exists', `${state.mount} holds a dead mount that cannot be removed`)
  }
  mkdirSync(state.mount, { recursive: true })
  daemon.start('dfs-mount', [state.mount, '--profile', paths.profile, '--foreground'])
  await daemon.ready(() => (isMounted(state.mount) ? true : undefined))
  return daemon
}
