/**
 * A real cluster for a test: `dfs up --detach` in a temporary folder, and everything gone again
 * afterwards, also when the test fails.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

/** What one command of ours may take. */
const COMMAND_MS = 120_000

/** Root of the checkout, as seen from dist/test/support. */
export const repository = fileURLToPath(new URL('../../..', import.meta.url))

/** Why mounts cannot be tested here; undefined when they can. */
export function noMounts(): string | undefined {
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK)
  } catch {
    return 'there is no /dev/fuse that this user may open'
  }
  const helper = ['/usr/bin/fusermount3', '/bin/fusermount3', '/usr/bin/fusermount'].some(
    existsSync,
  )
  return helper ? undefined : 'fusermount3 is not installed (Debian package fuse3)'
}

export interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs one of our compiled executables to its end. */
export function runDfs(name: string, args: readonly string[], input?: string): Ended {
  const script = join(repository, 'dist/bin', `${name}.js`)
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], {
    encoding: 'utf8',
    timeout: COMMAND_MS,
    ...(input === undefined ? {} : { input }),
  })
  return { status, stdout, stderr }
}

/** Runs a program of the system to its end; throws with what it said when it fails. */
export function run(command: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    timeout: COMMAND_MS,
    maxBuffer: 64 * 1_024 * 1_024,
  })
  if (status !== 0) {
    throw new Error(`${command} ${args.join(' ')}: exit ${status} ${error ?? ''} ${stderr}`)
  }
  return stdout
}

export class TestCluster {
  readonly dir: string
  readonly mount: string
  readonly #options: readonly string[]

  constructor(base: string, options: readonly string[]) {
    this.dir = join(base, 'cluster')
    this.mount = join(base, 'mnt')
    this.#options = options
  }

  /** Starts what does not run; throws with what `dfs up` said when it fails. */
  up(): void {
    const args = ['up', '--dir', this.dir, '--mount', this.mount, '--detach', ...this.#options]
    const { status, stdout, stderr } = runDfs('dfs', args)
    if (status !== 0) throw new Error(`dfs up: exit ${status}\n${stdout}\n${stderr}`)
  }

  down(): void {
    const { status, stderr } = runDfs('dfs', ['down', '--dir', this.dir])
    if (status !== 0) throw new Error(`dfs down: exit ${status}\n${stderr}`)
  }

  /** Runs `dfs` with this cluster's profile. */
  dfs(command: string, ...args: string[]): Ended {
    return runDfs('dfs', [command, '--profile', join(this.dir, 'profile'), ...args])
  }

  /** Process id of one of its daemons: metadata, chunkserver-N, mount. */
  pid(name: string): number {
    const mark = JSON.parse(readFileSync(join(this.dir, 'run', `${name}.pid`), 'utf8')) as {
      pid: number
    }
    return mark.pid
  }

  kill(name: string): void {
    process.kill(this.pid(name), 'SIGKILL')
  }
}

/** A cluster that is up; torn down with the test. `options` go to `dfs up`. */
export function startCluster(t: Test, ...options: string[]): TestCluster {
  const base = mkdtempSync(join(tmpdir(), 'dfs-test-'))
  const cluster = new TestCluster(base, options)
  t.teardown(() => {
    try {
      if (existsSync(join(cluster.dir, 'cluster.json'))) cluster.down()
    } finally {
      rmSync(base, { recursive: true, force: true })
    }
  })
  cluster.up()
  return cluster
}
