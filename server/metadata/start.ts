/**
 * Starts a metadata server on its directory and stops it. Start-up opens the store and reads what
 * grows with users and chunkservers, never what grows with files.
 */
import * as opaque from '@serenity-kit/opaque'
import { listen } from '../../schema/quic/listener.ts'
import type { Listener } from '../../schema/quic/api.ts'
import type { Log } from '../../schema/rpc/api.ts'
import { MethodTable } from '../../schema/rpc/method-table.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { openRocksStore } from '../store/rocks-store.ts'
import { Clock } from './clock.ts'
import { clusterPaths, readIdentity, readPolicy, writeAddresses } from './cluster-files.ts'
import { Holds } from './holds.ts'
import { Housekeeping } from './housekeeping.ts'
import { LoginLimits } from './login-limits.ts'
import { PlanAges } from './plan-ages.ts'
import { Purger } from './purger.ts'
import { serveMetadata } from './server.ts'
import type { Services } from './services.ts'
import { Sessions } from './sessions.ts'
import { Database } from './store/database.ts'
import { keys, ranges } from './store/keys.ts'
import { Sequence } from './store/sequences.ts'
import { tables } from './store/tables.ts'
import { TicketKeys } from './ticket-keys.ts'
import { Topology } from './topology.ts'

/** The meaning of what is in the store; raised with every change that old code would misread. */
const SCHEMA_VERSION = 1
/** Bytes of decoded records kept in memory. */
const RECORD_CACHE_BYTES = 192 * 1_048_576
/** Milliseconds that open requests get when the server stops. */
const DRAIN_MS = 5_000
const PAGE = 1_000

export interface StartOptions {
  readonly dir: string
  /** host:port, port 0 for a free one. */
  readonly listen: string
  /**
   * host:port under which others reach us, best first, given where it really listens: for DIR/address,
   * which commands and credentials use.
   */
  readonly advertise?: (bound: string) => readonly string[]
  readonly log: Log
  /** The store cannot be written any more: the process must end. */
  readonly onFailure: (error: unknown) => void
}

export interface MetadataServer {
  /** host:port really bound. */
  readonly address: string
  /** Finishes what is under way, then closes the store. */
  stop(): Promise<void>
}

/**
 * Opens the store and listens. Throws `notFound` (no cluster there), `directoryInUse`, or why it
 * cannot listen.
 */
export async function startMetadataServer(options: StartOptions): Promise<MetadataServer> {
  const { dir, log } = options
  const policy = await readPolicy(dir)
  const paths = clusterPaths(dir)
  await opaque.ready
  const store = await openRocksStore(paths.store)
  const database = await Database.open(store, {
    cacheBytes: RECORD_CACHE_BYTES,
    onFailure: options.onFailure,
  })
  try {
    const authority = await readIdentity(paths.authority)
    const services = await makeServices(database, { policy, authority, log })
    const service = new MethodTable()
    serveMetadata(service, services)
    const housekeeping = new Housekeeping(services)
    await services.purger.start(services.holds)
    const listener = await listen({
      address: options.listen,
      identity: await readIdentity(paths.identity),
      caPem: authority.certificatePem,
      service,
      log,
    })
    await writeAddresses(dir, options.advertise?.(listener.address) ?? [listener.address])
    housekeeping.start()
    return running(listener, housekeeping, services)
  } catch (error) {
    await database.close()
    throw error
  }
}

function running(
  listener: Listener,
  housekeeping: Housekeeping,
  { purger, database }: Services,
): MetadataServer {
  return {
    address: listener.address,
    async stop() {
      await listener.close(DRAIN_MS)
      await housekeeping.stop()
      await purger.stop()
      await database.close()
    },
  }
}

async function makeServices(
  database: Database,
  { policy, authority, log }: Pick<Services, 'policy' | 'authority' | 'log'>,
): Promise<Services> {
  const clock = new Clock()
  const opaqueSetup = await openCluster(database)
  const purger = new Purger(database, log)
  const holds = new Holds((inode) => void purger.reap(inode))
  const topology = new Topology(clock)
  await loadServers(database, topology)
  const ids = await Sequence.open(database, 'sessions')
  const sessions = new Sessions({ database, holds, ids, clock, log })
  await sessions.load()
  return {
    database,
    policy,
    authority,
    opaqueSetup,
    clock,
    log,
    inodeIds: await Sequence.open(database, 'inodes'),
    chunkIds: await Sequence.open(database, 'chunks'),
    holds,
    sessions,
    topology,
    ticketKeys: await TicketKeys.open(database, clock),
    planAges: new PlanAges(),
    loginLimits: new LoginLimits(clock),
    purger,
    startedNs: clock.nowNs(),
  }
}

/** Checks the store's version; a new store gets its first record. Returns OPAQUE's server setup. */
async function openCluster(database: Database): Promise<string> {
  const known = await database.read((txn) => txn.get(tables.cluster, keys.cluster))
  if (known === undefined) {
    const opaqueSetup = opaque.server.createSetup()
    await database.write({}, (txn) => {
      txn.put(tables.cluster, keys.cluster, { schemaVersion: SCHEMA_VERSION, opaqueSetup })
    })
    return opaqueSetup
  }
  if (known.schemaVersion !== SCHEMA_VERSION) {
    throw new DfsError(
      'versionMismatch',
      `the store is of version ${known.schemaVersion}, this program knows ${SCHEMA_VERSION}; use the program that wrote it`,
    )
  }
  return known.opaqueSetup
}

async function loadServers(database: Database, topology: Topology): Promise<void> {
  let after: Buffer | undefined
  for (;;) {
    const page = await database.durableRange(ranges.servers, PAGE, after)
    for (const { value } of page) topology.put(tables.servers.decode(value))
    after = page.at(-1)?.key
    if (after === undefined || page.length < PAGE) return
  }
}
