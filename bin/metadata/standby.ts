/**
 * `dfs-metadata standby`: follows a metadata server until a signal; once promoted, serves in its place.
 */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { Dialer } from '../../schema/quic/dialer.ts'
import type { Log } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { clusterPaths } from '../../server/metadata/cluster-files.ts'
import { startStandby } from '../../server/metadata/standby/standby.ts'
import { joinAsStandby } from '../../server/metadata/standby/standby-files.ts'
import { parseSeconds } from '../runtime/duration.ts'
import { createLog } from '../runtime/log.ts'
import { comeFirst } from '../runtime/priority.ts'
import { reachableAt, serveOptions, serveUntil, stopSignal, type ServeArguments } from './serve.ts'

/** Options of `standby`, for yargs. */
export const standbyOptions = {
  ...serveOptions,
  dir: { ...serveOptions.dir, describe: 'Empty folder, or that of a server that was replaced' },
  of: {
    type: 'string',
    array: true,
    describe: 'HOST:PORT of the metadata server [default: as the last time]',
  },
  sync: {
    type: 'boolean',
    default: false,
    describe: 'Nothing is acknowledged before this standby has it; without it, writes wait',
  },
  fallback: {
    type: 'string',
    describe: 'With --sync: go on without this standby after such a time, as 30s',
  },
  'token-file': {
    type: 'string',
    describe: 'File with what join-token --standby printed, for the first start',
  },
} as const

export interface StandbyArguments extends ServeArguments {
  readonly of: readonly string[] | undefined
  readonly sync: boolean
  readonly fallback: string | undefined
  readonly tokenFile: string | undefined
}

/** Stands by; returns after a graceful stop. Throws what made it impossible. */
export async function standby(options: StandbyArguments): Promise<void> {
  const { dir, of = [], sync, fallback } = options
  if (fallback !== undefined && !sync) {
    throw new DfsError('invalidArgument', '--fallback says when to give up --sync; give both')
  }
  // For the time after a promotion; what is wrong with it is told now.
  const lostAfterMs = parseSeconds(options.lostAfter) * 1_000
  const log = createLog('dfs-metadata', { level: options.logLevel })
  const stopped = stopSignal(log)
  let fail: (error: unknown) => void = () => undefined
  const failed = new Promise<never>((_, reject) => (fail = reject))
  const dialer = new Dialer({ log })
  try {
    await join(options, dialer, log)
    const server = await startStandby({
      dir,
      of,
      sync,
      fallbackMs: fallback === undefined ? 0 : parseSeconds(fallback) * 1_000,
      listen: options.listen,
      advertise: (bound) => options.advertise ?? reachableAt(bound),
      dialer,
      log,
      onFailure: (error) => fail(error),
    })
    // With --sync, every answer of the server waits for this one.
    comeFirst(log)
    process.stdout.write(`standing by on ${server.address}\n`)
    const promoted = server.promoted.then(() => 'promoted' as const)
    const end = await Promise.race([stopped, promoted, failed])
    await server.stop()
    if (end === undefined) return
    await dialer.close()
    await serveUntil(stopped, { ...options, listen: server.address, lostAfterMs }, log)
  } finally {
    await dialer.close()
  }
}

async function join(options: StandbyArguments, dialer: Dialer, log: Log): Promise<void> {
  const { dir, of = [], tokenFile } = options
  if (existsSync(clusterPaths(dir).cluster)) return
  if (tokenFile === undefined) {
    throw new DfsError(
      'tokenInvalid',
      `${dir} belongs to no cluster yet: get a token with dfs-metadata join-token --standby and give it with --token-file`,
    )
  }
  await joinAsStandby({ dir, of, token: await readFile(tokenFile, 'utf8'), dialer, log })
}
