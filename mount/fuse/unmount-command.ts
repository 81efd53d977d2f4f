/**
 * Unmounting through the system's own command, which may do what this process may not.
 */
import { execFile } from 'node:child_process'
import { DfsError } from '../../schema/wire/status.ts'

/** Longest run of the command, ms; it waits when the file system does not answer. */
const commandMs = 5_000

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

/** Unmounts if nothing uses the mount. Throws DfsError `notPermitted` with what the command says. */
export async function unmountOnce(directory: string): Promise<void> {
  await run(directory, false)
}

/** Takes the mount out of the tree at once; what programs hold open there lives on. */
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
function execute(program: string, options: string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    const settings = { timeout: commandMs, killSignal: 'SIGKILL' } as const
    execFile(program, options, settings, (error, _stdout, stderr) => {
      if (error === null) resolve(undefined)
      else if (error.code === 'ENOENT') resolve('missing')
      else if (error.killed === true) resolve(`no answer within ${commandMs} ms`)
      else resolve(stderr.trim() === '' ? error.message : stderr.trim())
    })
  })
}
