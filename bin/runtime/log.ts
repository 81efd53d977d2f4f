/**
 * The log of a daemon: one JSON object a line on standard error, or in a file that is appended to.
 */
import { pino } from 'pino'
import type { Log } from '../../schema/rpc/api.ts'

export const logLevels = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof logLevels)[number]

/** Makes the log; lines are written at once, so that none is lost when the process is killed. */
export function createLog(name: string, options: { level: LogLevel; file?: string }): Log {
  return pino(
    { name, level: options.level, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: options.file ?? 2, sync: true, mkdir: true }),
  )
}
