/**
 * `dfs-chunkserver serve`: joins a cluster when it has no identity yet, then serves until a signal
 * or until its disk gives out.
 */
import { mkdir, readFile } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { DfsError } from '../../schema/wire/status.ts'
import { Dialer } from '../../schema/quic/dialer.ts'
import type { Log } from '../../schema/rpc/api.ts'
import { bounds } from '../../server/chunkserver/bounds.ts'
import {
  joinCluster,
  loadIdentity,
  type ServerIdentity,
} from '../../server/chunkserver/identity.ts'
import { startChunkserver } from '../../server/chunkserver/server.ts'
import { createLog, logLevels, type LogLevel } from '../runtime/log.ts'
import { parseSize } from '../runtime/size.ts'
import { requireAddress } from './address.ts'

/** Options of `serve`, for yargs. */
export const serveOptions = {
  dir: { type: 'string', demandOption: true, describe: 'Folder for chunks, index and identity' },
  metadata: {
    type: 'string',
    array: true,
    demandOption: true,
    describe: 'Metadata server, HOST:PORT; may be given again for a standby',
  },
  rack: { type: 'string', demandOption: true, describe: 'Rack that this machine stands in' },
  listen: { type: 'string', default: '0.0.0.0:7500', describe: 'HOST:PORT to listen on' },
  advertise: { type: 'string', describe: 'HOST:PORT under which others reach this server' },
  token: { type: 'string', describe: 'Join token (seen by others in the process list)' },
  'token-file': { type: 'string', describe: 'File that holds the join token' },
  reserve: {
    type: 'string',
    describe: 'Disk space left alone [default: 1G or 1 % of the disk, the smaller]',
  },
  'scrub-rate': {
    type: 'string',
    default: '8M',
    describe: 'Bytes a second read to find damage; 0 for none',
  },
  'copy-rate': {
    type: 'string',
    default: '32M',
    describe: 'Bytes a second received to replace replicas lost elsewhere; 1M at least',
  },
  'log-level': { choices: logLevels, default: 'info' as LogLevel, describe: 'Least level logged' },
} as const

export interface ServeArguments {
  readonly dir: string
  readonly metadata: readonly string[]
  readonly rack: string
  readonly listen: string
  readonly advertise: string | undefined
  readonly token: string | undefined
  readonly tokenFile: string | undefined
  readonly reserve: string | undefined
  readonly scrubRate: string
  readonly copyRate: string
  readonly logLevel: LogLevel
}

const RACK_BYTES_MAX = 64
/** Addresses that others are told at most; they try one after the other. */
const ADVERTISED_MAX = 4

/** Serves; returns after a graceful stop. Throws what made it impossible. */
export async function serve(options: ServeArguments): Promise<void> {
  const metadata = options.metadata.map((text) => requireAddress('metadata', text))
  const { rack } = options
  if (rack.length === 0 || Buffer.byteLength(rack) > RACK_BYTES_MAX) {
    throw new DfsError('invalidArgument', `--rack: 1 to ${RACK_BYTES_MAX} bytes`)
  }
  const reserveBytes = options.reserve === undefined ? undefined : parseSize(options.reserve)
  const scrubBytesPerSecond = parseSize(options.scrubRate)
  const copyBytesPerSecond = parseSize(options.copyRate)
  if (copyBytesPerSecond < bounds.copyBytesPerSecondMin) {
    throw new DfsError('invalidArgument', `--copy-rate ${options.copyRate}: it is 1M at least`)
  }
  const listen = requireAddress('listen', options.listen)
  const advertise =
    options.advertise === undefined ? undefined : requireAddress('advertise', options.advertise)

  const log = createLog('dfs-chunkserver', { level: options.logLevel })
  const stopped = stopSignal(log)
  await mkdir(options.dir, { recursive: true, mode: 0o700 })
  const dialer = new Dialer({ log })
  try {
    const identity = await identityOf(options, metadata, dialer, log)
    const server = await startChunkserver({
      directory: options.dir,
      identity,
      dialer,
      metadata,
      rack,
      listen,
      advertise,
      advertiseHosts: hostsOf(options, listen),
      reserveBytes,
      scrubBytesPerSecond,
      copyBytesPerSecond,
      log,
    })
    process.stdout.write(`listening on ${server.address}\n`)
    const failure = await Promise.race([stopped, server.failed])
    await server.stop()
    if (failure !== undefined) throw failure
  } finally {
    await dialer.close()
  }
}

async function identityOf(
  options: ServeArguments,
  metadata: readonly string[],
  dialer: Dialer,
  log: Log,
): Promise<ServerIdentity> {
  const known = await loadIdentity(options.dir)
  if (known !== undefined) return known
  const token =
    options.tokenFile === undefined ? options.token : await readFile(options.tokenFile, 'utf8')
  if (token === undefined) {
    throw new DfsError(
      'tokenInvalid',
      `${options.dir} belongs to no cluster yet: get a token with dfs-metadata join-token and give it with --token-file`,
    )
  }
  return joinCluster({ directory: options.dir, token, metadata, rack: options.rack, dialer, log })
}

/**
 * The hosts under which others may reach us: what was given, what we listen on, or, when that is
 * every address, those of the interfaces (loopback only when the metadata server is there too).
 */
function hostsOf(options: ServeArguments, listen: string): readonly string[] {
  const wildcard = /^(0\.0\.0\.0|\[::\]):/.exec(listen)
  if (options.advertise !== undefined || wildcard === null) return []
  const loopback = options.metadata.some((text) => /^(127\.|localhost:|\[::1\])/.test(text))
  const hosts: string[] = loopback ? ['127.0.0.1'] : []
  for (const interfaces of Object.values(networkInterfaces())) {
    for (const { address, family, internal } of interfaces ?? []) {
      if (internal || address.startsWith('fe80')) continue
      if (family === 'IPv4') hosts.push(address)
      else if (wildcard[1] === '[::]') hosts.push(`[${address}]`)
    }
  }
  return hosts.slice(0, ADVERTISED_MAX)
}

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process at once. */
function stopSignal(log: Log): Promise<undefined> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        log.info({ signal, drainMs: bounds.drainMs }, 'stopping')
        resolve(undefined)
      })
    }
  })
}
