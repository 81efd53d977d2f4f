/**
 * Passwords and recovery codes come from a prompt without echo, a file or standard input; never from the arguments,
 * which every user of the machine can read.
 */
import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { read } from 'read'
import { DfsError } from '../../schema/wire/status.ts'

/** A new password must have this many characters. */
const PASSWORD_CHARACTERS_MIN = 8

/** The password from a file (`-` is standard input), else from a prompt. */
export async function readPassword(prompt: string, file: string | undefined): Promise<string> {
  const given = await readSecret(prompt, file)
  if (given.length === 0) throw new DfsError('invalidArgument', 'the password is empty')
  return given
}

/** One line that nobody should see, such as a recovery code: from a file, else from a prompt. */
export async function readSecret(prompt: string, file: string | undefined): Promise<string> {
  return file === undefined ? ask(prompt) : firstLine(await contents(file))
}

/** As readPassword, asked twice at a prompt, and refused when it is too short. */
export async function readNewPassword(file: string | undefined): Promise<string> {
  const password = await readPassword('New password: ', file)
  if (password.length < PASSWORD_CHARACTERS_MIN) {
    throw new DfsError(
      'invalidArgument',
      `the password needs at least ${PASSWORD_CHARACTERS_MIN} characters`,
    )
  }
  if (file === undefined && (await ask('The same again: ')) !== password) {
    throw new DfsError('invalidArgument', 'the two passwords differ')
  }
  return password
}

async function ask(prompt: string): Promise<string> {
  if (!process.stdin.isTTY) {
    throw new DfsError(
      'invalidArgument',
      'there is no terminal to ask at; use --password-file FILE (or --code-file and the like), or - for standard input',
    )
  }
  return read({ prompt, silent: true, output: process.stderr })
}

async function contents(file: string): Promise<string> {
  return file === '-' ? text(process.stdin) : readFile(file, 'utf8')
}

const firstLine = (given: string): string => given.split(/\r?\n/, 1)[0] ?? ''
