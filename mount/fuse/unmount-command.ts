/**
 * Unmounting through the system's own command, which may do what this process may not.
 *
 * The command's end must not fall into the end of libfuse's loop. libfuse cancels its threads there; a
 * thread that is just running the process's SIGCHLD handler, because the kernel happened to give it the
 * signal, is cancelled in the middle of it: the signal is lost, libfuse waits for that thread for ever,
 * and so does the command's caller. So a shell runs the command, says how it went, and stays until it
 * is told that libfuse's threads are gone.
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

/** Runs its arguments, prints their exit status, waits for the end of standard input. */
const shellScript = '"$@" </dev/null; echo "$?"; read -r _'
/** The shell's exit status for a program that does not exist. */
const missingStatus = 127

/**
 * Unmounts if nothing uses the mount. The command's process ends no earlier than `settled`. Throws
 * DfsError `notPermitted` with what the command says.
 */
export async function unmountOnce(directory: string, settled: Promise<unknown>): Promise<void> {
  await run(directory, false, settled)
}

/** As `unmountOnce`, but takes the mount out of the tree at once; what is held open there lives on. */
export async function unmountLazily(directory: string, settled: Promise<unknown>): Promise<void> {
  await run(directory, true, settled)
}

async function run(directory: string, lazily: boolean, settled: Promise<unknown>): Promise<void> {
  for (const { program, arguments: fixed, lazily: lazyOption } of commands) {
    const options = lazily ? [...fixed, lazyOption] : [...fixed]
    const failure = await execute([program, ...options, '--', directory], settled)
    if (failure === 'missing') continue
    if (failure === undefined) return
    throw new DfsError('notPermitted', `${program} cannot unmount ${directory}: ${failure}`)
  }
  throw new DfsError('notSupported', 'no fusermount3 found: install the Debian package fuse3')
}

/** Undefined when it worked, `missing` without such a program, else what it says. */
function execute(
  command: readonly string[],
  settled: Promise<unknown>,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    // Of a process group of its own, to end the command along with its shell.
    const shell = spawn('/bin/sh', ['-c', shellScript, 'sh', ...command], {
      cwd: '/',
      detached: true,
    })
    let status: number | undefined
    let said = ''
    const finish = (failure: string | undefined): void => {
      clearTimeout(late)
      resolve(failure)
    }
    const late = setTimeout(() => {
      if (shell.pid !== undefined) process.kill(-shell.pid, 'SIGKILL')
      finish(`no answer within ${commandMs} ms`)
    }, commandMs)
    shell.once('error', (error) => finish(error.message))
    // A shell that was killed leaves nobody to be let go.
    shell.stdin.on('error', () => shell.stdin.destroy())
    shell.stderr.on('data', (piece: Buffer) => {
      said = (said + piece.toString('utf8')).slice(0, sayingMax)
    })
    shell.stdout.once('data', (piece: Buffer) => {
      status = Number.parseInt(piece.toString('latin1'), 10)
      if (status === 0) finish(undefined)
      void (status === 0 ? settled : Promise.resolve()).finally(() => shell.stdin.end())
    })
    shell.once('close', () => {
      if (status === missingStatus) finish('missing')
      else finish(said.trim() || (status === undefined ? 'it was killed' : `exit status ${status}`))
    })
  })
}
