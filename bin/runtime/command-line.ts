/**
 * The form that all our command lines share: strict options, help with examples, and a wrong call
 * answered with what is wrong and exit code 64.
 */
import yargs, { type Argv } from 'yargs'
import { hideBin } from 'yargs/helpers'
import { DfsError } from '../../schema/wire/status.ts'

const WIDTH_MAX = 100

/** A parser for the executable `name` and what it was called with, ready for options and commands. */
export function commandLine(name: string, given = hideBin(process.argv)): Argv {
  const parser = yargs(given).scriptName(name)
  return parser
    .strict()
    .help()
    .alias('help', 'h')
    .wrap(Math.min(WIDTH_MAX, parser.terminalWidth()))
    .recommendCommands()
    .fail((message: string, error: Error | undefined) => {
      // A command's own failure goes on as it is; yargs' messages are about how it was called.
      throw error ?? new DfsError('invalidArgument', `${message}; see ${name} --help`)
    })
}
