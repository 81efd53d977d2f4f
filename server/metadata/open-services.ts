/**
 * Opens what the operations work with, on an open database: reads users' counters, sessions and
 * chunkservers; never anything that grows with files.
 */
import * as opaque from '@serenity-kit/opaque'
import { DfsError } from '../../schema/wire/status.ts'
import { Admission, type AdmissionBounds } from './admission.ts'
import { BackgroundTurns } from './background-turns.ts'
import { DeleteOrders } from './delete-orders.ts'
import { Holds } from './holds.ts'
import { Leases } from './leases.ts'
import { LoginLimits } from './login-limits.ts'
import { PlanAges } from './plan-ages.ts'
import { Purger } from './purger.ts'
import { Primary } from './standby/primary.ts'
import { LOST_AFTER_MS, Repairs } from './repair/repairs.ts'
import { ServerLinks } from './server-links.ts'
import type { Services } from './services.ts'
import { Sessions } from './sessions.ts'
import type { Database } from './store/database.ts'
import { keys, ranges } from './store/keys.ts'
import { requireCurrent, SCHEMA_VERSION } from './store/schema-version.ts'
import { Sequence } from './store/sequences.ts'
import { tables } from './store/tables.ts'
import { TicketKeys } from './ticket-keys.ts'
import { Topology } from './topology.ts'
import { UserRemoval } from './user-removal.ts'

const PAGE = 1_000

/**
 * Opens everything. Throws `versionMismatch` for a store that another version of this program wrote.
 */
export async function openServices(
  database: Database,
  {
    policy,
    authority,
    log,
    clock,
    admission,
    lostAfterMs = LOST_AFTER_MS,
  }: Pick<Services, 'policy' | 'authority' | 'log' | 'clock'> & {
    readonly admission?: AdmissionBounds
    /** Milliseconds of silence after which a chunkserver counts as lost. */
    readonly lostAfterMs?: number
  },
): Promise<Services> {
  await opaque.ready
  const opaqueSetup = await openCluster(database)
  const background = new BackgroundTurns()
  const purger = new Purger(database, background, log)
  const holds = new Holds((inode) => {
    purger.reap(inode).catch((error: unknown) => {
      if (!(error instanceof DfsError)) throw error
      log.warn({ inode, code: error.code }, 'an orphan is not removed yet; it will be tried again')
    })
  })
  const topology = new Topology(clock)
  await loadServers(database, topology, log)
  const ids = await Sequence.open(database, 'sessions')
  const leaseIds = await Sequence.open(database, 'leases')
  const leases = new Leases({ nextId: () => leaseIds.tryTake(), log })
  const sessions = new Sessions({ database, holds, leases, ids, clock, log })
  await sessions.load()
  const userRemoval = new UserRemoval({ database, purger, holds, log })
  await userRemoval.load()
  const ticketKeys = await TicketKeys.open(database, clock)
  const links = new ServerLinks()
  const { replicas } = policy
  const common = { database, topology, links, ticketKeys, clock, log }
  const repairs = new Repairs({ ...common, replicas, lostAfterMs })
  return {
    database,
    policy,
    authority,
    opaqueSetup,
    clock,
    log,
    admission: new Admission(log, admission),
    background,
    inodeIds: await Sequence.open(database, 'inodes'),
    chunkIds: await Sequence.open(database, 'chunks'),
    holds,
    leases,
    sessions,
    topology,
    ticketKeys,
    planAges: new PlanAges(await keptSinceRestore(database, log)),
    loginLimits: new LoginLimits(clock),
    links,
    deleteOrders: new DeleteOrders(database),
    repairs,
    purger,
    primary: new Primary({ database, authority, policy, log }),
    userRemoval,
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
  requireCurrent(known.schemaVersion)
  return known.opaqueSetup
}

/** The first chunk id that was not given out before the last restore, while such chunks are kept. */
async function keptSinceRestore(database: Database, log: Services['log']): Promise<number> {
  const restored = await database.read((txn) => txn.get(tables.restored, keys.restored))
  if (restored === undefined || restored.keepBelow === 0) return 0
  const backedUp = new Date(Number(restored.backedUp / 1_000_000n)).toISOString()
  log.warn(
    { backedUp },
    'restored from a backup: chunks that no file names are kept until dfs-metadata release-unknown',
  )
  return restored.keepBelow
}

async function loadServers(
  database: Database,
  topology: Topology,
  log: Services['log'],
): Promise<void> {
  let after: Buffer | undefined
  for (;;) {
    const page = await database.durablePage(ranges.servers, PAGE, after)
    for (const { value } of page.entries) topology.put(tables.servers.decode(value))
    for (const key of page.damaged) {
      const server = key.readUInt32BE(1)
      log.error({ server }, 'the record of a chunkserver is damaged; it cannot register')
    }
    after = page.last
    if (after === undefined || !page.more) return
  }
}
