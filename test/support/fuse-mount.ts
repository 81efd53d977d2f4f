/**
 * A real mount on a temporary directory, removed when the test ends, however it ends.
 *
 * The mount is served by the test's own process, so a test must never wait for it synchronously. (Nor
 * spawn a program with its working directory there: Node waits until the child has entered it.)
 */
import { spawn, spawnSync } from 'node:child_process'
import { accessSync, constants, mkdtempSync } from 'node:fs'
import { rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { mount } from '../../mount/fuse/mount.ts'
import type { Mount, MountOptions } from '../../mount/fuse/mount.ts'
import type { Log } from '../../schema/rpc/api.ts'
import { ModelFileSystem } from './model-file-system.ts'

/** Why no mount can be made here, or undefined. */
export function noFuse(): string | undefined {
  try {
    accessSync('/dev/fuse', constants.F_OK)
  } catch {
    return 'no /dev/fuse here'
  }
  const found = spawnSync('fusermount3', ['--version']).status === 0
  if (!found) return 'no fusermount3 here: install fuse3'
  return undefined
}

/** A log that keeps its lines. */
export class MemoryLog implements Log {
  readonly lines: { level: string; fields: object; message: string }[] = []
  debug(): void {}
  info(): void {}
  warn(fields: object, message: string): void {
    this.lines.push({ level: 'warn', fields, message })
  }
  error(fields: object, message: string): void {
    this.lines.push({ level: 'error', fields, message })
  }
}

export interface MountedModel {
  readonly model: ModelFileSystem
  readonly mount: Mount
  readonly log: MemoryLog
  readonly directory: string
}

export async function mountModel(
  t: Test,
  options: Partial<MountOptions> = {},
): Promise<MountedModel> {
  const model = new ModelFileSystem()
  const log = new MemoryLog()
  const directory = temporaryDirectory(t)
  const live = await mount(model, { directory, log, ...options })
  t.teardown(() => live.unmount())
  return { model, mount: live, log, directory }
}

/** An empty directory, and no mount left on it after the test. */
export function temporaryDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'dfs-fuse-'))
  const unmountAtExit = (): void => {
    spawnSync('fusermount3', ['-uzq', directory])
  }
  process.once('exit', unmountAtExit)
  t.teardown(async () => {
    process.off('exit', unmountAtExit)
    await run('fusermount3', ['-uzq', directory])
    await rmdir(directory)
  })
  return directory
}

export interface Ran {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end without blocking this process. */
export function run(
  program: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; timeoutMs?: number } = {},
): Promise<Ran> {
  const { timeoutMs = 20_000, ...rest } = options
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      ...rest,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (data: Buffer) => (stdout += data.toString()))
    child.stderr.on('data', (data: Buffer) => (stderr += data.toString()))
    child.on('error', reject)
    child.on('close', (status) => resolve({ status, stdout, stderr }))
  })
}

/** Runs shell lines in `directory`; throws with what they said unless they end with 0. */
export async function shell(directory: string, script: string): Promise<string> {
  const { status, stdout, stderr } = await run('bash', ['-euc', `cd "$0"; ${script}`, directory])
  if (status !== 0) throw new Error(`shell ended with ${status}: ${stderr}`)
  return stdout.trim()
}
