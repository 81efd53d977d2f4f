/**
 * `dfs-metadata serve`: runs the metadata server until a signal, or until its disk gives out.
 */
import { networkInterfaces } from 'node:os'
import type { Log } from '../../schema/rpc/api.ts'
import { startMetadataServer } from '../../server/metadata/start.ts'
import { parseSeconds } from '../runtime/duration.ts'
import { createLog, logLevels, type LogLevel } from '../runtime/log.ts'
import { comeFirst } from '../runtime/priority.ts'

/** Options of `serve`, for yargs. */
export const serveOptions = {
  dir: { type: 'string', demandOption: true, describe: 'Folder that init made' },
  listen: { type: 'string', default: '0.0.0.0:7400', describe: 'HOST:PORT to listen on' },
  advertise: {
    type: 'string',
    array: true,
    describe: 'HOST:PORT under which others reach this server, for invitations and tokens',
  },
  'lost-after': {
    type: 'string',
    default: '10m',
    describe: 'Silence of a chunkserver after which its chunks are copied elsewhere, such as 10m',
  },
  'log-level': { choices: logLevels, default: 'info' as LogLevel, describe: 'Least level logged' },
} as const

export interface ServeArguments {
  readonly dir: string
  readonly listen: string
  readonly advertise: readonly string[] | undefined
  readonly lostAfter: string
  readonly logLevel: LogLevel
}

/** Addresses that a credential names at most; its holder tries one after the other. */
const ADVERTISED_MAX = 8

/** Serves; returns after a graceful stop. Throws what made it impossible. */
export async function serve(options: ServeArguments): Promise<void> {
  const lostAfterMs = parseSeconds(options.lostAfter) * 1_000
  const log = createLog('dfs-metadata', { level: options.logLevel })
  await serveUntil(stopSignal(log), { ...options, lostAfterMs }, log)
}

/** As {@link serve}, until `stopped` resolves. */
export async function serveUntil(
  stopped: Promise<undefined>,
  options: Omit<ServeArguments, 'lostAfter'> & { readonly lostAfterMs: number },
  log: Log,
): Promise<void> {
  let fail: (error: Error) => void = () => undefined
  const failed = new Promise<Error>((resolve) => (fail = resolve))
  const server = await startMetadataServer({
    dir: options.dir,
    listen: options.listen,
    advertise: (bound) => options.advertise ?? reachableAt(bound),
    log,
    lostAfterMs: options.lostAfterMs,
    onFailure: (error) => fail(error instanceof Error ? error : new Error(String(error))),
  })
  comeFirst(log)
  process.stdout.write(`listening on ${server.address}\n`)
  const failure = await Promise.race([stopped, failed])
  if (failure !== undefined) {
    // What others have seen may not be on disk: no answer may leave any more, so nothing is drained.
    log.error({ err: failure.message }, 'the store cannot be written; stopping at once')
    process.exit(1)
  }
  await server.stop()
}

/** Where a server that listens on every address is reached: the machine's own addresses. */
export function reachableAt(bound: string): string[] {
  const wildcard = /^(?:0\.0\.0\.0|\[::\]):(\d+)$/u.exec(bound)
  if (wildcard === null) return [bound]
  const hosts: string[] = []
  for (const interfaces of Object.values(networkInterfaces())) {
    for (const { address, family, internal } of interfaces ?? []) {
      if (!internal && family === 'IPv4') hosts.push(address)
    }
  }
  return [...hosts, '127.0.0.1'].slice(0, ADVERTISED_MAX).map((host) => `${host}:${wildcard[1]}`)
}

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process at once. */
export function stopSignal(log: Log): Promise<undefined> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        log.info({ signal }, 'stopping')
        resolve(undefined)
      })
    }
  })
}
