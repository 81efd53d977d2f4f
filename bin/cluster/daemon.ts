/**
 * One daemon of a local cluster: started detached, known by a pid file, stopped for sure.
 *
 * A pid file also holds the process's start time (field 22 of /proc/PID/stat), so that a process
 * that got the same number later is never taken for ours, nor signalled.
 */
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { DfsError } from '../../schema/wire/status.ts'
import type { ClusterPaths } from './state.ts'

/** How long a daemon may take until it listens: RocksDB replays its log after a kill. */
const START_MS = 30_000
const POLL_MS = 30
/** Threads for disk work in each daemon; libuv's own choice of 4 leaves RocksDB and syncs waiting. */
const IO_THREADS = 8

interface ProcessMark {
  readonly pid: number
  readonly started: string
}

/** Path of one of our executables, as compiled beside this file. */
export function executable(name: string): string {
  return fileURLToPath(new URL(`../${name}.js`, import.meta.url))
}

export class Daemon {
  readonly name: string
  readonly #paths: ClusterPaths

  constructor(paths: ClusterPaths, name: string) {
    this.#paths = paths
    this.name = name
  }

  get logFile(): string {
    return join(this.#paths.logs, `${this.name}.log`)
  }

  /** Process id while it runs. */
  get pid(): number | undefined {
    const mark = this.#mark()
    return mark !== undefined && startTime(mark.pid) === mark.started ? mark.pid : undefined
  }

  /** Starts the executable; standard error goes to its log, standard output to DIR/run. */
  start(script: string, args: readonly string[]): void {
    mkdirSync(this.#paths.run, { recursive: true })
    mkdirSync(this.#paths.logs, { recursive: true })
    const out = openSync(this.#outFile, 'w')
    const log = openSync(this.logFile, 'a')
    try {
      const child = spawn(process.execPath, [executable(script), ...args], {
        detached: true,
        env: { UV_THREADPOOL_SIZE: String(IO_THREADS), ...process.env },
        stdio: ['ignore', out, log],
      })
      if (child.pid === undefined) throw new DfsError('internal', `${this.name} did not start`)
      child.unref()
      const mark: ProcessMark = { pid: child.pid, started: startTime(child.pid) ?? '' }
      writeFileSync(this.#pidFile, JSON.stringify(mark))
    } finally {
      closeSync(out)
      closeSync(log)
    }
  }

  /** What it printed on standard output since it was started. */
  output(): string {
    return readFileSync(this.#outFile, 'utf8')
  }

  /**
   * Waits until `ready` gives a value. Throws when the daemon ends before that, or after 30 s, with
   * the end of its log.
   */
  async ready<T>(ready: () => T | undefined): Promise<T> {
    const end = Date.now() + START_MS
    for (;;) {
      const value = ready()
      if (value !== undefined) return value
      if (this.pid === undefined) throw this.#failure('ended while starting')
      if (Date.now() > end) throw this.#failure(`did not come up in ${START_MS / 1_000} s`)
      await sleep(POLL_MS)
    }
  }

  /** Waits for the line `listening on HOST:PORT` and returns the address. */
  async listening(): Promise<string> {
    return this.ready(() => /^listening on (\S+)$/m.exec(this.output())?.[1])
  }

  /**
   * Ends it: SIGTERM, and SIGKILL when it is still there after `graceMs`. Returns false when the
   * second was needed.
   */
  async stop(graceMs: number): Promise<boolean> {
    const graceful = (await this.#signal('SIGTERM', graceMs)) || !(await this.#kill())
    rmSync(this.#pidFile, { force: true })
    return graceful
  }

  async #kill(): Promise<boolean> {
    if (await this.#signal('SIGKILL', 5_000)) return true
    throw new DfsError('internal', `${this.name} (process ${this.pid}) cannot be killed`)
  }

  async #signal(signal: NodeJS.Signals, waitMs: number): Promise<boolean> {
    const { pid } = this
    if (pid === undefined) return true
    process.kill(pid, signal)
    for (const end = Date.now() + waitMs; Date.now() < end; await sleep(POLL_MS)) {
      if (this.pid === undefined) return true
    }
    return false
  }

  #failure(what: string): DfsError {
    const lines = readFileSync(this.logFile, 'utf8').trimEnd().split('\n').slice(-3)
    return new DfsError(
      'connectionRefused',
      `${this.name} ${what}. The end of ${this.logFile}:\n  ${lines.join('\n  ')}`,
    )
  }

  #mark(): ProcessMark | undefined {
    try {
      return JSON.parse(readFileSync(this.#pidFile, 'utf8')) as ProcessMark
    } catch (error) {
      // Cut short by a crash of `dfs up` is as good as not there: the daemon ends on its lock.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      if (error instanceof SyntaxError) return undefined
      throw error
    }
  }

  get #pidFile(): string {
    return join(this.#paths.run, `${this.name}.pid`)
  }

  get #outFile(): string {
    return join(this.#paths.run, `${this.name}.out`)
  }
}

/** Start time of a live process in clock ticks since boot; undefined for none, or a zombie. */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? undefined : fields[19]
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ESRCH') return undefined
    throw error
  }
}
