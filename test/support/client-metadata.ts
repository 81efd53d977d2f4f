/**
 * A real metadata server process for tests of the client's session and accounts; it can be killed,
 * frozen and started again on the same port.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { invite } from '../../bin/metadata/operator.ts'
import { methods } from '../../schema/methods.ts'
import { InodeKey } from '../../mount/crypto/inode-key.ts'
import type { MetadataSession } from '../../mount/client/api.ts'
import { openClient } from '../../mount/client/open.ts'
import { registerAccount } from '../../mount/client/account.ts'
import type { Profile } from '../../mount/client/profile.ts'
import { sealedAttributes } from './inodes.ts'
import { silent, until } from './transport.ts'

const START_MS = 40_000
const executable = fileURLToPath(new URL('../../bin/dfs-metadata.js', import.meta.url))

/** Standbys made; each has a directory beside that of the server. */
let standbys = 0

export class MetadataProcess {
  readonly dir: string
  address = '127.0.0.1:0'
  #child: ChildProcess | undefined

  constructor(dir: string) {
    this.dir = dir
  }

  /** A new cluster, serving until the test ends. */
  static async start(t: Test): Promise<MetadataProcess> {
    const metadata = new MetadataProcess(join(t.testdir(), 'metadata'))
    metadata.command('init', '--replicas', '2')
    t.teardown(async () => metadata.kill())
    await metadata.serve()
    return metadata
  }

  /** Runs a command of `dfs-metadata` on this cluster; what it printed. */
  command(...args: string[]): string {
    const all = [executable, ...args, '--dir', this.dir]
    const { status, stdout, stderr } = spawnSync(process.execPath, all, {
      encoding: 'utf8',
      timeout: START_MS,
    })
    if (status !== 0) throw new Error(`dfs-metadata ${args.join(' ')}: exit ${status}\n${stderr}`)
    return stdout.trim()
  }

  /** Starts it, on the port that it had before. */
  async serve(): Promise<void> {
    await this.#start(['serve'], /listening on (\S+)/)
  }

  /** Starts it as a standby, on the port that it had before. */
  async standby(...more: string[]): Promise<void> {
    await this.#start(['standby', ...more], /standing by on (\S+)/)
  }

  /** A new standby of another server, until the test ends. */
  static async standbyOf(
    t: Test,
    primary: MetadataProcess,
    ...more: string[]
  ): Promise<MetadataProcess> {
    const dir = `${primary.dir}-standby-${++standbys}`
    const token = `${dir}-token`
    writeFileSync(token, primary.command('join-token', '--standby'), { mode: 0o600 })
    const metadata = new MetadataProcess(dir)
    t.teardown(async () => metadata.kill())
    await metadata.standby('--of', primary.address, '--token-file', token, ...more)
    return metadata
  }

  /** What `dfs-metadata status` says. */
  status(): Record<string, unknown> {
    return JSON.parse(this.command('status', '--json')) as Record<string, unknown>
  }

  /** Makes this standby the metadata server; resolves when it serves. */
  async promote(): Promise<void> {
    this.command('promote')
    const up = await until(() => /listening on (\S+)/.test(this.#stdout), START_MS)
    if (!up) throw new Error(`it does not serve: ${this.log}`)
  }

  /** The end of what it logged. */
  log = ''
  #stdout = ''

  async #start(command: string[], line: RegExp): Promise<void> {
    const args = [...command, '--dir', this.dir, '--listen', this.address]
    const child = spawn(process.execPath, [executable, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    this.#stdout = ''
    child.stdout.on('data', (text: Buffer) => (this.#stdout += text.toString()))
    child.stderr.on('data', (text: Buffer) => {
      this.log = (this.log + text.toString()).slice(-20_000)
    })
    const up = await until(() => line.test(this.#stdout) || child.exitCode !== null, START_MS)
    const address = line.exec(this.#stdout)?.[1]
    if (!up || address === undefined) throw new Error(`dfs-metadata did not start: ${this.log}`)
    this.address = address
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await exited
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }

  async register(user: string, password: string): Promise<Profile> {
    const invitation = await invite(this.dir, { user, quotaBytes: 0, validSeconds: 3_600 })
    return registerAccount({ invitation, user, password, deviceName: 'test' })
  }
}

/** A session of its own, closed with the test. */
export async function openSession(t: Test, profile: Profile): Promise<MetadataSession> {
  const client = await openClient({ profile, log: silent })
  t.teardown(async () => client.close())
  return client.session
}

const parentOf = (session: MetadataSession): { inode: number; key: InodeKey } => ({
  inode: session.rootInode,
  key: session.rootKey,
})

/** Makes an empty file in the root directory; its number. */
export async function createFile(
  session: MetadataSession,
  name: string,
  { hold = false, key = InodeKey.generate() }: { hold?: boolean; key?: InodeKey } = {},
): Promise<number> {
  const { inode: parent, key: parentKey } = parentOf(session)
  const sealed = parentKey.sealEntry(name, { kind: 1, key })
  const { inode } = await session.mutate(methods.create, {
    parent,
    ...sealed,
    attributes: sealedAttributes(key),
    inline: new Uint8Array(0),
    hold,
  })
  key.verifyAttributes(inode.attributes)
  if (hold) session.held(inode.inode)
  return inode.inode
}

export async function unlinkFile(session: MetadataSession, name: string): Promise<void> {
  const { inode: parent, key } = parentOf(session)
  await session.mutate(methods.unlink, { parent, token: key.token(name), directory: false })
}

/** All names in the root directory, sorted. */
export async function listNames(session: MetadataSession): Promise<string[]> {
  const { inode: directory, key } = parentOf(session)
  const found: string[] = []
  let after: Uint8Array = new Uint8Array(0)
  for (;;) {
    const { entries, more } = await session.read(methods.list, { directory, after, limit: 1_000 })
    for (const { token, entry } of entries) found.push(key.openEntry(token, entry).name)
    after = entries.at(-1)?.token ?? after
    if (!more) return found.sort((a, b) => a.localeCompare(b))
  }
}
