/**
 * A running chunkserver: its store, the methods it serves, its tie to the metadata server, and what
 * works in the background.
 *
 * Serving begins once the store is open and temporary files are gone; whatever else a crash left is
 * looked after while serving.
 */
import type { Log, Service, TlsIdentity } from '../../schema/rpc/api.ts'
import { methods } from '../../schema/methods.ts'
import type { Listener, Peer, PeerOptions } from '../../schema/quic/api.ts'
import { listen } from '../../schema/quic/listener.ts'
import { MethodTable } from '../../schema/rpc/method-table.ts'
import type { DfsError } from '../../schema/wire/status.ts'
import { bounds } from './bounds.ts'
import { ChunkChecks } from './check-chunks.ts'
import { ChunkCopies } from './copy-chunk.ts'
import { DiskChunkStore } from './disk-chunk-store.ts'
import { DiskSpace } from './disk-space.ts'
import type { ServerIdentity } from './identity.ts'
import { RateLimit } from './rate-limit.ts'
import { ChunkReads } from './read-chunk.ts'
import { recoverFiles, removeTemporaryFiles } from './recover-files.ts'
import { MetadataServers } from './metadata-servers.ts'
import { Registration } from './registration.ts'
import { Scrub } from './scrub.ts'
import { ServerPeers } from './server-peers.ts'
import { StatusLog } from './status-log.ts'
import { TicketKeys } from './ticket-keys.ts'
import { ChunkWrites } from './write-chunk.ts'

export interface ChunkserverOptions {
  readonly directory: string
  readonly identity: ServerIdentity
  readonly dialer: { peer(options: PeerOptions): Peer }
  /** host:port of the metadata server, best first. */
  readonly metadata: readonly string[]
  readonly rack: string
  /** host:port to listen on. */
  readonly listen: string
  /** host:port under which others reach this server; undefined: what it listens on. */
  readonly advertise: string | undefined
  /** Hosts to put before the port listened on instead, when that is a wildcard address. */
  readonly advertiseHosts: readonly string[]
  /** Bytes of the disk left alone; undefined: the smaller of 1 GiB and 1 %. */
  readonly reserveBytes: number | undefined
  /** Bytes a second; 0 for none. */
  readonly scrubBytesPerSecond: number
  /** Bytes a second with which replicas for repair arrive. */
  readonly copyBytesPerSecond: number
  readonly log: Log
}

export interface Chunkserver {
  /** host:port really bound. */
  readonly address: string
  /** Resolves with the reason when the server cannot go on and should be stopped. */
  readonly failed: Promise<DfsError>
  /** Lets open requests finish for some seconds, then closes everything. */
  stop(): Promise<void>
}

/** Opens the store and serves. Throws `directoryInUse`, `diskFailed`, `invalidArgument`. */
export async function startChunkserver(options: ChunkserverOptions): Promise<Chunkserver> {
  const { directory, log } = options
  let onFailure: (error: DfsError) => void = () => undefined
  const failed = new Promise<DfsError>((resolve) => {
    onFailure = resolve
  })
  const store = await DiskChunkStore.open({ directory, log, onFailure })
  try {
    const removed = await removeTemporaryFiles(store.paths.incoming)
    log.info({ directory, ...store.totals, removed }, 'opened the chunk store')
    return await serve(options, store, failed)
  } catch (error) {
    await store.close()
    throw error
  }
}

