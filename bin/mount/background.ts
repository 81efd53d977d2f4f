/**
 * `dfs-mount` without --foreground: starts the mount as a process of its own, and waits until the
 * folder answers or the reason why it does not is known.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, statSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { DfsError } from '../../schema/wire/status.ts'
import { ExitCode } from '../runtime/exit.ts'
import { readyMessage } from './foreground.ts'
import { mountArguments } from './options.ts'
import type { MountSettings } from './options.ts'

/** Longest start, ms: login, first look at the store, mount. */
const startMs = 60_000

/** Mounts and returns; sets the exit code and prints the reason when that fails. */
export async function mountInBackground(settings: MountSettings): Promise<void> {
  const logFile = settings.logFile ?? defaultLogFile(settings.directory)
  mkdirSync(dirname(logFile), { recursive: true, mode: 0o700 })
  const log = openSync(logFile, 'a', 0o600)
  const logBytesBefore = statSync(logFile).size
  const script = process.argv[1] ?? ''
  const args = [script, '--foreground', ...mountArguments({ ...settings, logFile })]
  const child = spawn(process.execPath, [...process.execArgv, ...args], {
    cwd: '/',
    detached: true,
    stdio: ['ignore', 'ignore', log, 'ipc'],
  })
  closeSync(log)
  const exitCode = await started(child)
  if (exitCode !== undefined) {
    console.error(spokenLines(logFile, logBytesBefore))
    process.exitCode = exitCode
    return
  }
  child.unref()
  await answers(settings.directory)
  console.log(`mounted on ${settings.directory}; log: ${logFile}`)
}

/** Undefined once it is mounted, else the exit code of the process that failed. */
async function started(child: ChildProcess): Promise<number | undefined> {
  const limit = new AbortController()
  const late = pause(startMs, undefined, { signal: limit.signal }).then(() => {
    child.kill('SIGKILL')
    throw new DfsError('deadlineExceeded', `the mount did not come up within ${startMs / 1_000} s`)
  })
  const ended = new Promise<number | undefined>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => resolve(code ?? ExitCode.failure))
    child.once('message', (message) => {
      if (message === readyMessage) resolve(undefined)
    })
  })
  try {
    return await Promise.race([ended, late])
  } finally {
    limit.abort()
    late.catch(() => undefined)
  }
}

/** A look from outside of the process that serves. */
async function answers(directory: string): Promise<void> {
  const late = pause(startMs, undefined, { ref: false }).then(() => {
    throw new DfsError('deadlineExceeded', `${directory}: mounted, but does not answer`)
  })
  await Promise.race([stat(directory), late])
}

/** What the process said for people: its log has JSON lines for machines. */
function spokenLines(logFile: string, fromByte: number): string {
  const text = readFileSync(logFile).subarray(fromByte).toString('utf8')
  const spoken = text.split('\n').filter((line) => line !== '' && !line.startsWith('{'))
  return spoken.length > 0 ? spoken.join('\n') : `dfs-mount: cannot mount; see ${logFile}`
}

/** Below $XDG_STATE_HOME, else ~/.local/state; one file for each mount point. */
function defaultLogFile(directory: string): string {
  const { XDG_STATE_HOME: configured } = process.env
  const state =
    configured !== undefined && configured !== '' ? configured : join(homedir(), '.local/state')
  return join(state, 'dfs', `mount${directory.replaceAll('/', '-')}.log`)
}
