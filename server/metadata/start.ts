/**
 * Starts a metadata server on its directory and stops it. Start-up opens the store and reads what
 * grows with users and chunkservers, never what grows with files.
 */
import { existsSync } from 'node:fs'
import { methods } from '../../schema/methods.ts'
import { Dialer } from '../../schema/quic/dialer.ts'
import { listen } from '../../schema/quic/listener.ts'
import type { Listener } from '../../schema/quic/api.ts'
import type { Log } from '../../schema/rpc/api.ts'
import { MethodTable } from '../../schema/rpc/method-table.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { openRocksStore } from '../store/rocks-store.ts'
import type { AdmissionBounds } from './admission.ts'
import { Clock } from './clock.ts'
import { clusterPaths, readIdentity, readPolicy, writeAddresses } from './cluster-files.ts'
import { Housekeeping } from './housekeeping.ts'
import { openServices } from './open-services.ts'
import { readHistory, Role } from './standby/history.ts'
import { Contact } from './standby/contact.ts'
import { finishCopy } from './standby/standby-files.ts'
import { serveMetadata } from './server.ts'
import type { Services } from './services.ts'
import { Database } from './store/database.ts'
import { migrate } from './store/schema-version.ts'

/** Bytes of records kept in memory. */
const RECORD_CACHE_BYTES = 128 * 1_048_576
/** Milliseconds that open requests get when the server stops. */
const DRAIN_MS = 5_000

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
  /** What users may ask at a time; the defaults suit everyday use. */
  readonly admission?: AdmissionBounds
  /** Milliseconds of silence after which a chunkserver's chunks are copied elsewhere. */
  readonly lostAfterMs?: number
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
 * Opens the store and listens. Throws `notFound` (no cluster there), `directoryInUse`, `notPrimary` (a
 * standby's directory, or another server was promoted), or why it cannot listen.
 */
export async function startMetadataServer(options: StartOptions): Promise<MetadataServer> {
  const { dir, log } = options
  const policy = await readPolicy(dir)
  const paths = clusterPaths(dir)
  const database = await openDatabase(options)
  const dialer = new Dialer({ log })
  let services: Services | undefined
  let contact: Contact | undefined
  let listener: Listener | undefined
  try {
    const authority = await readIdentity(paths.authority)
    const identity = await readIdentity(paths.identity)
    const caPem = authority.certificatePem
    const { admission, lostAfterMs } = options
    services = await openServices(database, {
      policy,
      authority,
      log,
      clock: new Clock(),
      ...(admission !== undefined && { admission }),
      ...(lostAfterMs !== undefined && { lostAfterMs }),
    })
    const { primary, purger, holds } = services
    contact = new Contact({ primary, commitLog: database.log, dialer, identity, caPem, log })
    await contact.ask()
    if (database.log.superseded !== undefined) throw database.log.superseded
    const service = new MethodTable()
    serveMetadata(service, services)
    await purger.start(holds)
    database.log.begin()
    listener = await listen({ address: options.listen, identity, caPem, service, log })
    primary.reachedAt = options.advertise?.(listener.address) ?? [listener.address]
    await writeAddresses(dir, primary.reachedAt)
  } catch (error) {
    await listener?.close(0)
    database.log.end()
    await contact?.stop()
    await services?.purger.stop()
    await database.close()
    await dialer.close()
    throw error
  }
  return running({ listener, contact, dialer, services })
}

async function openDatabase({ dir, log, onFailure }: StartOptions): Promise<Database> {
  const paths = clusterPaths(dir)
  await finishCopy(dir)
  const store = await openRocksStore(paths.store)
  try {
    const role = (await readHistory(store))?.role
    if (role === Role.standby || (role === undefined && existsSync(paths.standby))) {
      const detail = `${dir} is a standby's; run dfs-metadata standby, or promote it first`
      throw new DfsError('notPrimary', detail)
    }
    if (role === Role.superseded) {
      const detail = `another metadata server took the place of ${dir}; make this one its standby with dfs-metadata standby`
      throw new DfsError('notPrimary', detail)
    }
    await migrate(store, { log })
    return await Database.open(store, { cacheBytes: RECORD_CACHE_BYTES, onFailure })
  } catch (error) {
    await store.close()
    throw error
  }
}

interface Parts {
  readonly listener: Listener
  readonly contact: Contact
  readonly dialer: Dialer
  readonly services: Services
}

function running({ listener, contact, dialer, services }: Parts): MetadataServer {
  const { purger, userRemoval, repairs, database, primary, log } = services
  const housekeeping = new Housekeeping(services)
  housekeeping.start()
  primary.onSuperseded = () => void repairs.stop()
  if (database.log.superseded === undefined) repairs.start()
  contact.start()
  primary.onAddresses = () => {
    for (const connection of services.sessions.connections()) {
      const told = { addresses: primary.addresses }
      connection.call(methods.metadataServers, told).catch((error: unknown) => {
        log.debug(
          { err: error, client: connection.peer.address },
          'a client was not told of the standby',
        )
      })
    }
  }
  return {
    address: listener.address,
    async stop() {
      await listener.close(DRAIN_MS)
      // Nobody is answered any more.
      database.log.end()
      await contact.stop()
      await repairs.stop()
      await housekeeping.stop()
      await userRemoval.stop()
      await purger.stop()
      await database.close()
      await dialer.close()
    },
  }
}
