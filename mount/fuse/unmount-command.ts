/**
 * Unmounting through the system's own command, which may do what this process may not.
 */
import { spawn } from 'node:child_process'
import { DfsError } from '../../schema/wire/status.ts'

/** Longest run of the command, ms; it waits when the file system does not answer. */
const commandMs = 5_000
/** What a command may say that is passed on, UTF-16 units. */
const sayingMax = 2_000

interface Command {
  readonly program: string
  readonly arguments: readonly string[]
  readonly lazily: string
}

/** In the order of preference; `umount` works for root only. */
const commands: readonly Command[] = [
  { program: 'fusermount3', arguments: ['-u'], lazily: '-z' },
  { program: 'fusermount', arguments: ['-u'], lazily: '-z' },
  { program: 'umount', arguments: ['--no-canonicalize'], lazily: '--lazy' },
]

/**
 * Unmounts if nothing uses the mount. Throws DfsError `notPermitted` with what the command says.
 */
export async function unmountOnce(directory: string): Promise<void> {
  await run(directory, false)
}

/** As `unmountOnce`, but takes the mount out of the tree at once; what is held open there lives on. */
export async function unmountLazily(directory: string): Promise<void> {
  await run(directory, true)
}

async function run(directory: string, lazily: boolean): Promise<void> {
  for (const { program, arguments: fixed, lazily: lazyOption } of commands) {
    const options = lazily ? [...fixed, lazyOption] : [...fixed]
    const failure = await execute(program, [...options, '--', directory])
    if (failure === 'missing') continue
    if (failure === undefined) return
    throw new DfsError('notPermitted', `${program} cannot unmount ${directory}: ${failure}`)
  }
  throw new DfsError('notSupported', 'no fusermount3 found: install the Debian package fuse3')
}

/** Undefined when it worked, `missing` without such a program, else what it says. */
function execute(program: string, options: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    // Of a process group of its own, to end the command along with what it started.
    const command = spawn(program, options, { cwd: '/', detached: true })
    let said = ''
    const late = setTimeout(() => {
      if (command.pid !== undefined) process.kill(-command.pid, 'SIGKILL')
      resolve(`no answer within ${commandMs} ms`)
    }, commandMs)
    command.stdin.end()
    command.stderr.on('data', (piece: Buffer) => {
      said = (said + piece.toString('utf8')).slice(0, sayingMax)
    })
    command.once('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(late)
      resolve(error.code === 'ENOENT' ? 'missing' : error.message)
    })
    command.once('close', (status) => {
      clearTimeout(late)
      if (status === 0) resolve(undefined)
      else resolve(said.trim() || (status === null ? 'it was killed' : `exit status ${status}`))
    })
  })
}