async function serve(
  options: ChunkserverOptions,
  store: DiskChunkStore,
  failed: Promise<DfsError>,
): Promise<Chunkserver> {
  const { identity, dialer, log } = options
  const { caPem } = identity
  const tls: TlsIdentity = identity
  const tickets = new TicketKeys()
  const space = new DiskSpace(options.directory, options.reserveBytes)
  const peers = new ServerPeers({ dialer, identity: tls, caPem, log })
  const writes = new ChunkWrites({ server: identity.server, store, space, tickets, peers, log })
  const reads = new ChunkReads(store, tickets)
  const load = (): number => writes.inProgress.count + reads.inProgress.count
  const service = new MethodTable()
  service.handle(methods.writeChunk, (request, call) => writes.serve(request, call))
  service.handle(methods.readChunk, (request, call) => reads.serve(request, call))
  service.handle(methods.fetchChunk, (request, call) => reads.serveFetch(request, call))
  service.handle(methods.ping, () => ({}))
  const listener = await listen({ address: options.listen, identity: tls, caPem, service, log })
  const repair = createRepair(options, store, space)
  const registration = new Registration({
    dialer,
    metadata: await MetadataServers.load(options.directory, options.metadata, log),
    identity,
    rack: options.rack,
    addresses: addressesOf(options, listener.address),
    store,
    storeId: store.index.id,
    space,
    tickets,
    service: repair.service,
    load,
    log,
  })
  registration.start()
  const background = startBackground(options, store, load)
  const status = new StatusLog(log, () => ({
    ...store.totals,
    writes: writes.inProgress.total,
    reads: reads.inProgress.total,
    copies: repair.copies.inProgress.total,
    ticketsRefused: tickets.refused,
    damageFound: store.damageFound,
  }))
  return {
    address: listener.address,
    failed,
    stop: () =>
      stopAll({ registration, listener, background, writes, reads, repair, peers, store, status }),
  }
}

function addressesOf(options: ChunkserverOptions, bound: string): readonly string[] {
  if (options.advertise !== undefined) return [options.advertise]
  if (options.advertiseHosts.length === 0) return [bound]
  const port = bound.slice(bound.lastIndexOf(':') + 1)
  return options.advertiseHosts.map((host) => `${host}:${port}`)
}

/** What is done for the metadata server, over the connection that this one made. */
interface Repair {
  readonly service: Service
  readonly copies: ChunkCopies
  readonly checks: ChunkChecks
  /** Copies have connections of their own: what waits there for its rate holds up no write. */
  readonly peers: ServerPeers
}

function createRepair(
  { dialer, identity, copyBytesPerSecond, log }: ChunkserverOptions,
  store: DiskChunkStore,
  space: DiskSpace,
): Repair {
  const rate = new RateLimit(copyBytesPerSecond)
  const peers = new ServerPeers({ dialer, identity, caPem: identity.caPem, log })
  const copies = new ChunkCopies({ store, space, peers, rate, log })
  const checks = new ChunkChecks(store, rate)
  const service = new MethodTable()
  service.handle(methods.copyChunk, (request, call) => copies.serve(request, call))
  service.handle(methods.checkChunks, (request, call) => checks.serve(request, call))
  return { service, copies, checks, peers }
}

interface Background {
  stop(): Promise<void>
}

/** Looks for files that the index does not know, then scrubs. */
function startBackground(
  options: ChunkserverOptions,
  store: DiskChunkStore,
  load: () => number,
): Background {
  const { log } = options
  const scrub = new Scrub({ store, bytesPerSecond: options.scrubBytesPerSecond, load, log })
  const stopping = new AbortController()
  const recovering = recoverFiles(store, log, stopping.signal).then(
    (found) => {
      if (found.indexed + found.lost > 0) log.warn(found, 'looked at all chunk files')
      else log.debug(found, 'looked at all chunk files')
      if (!stopping.signal.aborted) scrub.start()
    },
    (error: unknown) => log.error({ err: error }, 'cannot look for chunk files without a record'),
  )
  return {
    async stop() {
      stopping.abort()
      await recovering
      await scrub.stop()
    },
  }
}

interface Parts {
  readonly registration: Registration
  readonly listener: Listener
  readonly background: Background
  readonly writes: ChunkWrites
  readonly reads: ChunkReads
  readonly repair: Repair
  readonly peers: ServerPeers
  readonly store: DiskChunkStore
  readonly status: StatusLog
}

/** In the order in which the parts need each other; the store last. */
async function stopAll(parts: Parts): Promise<void> {
  await parts.registration.stop()
  await parts.background.stop()
  await parts.listener.close(bounds.drainMs)
  // Handlers whose connection is gone still finish what they do on the disk.
  await parts.writes.inProgress.idle()
  await parts.reads.inProgress.idle()
  await parts.repair.copies.inProgress.idle()
  await parts.repair.checks.inProgress.idle()
  await parts.repair.peers.close()
  await parts.peers.close()
  parts.status.stop()
  await parts.store.close()
}
