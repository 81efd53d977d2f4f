/**
 * How our executables end: one table of exit codes, one place that prints an error.
 *
 * Scripts depend on these numbers; add, never renumber. 64 and up follow sysexits.h.
 */
import { DfsError, STATUS } from '../../schema/wire/status.ts'
import { InvariantError } from '../../schema/wire/invariant.ts'

export const ExitCode = {
  ok: 0,
  failure: 1,
  usage: 64,
  /** What was to be checked is not in order. */
  dataWrong: 65,
  unavailable: 69,
  bug: 70,
  noPermission: 77,
} as const

/** Runs an executable's body; prints what failed without a stack trace and sets the exit code. */
export async function runMain(name: string, body: () => Promise<void>): Promise<void> {
  try {
    await body()
  } catch (error) {
    process.exitCode = report(name, error)
  }
}

/** Prints an error for a person and returns the exit code that fits it. */
function report(name: string, error: unknown): number {
  if (error instanceof DfsError) {
    console.error(`${name}: ${error.message} [${error.code}]`)
    return exitCodeOf(error)
  }
  if (error instanceof InvariantError || !(error instanceof Error) || isProgrammingError(error)) {
    console.error(`${name}: this is a bug in dfs; please report it with the lines below`)
    console.error(error)
    return ExitCode.bug
  }
  console.error(`${name}: ${error.message}`)
  return ExitCode.failure
}

function exitCodeOf(error: DfsError): number {
  switch (error.code) {
    case 'connectionRefused':
    case 'connectionLost':
    case 'deadlineExceeded':
    case 'shuttingDown':
    case 'tooFewServers':
      return ExitCode.unavailable
    case 'invalidArgument':
      return ExitCode.usage
    default:
      return STATUS[error.code].errno === 'EACCES' ? ExitCode.noPermission : ExitCode.failure
  }
}

/** Node's own errors (a file that is not there) carry a code; ours without one are bugs. */
function isProgrammingError(error: Error): boolean {
  return (
    !('code' in error) &&
    (error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError)
  )
}
