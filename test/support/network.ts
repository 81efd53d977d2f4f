/**
 * Processes in network namespaces of their own, joined by the faulty switch in netfault.py.
 *
 * Needs root, `ip`, python3 and /dev/net/tun; `networkMissing` says what lacks, so that a test can
 * be skipped with its reason. Nothing leaves the machine.
 */
import { execFileSync, fork, spawn, type ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** From the compiled test/support to the source's. */
const SWITCH = ['../../../test/support/netfault.py', './netfault.py']
  .map((path) => fileURLToPath(new URL(path, import.meta.url)))
  .find((path) => existsSync(path))

/** What ends the processes of a network: a test, or a benchmark's list of things to undo. */
export interface Scope {
  teardown(work: () => unknown): void
}

/** What this machine lacks for network tests; undefined when nothing. */
export function networkMissing(): string | undefined {
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  if (!existsSync('/dev/net/tun')) return 'no /dev/net/tun'
  if (SWITCH === undefined) return 'netfault.py is not beside the tests'
  for (const [command, option] of [
    ['ip', '-V'],
    ['python3', '--version'],
  ] as const) {
    try {
      execFileSync(command, [option], { stdio: 'ignore' })
    } catch {
      return `no ${command}`
    }
  }
  return undefined
}

export class Network {
  readonly #name: string
  readonly #switch: ChildProcess

  private constructor(name: string, running: ChildProcess) {
    this.#name = name
    this.#switch = running
  }

  /** Namespaces a, b, ... with addresses 10.77.0.1, .2, ...; gone when the test ends. */
  static async up(t: Scope, hosts: readonly string[], mtu = 1_500): Promise<Network> {
    const name = `dfs${process.pid}${Math.random().toString(36).slice(2, 5)}`
    const running = spawn('python3', [SWITCH ?? '', 'up', name, `mtu=${mtu}`, ...hosts], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const network = new Network(name, running)
    t.teardown(async () => network.#down())
    await new Promise<void>((resolve, reject) => {
      running.stdout.once('data', () => resolve())
      running.once('exit', (code) => reject(new Error(`netfault.py ended with ${code}`)))
    })
    return network
  }

  /** Changes the links; rules as in netfault.py. */
  set(...rules: string[]): void {
    execFileSync('python3', [SWITCH ?? '', 'set', this.#name, ...rules], { stdio: 'ignore' })
  }

  /** Runs a command in the namespace of a host. */
  run(host: string, command: readonly string[]): void {
    execFileSync('ip', ['netns', 'exec', `${this.#name}-${host}`, ...command], { stdio: 'ignore' })
  }

  /** Runs a worker in the namespace of a host; ended with the test. */
  worker(t: Scope, host: string): Worker {
    return new Worker(t, ['netns', 'exec', `${this.#name}-${host}`, process.execPath])
  }

  async #down(): Promise<void> {
    const ended = new Promise((resolve) => this.#switch.once('exit', resolve))
    if (this.#switch.exitCode !== null) return
    this.#switch.kill('SIGTERM')
    await ended
  }
}

/** A process that runs transport-worker.ts and does what it is asked. */
export class Worker {
  readonly child: ChildProcess
  #next = 1
  readonly #waiting = new Map<number, { resolve: (v: never) => void; reject: (e: Error) => void }>()

  constructor(t: Scope, namespace?: readonly string[]) {
    const file = fileURLToPath(new URL('transport-worker.js', import.meta.url))
    this.child = fork(
      file,
      [],
      namespace === undefined ? {} : { execPath: 'ip', execArgv: [...namespace] },
    )
    this.child.on('message', (raw) => {
      const { id, result, error } = raw as { id: number; result?: never; error?: WorkerFailure }
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (error === undefined) waiting?.resolve(result as never)
      else waiting?.reject(Object.assign(new Error(error.message), { code: error.code }))
    })
    t.teardown(() => this.child.kill('SIGKILL'))
  }

  /** Has the worker run one of its operations. */
  async ask<T>(operation: string, args: object = {}): Promise<T> {
    const id = this.#next++
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.child.send({ id, operation, args })
    })
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }
}

export interface WorkerFailure {
  readonly code: string
  readonly message: string
}
