/**
 * The options of `dfs-mount`, and back from settings to arguments for the process in the background.
 */
import { totalmem } from 'node:os'
import { resolve } from 'node:path'
import type { InferredOptionTypes } from 'yargs'
import { defaultProfile, profileOption } from '../commands/options.ts'
import { logLevels } from '../runtime/log.ts'
import type { LogLevel } from '../runtime/log.ts'
import { parseSize } from '../runtime/size.ts'

/** Of the memory that this process may have, as much is for data that was read, bytes. */
const CACHE_SHARE = 1 / 8
const CACHE_BYTES_MIN = 256 * 1_024 * 1_024
const CACHE_BYTES_MAX = 4 * 1_024 * 1_024 * 1_024

export const mountOptions = {
  ...profileOption,
  foreground: {
    type: 'boolean',
    default: false,
    describe: 'Stay attached; log to standard error',
  },
  'allow-other': {
    type: 'boolean',
    default: false,
    describe: 'Let other users of this machine in; permissions apply',
  },
  'read-only': { type: 'boolean', default: false, describe: 'Refuse every change' },
  'cache-size': {
    type: 'string',
    default: String(defaultCacheBytes()),
    defaultDescription: 'an eighth of the memory there is, 256M to 4G',
    requiresArg: true,
    describe: 'Memory for data that was read, such as 64M or 2G',
  },
  'write-buffer': {
    type: 'string',
    default: '256M',
    requiresArg: true,
    describe: 'Memory for data on its way to the servers; 64M at least',
  },
  'log-file': {
    type: 'string',
    requiresArg: true,
    describe: 'Log to this file [default in the background: ~/.local/state/dfs/mount-….log]',
  },
  'log-level': { choices: logLevels, default: 'info', describe: 'The least severe lines to log' },
} as const

export interface MountSettings {
  /** Absolute. */
  readonly directory: string
  /** Absolute. */
  readonly profile: string
  readonly allowOther: boolean
  readonly readOnly: boolean
  readonly cacheBytes: number
  readonly writeBufferBytes: number
  /** Absolute. */
  readonly logFile: string | undefined
  readonly logLevel: LogLevel
}

type ParsedOptions = InferredOptionTypes<typeof mountOptions> & { directory: string }

/** Throws DfsError `invalidArgument` for a size that is none. */
export function parseMountOptions(options: ParsedOptions): MountSettings {
  const logFile = options['log-file']
  return {
    directory: resolve(options.directory),
    profile: resolve(options.profile ?? defaultProfile()),
    allowOther: options['allow-other'],
    readOnly: options['read-only'],
    cacheBytes: parseSize(options['cache-size']),
    writeBufferBytes: parseSize(options['write-buffer']),
    logFile: logFile === undefined ? undefined : resolve(logFile),
    logLevel: options['log-level'],
  }
}

/** Arguments that mean `settings`. */
export function mountArguments(settings: MountSettings): string[] {
  const { directory, profile, allowOther, readOnly, logFile } = settings
  return [
    `--profile=${profile}`,
    `--cache-size=${settings.cacheBytes}`,
    `--write-buffer=${settings.writeBufferBytes}`,
    `--log-level=${settings.logLevel}`,
    ...(logFile === undefined ? [] : [`--log-file=${logFile}`]),
    ...(allowOther ? ['--allow-other'] : []),
    ...(readOnly ? ['--read-only'] : []),
    directory,
  ]
}

/** A machine's memory, or what a control group leaves of it. */
function defaultCacheBytes(): number {
  // 0 and numbers beyond all memory mean that there is no limit.
  const limit = process.constrainedMemory()
  const memory = limit > 0 ? Math.min(limit, totalmem()) : totalmem()
  return Math.max(CACHE_BYTES_MIN, Math.min(CACHE_BYTES_MAX, Math.floor(memory * CACHE_SHARE)))
}
