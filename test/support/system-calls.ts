/**
 * System calls that Node has no function for, one after the other and synchronously: a Python process
 * makes them, told through pipes.
 */
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const SERVER = `
import ctypes, errno, json, os, stat, sys
calls = {
    'mknod': lambda path, mode: os.mknod(path, mode),
    'setxattr': lambda path, name, value, flags: os.setxattr(path, name, value.encode('latin1'), flags, follow_symlinks=False),
    'getxattr': lambda path, name: os.getxattr(path, name, follow_symlinks=False).decode('latin1'),
    'removexattr': lambda path, name: os.removexattr(path, name, follow_symlinks=False),
    'xattrs': lambda path: sorted((n, os.getxattr(path, n, follow_symlinks=False).decode('latin1')) for n in os.listxattr(path, follow_symlinks=False) if n.startswith(('user.', 'system.'))),
}
requests, answers = open(sys.argv[1]), open(sys.argv[2], 'w')
for line in requests:
    name, *args = json.loads(line)
    try: answer = {'value': calls[name](*args)}
    except OSError as e: answer = {'errno': errno.errorcode[e.errno]}
    print(json.dumps(answer), file=answers, flush=True)
`
const MAKE_PIPES = 'import os, sys; [os.mkfifo(path) for path in sys.argv[1:]]'
const ANSWER_BYTES_MAX = 1_048_576
const NEWLINE = 10

/** XATTR_CREATE and XATTR_REPLACE. */
export type XattrFlags = 0 | 1 | 2

export class SystemCalls {
  readonly #directory = mkdtempSync(join(tmpdir(), 'dfs-calls-'))
  readonly #requests: number
  readonly #answers: number
  readonly #buffer = Buffer.alloc(ANSWER_BYTES_MAX)

  constructor() {
    const [requests, answers] = ['requests', 'answers'].map((name) => join(this.#directory, name))
    if (requests === undefined || answers === undefined) throw new Error('two pipes')
    const { status } = spawnSync('python3', ['-c', MAKE_PIPES, requests, answers])
    if (status !== 0) throw new Error('no pipes could be made')
    spawn('python3', ['-c', SERVER, requests, answers], { stdio: ['ignore', 'ignore', 'inherit'] })
    this.#requests = openSync(requests, 'w')
    this.#answers = openSync(answers, 'r')
  }

  mknod(path: string, mode: number): void {
    this.#call('mknod', path, mode)
  }

  /** `value` stands for bytes, one a character. */
  setXattr(path: string, name: string, value: string, flags: XattrFlags): void {
    this.#call('setxattr', path, name, value, flags)
  }

  getXattr(path: string, name: string): unknown {
    return this.#call('getxattr', path, name)
  }

  removeXattr(path: string, name: string): void {
    this.#call('removexattr', path, name)
  }

  /** All `user.` attributes and access control lists with their values, sorted. */
  xattrs(path: string): unknown {
    return this.#call('xattrs', path)
  }

  close(): void {
    // The server ends with its requests.
    closeSync(this.#requests)
    closeSync(this.#answers)
    rmSync(this.#directory, { recursive: true })
  }

  /** Throws an Error with the errno's name as `code`, as Node's functions do. */
  #call(...call: [name: string, ...args: unknown[]]): unknown {
    writeSync(this.#requests, `${JSON.stringify(call)}\n`)
    let length = 0
    do {
      const count = readSync(this.#answers, this.#buffer, length, ANSWER_BYTES_MAX - length, null)
      if (count === 0) throw new Error(`no answer to ${JSON.stringify(call)}`)
      length += count
    } while (this.#buffer[length - 1] !== NEWLINE)
    const text = this.#buffer.toString('utf8', 0, length)
    const { value, errno } = JSON.parse(text) as { value?: unknown; errno?: string }
    if (errno !== undefined) throw Object.assign(new Error(`${errno}: ${call[0]}`), { code: errno })
    return value
  }
}
