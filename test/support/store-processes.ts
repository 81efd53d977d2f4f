/**
 * A whole store of real processes for a test, on loopback, without a mount: a metadata server,
 * chunkservers in two racks, one user; each can be killed and started again.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { invite, makeJoinToken } from '../../bin/metadata/operator.ts'
import { registerAccount } from '../../mount/client/account.ts'
import { openClient, type Client } from '../../mount/client/open.ts'
import type { Profile } from '../../mount/client/profile.ts'
import type { FileSystem } from '../../mount/vfs/api.ts'
import { openFileSystem, type FileSystemOptions } from '../../mount/vfs/file-system.ts'
import { methods } from '../../schema/methods.ts'
import type { Log } from '../../schema/rpc/api.ts'

const START_MS = 30_000
const COMMAND_MS = 30_000
const POLL_MS = 20
/** Tokens are good for this long. */
const VALID_SECONDS = 3_600

export interface StoreOptions {
  readonly chunkservers?: number
  readonly replicas?: number
  readonly writeQuorum?: number
  /** Further options of `dfs-metadata serve` and of `dfs-chunkserver serve`. */
  readonly metadataOptions?: readonly string[]
  readonly chunkserverOptions?: readonly string[]
}

/** Log lines of a client, for a test to look at. */
export interface LogLine {
  readonly level: keyof Log
  readonly fields: object
  readonly message: string
}

export class LogLines implements Log {
  readonly lines: LogLine[] = []

  debug(): void {
    // Too many to keep, and no test asks for them.
  }
  info(fields: object, message: string): void {
    this.lines.push({ level: 'info', fields, message })
  }
  warn(fields: object, message: string): void {
    this.lines.push({ level: 'warn', fields, message })
  }
  error(fields: object, message: string): void {
    this.lines.push({ level: 'error', fields, message })
  }

  errors(): LogLine[] {
    return this.lines.filter(({ level }) => level === 'error')
  }
}

export interface Mounted {
  readonly fs: FileSystem
  readonly client: Client
  readonly log: LogLines
  /** Closes the file system and its client. */
  close(): Promise<void>
}

/** A daemon that remembers how it was started. */
class Daemon {
  readonly #script: string
  readonly #args: readonly string[]
  #child: ChildProcess | undefined
  #exited: Promise<void> = Promise.resolve()
  #port = '0'
  stderr = ''

  constructor(script: string, args: readonly string[]) {
    this.#script = script
    this.#args = args
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`
  }

  /** Starts it, on the port that it had before if any. */
  async start(): Promise<void> {
    const args = [...this.#args, '--listen', this.address]
    const child = spawn(process.execPath, [executable(this.#script), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    // Also when the test itself ends before its teardown: no daemon outlives it.
    const kill = (): boolean => child.kill('SIGKILL')
    process.once('exit', kill)
    child.once('exit', () => process.off('exit', kill))
    this.#exited = new Promise((resolve) => child.once('exit', () => resolve()))
    let stdout = ''
    child.stdout.on('data', (text: Buffer) => (stdout += text.toString()))
    child.stderr.on('data', (text: Buffer) => {
      this.stderr = (this.stderr + text.toString()).slice(-20_000)
    })
    const end = Date.now() + START_MS
    for (;;) {
      const port = /listening on \S+:(\d+)/.exec(stdout)?.[1]
      if (port !== undefined) {
        this.#port = port
        return
      }
      if (child.exitCode !== null || Date.now() > end) {
        throw new Error(`${this.#script} did not start: ${this.stderr}`)
      }
      await sleep(POLL_MS)
    }
  }

  async stop(signal: NodeJS.Signals): Promise<void> {
    this.#child?.kill(signal)
    await this.#exited
  }
}

export class StoreProcesses {
  metadata: Daemon
  readonly chunkservers: Daemon[] = []
  /** Holds metadata and chunkserver-N, the directories of the daemons. */
  readonly dir: string
  #profile: Profile | undefined

  constructor(dir: string) {
    this.dir = dir
    this.metadata = new Daemon('dfs-metadata', ['serve', '--dir', join(dir, 'metadata')])
  }

