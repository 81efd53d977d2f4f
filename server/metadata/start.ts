/**
 * Starts a metadata server on its directory and stops it. Start-up opens the store and reads what
 * grows with users and chunkservers, never what grows with files.
 */
import { listen } from '../../schema/quic/listener.ts'
import type { Listener } from '../../schema/quic/api.ts'
import type { Log } from '../../schema/rpc/api.ts'
import { MethodTable } from '../../schema/rpc/method-table.ts'
import type { OrderedStore } from '../store/ordered-store.ts'
import { openRocksStore } from '../store/rocks-store.ts'
import type { AdmissionBounds } from './admission.ts'
import { Clock } from './clock.ts'
import { clusterPaths, readIdentity, readPolicy, writeAddresses } from './cluster-files.ts'
import { Housekeeping } from './housekeeping.ts'
import { openServices } from './open-services.ts'
import { serveMetadata } from './server.ts'
import type { Services } from './services.ts'
import { Database } from './store/database.ts'
import { migrate } from './store/schema-version.ts'

/** Bytes of decoded records kept in memory. */
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
  const store = await openRocksStore(paths.store)
  const database = await openDatabase(store, options)
  let services: Services | undefined
  let listener: Listener | undefined
  try {
    const authority = await readIdentity(paths.authority)
    services = await openServices(database, {
      policy,
      authority,
      log,
      clock: new Clock(),
      ...(options.admission === undefined ? {} : { admission: options.admission }),
    })
    const service = new MethodTable()
    serveMetadata(service, services)
    await services.purger.start(services.holds)
    listener = await listen({
      address: options.listen,
      identity: await readIdentity(paths.identity),
      caPem: authority.certificatePem,
      service,
      log,
    })
    await writeAddresses(dir, options.advertise?.(listener.address) ?? [listener.address])
  } catch (error) {
    await listener?.close(0)
    await services?.purger.stop()
    await database.close()
    throw error
  }
  const housekeeping = new Housekeeping(services)
  housekeeping.start()
  return running(listener, housekeeping, services)
}

async function openDatabase(
  store: OrderedStore,
  { log, onFailure }: Pick<StartOptions, 'log' | 'onFailure'>,
): Promise<Database> {
  try {
    await migrate(store, { log })
    return await Database.open(store, { cacheBytes: RECORD_CACHE_BYTES, onFailure })
  } catch (error) {
    await store.close()
    throw error
  }
}

function running(
  listener: Listener,
  housekeeping: Housekeeping,
  { purger, userRemoval, database }: Services,
): MetadataServer {
  return {
    address: listener.address,
    async stop() {
      await listener.close(DRAIN_MS)
      await housekeeping.stop()
      await userRemoval.stop()
      await purger.stop()
      await database.close()
    },
  }
}