  async start(options: StoreOptions): Promise<void> {
    const { chunkservers = 3, replicas = 2, writeQuorum, metadataOptions = [] } = options
    const dir = join(this.dir, 'metadata')
    this.metadata = new Daemon('dfs-metadata', ['serve', '--dir', dir, ...metadataOptions])
    const quorum = writeQuorum === undefined ? [] : ['--write-quorum', String(writeQuorum)]
    command('init', '--dir', dir, '--replicas', String(replicas), ...quorum)
    await this.metadata.start()
    for (let index = 1; index <= chunkservers; index++) {
      const server = join(this.dir, `chunkserver-${index}`)
      const token = join(this.dir, `token-${index}`)
      mkdirSync(server, { recursive: true, mode: 0o700 })
      writeFileSync(
        token,
        await makeJoinToken(dir, { validSeconds: VALID_SECONDS, standby: false }),
        { mode: 0o600 },
      )
      const place = ['--metadata', this.metadata.address, '--rack', `rack-${index % 2}`]
      const daemon = new Daemon('dfs-chunkserver', [
        'serve',
        '--dir',
        server,
        ...place,
        '--token-file',
        token,
        '--reserve',
        '1M',
        ...(options.chunkserverOptions ?? []),
      ])
      this.chunkservers.push(daemon)
    }
    await Promise.all(this.chunkservers.map(async (daemon) => daemon.start()))
    this.#profile = await this.register('tester')
    await this.#chunkserversKnown(chunkservers)
  }

  /** A further user's profile. */
  async register(user: string): Promise<Profile> {
    const invitation = await invite(join(this.dir, 'metadata'), {
      user,
      quotaBytes: 0,
      validSeconds: VALID_SECONDS,
    })
    const account = { user, password: 'a password of the test', deviceName: 'test' }
    return registerAccount({ invitation, ...account })
  }

  async #chunkserversKnown(count: number): Promise<void> {
    const mounted = await this.mount()
    const end = Date.now() + START_MS
    for (;;) {
      const { servers } = await mounted.client.session.read(methods.clusterStatus, {})
      if (servers.filter(({ state }) => state === 'alive').length >= count) break
      if (Date.now() > end) throw new Error('the chunkservers did not register')
      await sleep(POLL_MS)
    }
    await mounted.close()
  }

  /** Where chunkserver `index` (from 0) keeps its chunks. */
  chunkDirectory(index: number): string {
    return join(this.dir, `chunkserver-${index + 1}`, 'chunks')
  }

  /** The user's profile, for clients in other processes. */
  get profile(): Profile {
    if (this.#profile === undefined) throw new Error('the store was not started')
    return this.#profile
  }

  /** A client of its own with the file system over it; of the first user unless told otherwise. */
  async mount(
    options: Partial<FileSystemOptions> = {},
    profile: Profile | undefined = this.#profile,
  ): Promise<Mounted> {
    if (profile === undefined) throw new Error('the store was not started')
    const log = new LogLines()
    const client = await openClient({ profile, log })
    const fs = await openFileSystem({ client, log, ...options })
    const close = async (): Promise<void> => {
      await fs.close()
      await client.close()
    }
    return { fs, client, log, close }
  }

  async stop(): Promise<void> {
    await Promise.all(this.chunkservers.map(async (daemon) => daemon.stop('SIGKILL')))
    await this.metadata.stop('SIGKILL')
  }
}

/** A store that is up, and gone with the test. */
export async function startStore(t: Test, options: StoreOptions = {}): Promise<StoreProcesses> {
  const store = new StoreProcesses(t.testdir())
  t.teardown(async () => store.stop())
  await store.start(options)
  return store
}

function executable(name: string): string {
  return fileURLToPath(new URL(`../../bin/${name}.js`, import.meta.url))
}

/** Runs a subcommand of dfs-metadata; returns what it prints, throws when it fails. */
export function command(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [executable('dfs-metadata'), ...args],
    { encoding: 'utf8', timeout: COMMAND_MS },
  )
  if (status !== 0) throw new Error(`dfs-metadata ${args.join(' ')}: exit ${status}\n${stderr}`)
  return stdout.trim()
}
