/**
 * heartbeat: a chunkserver says how it is, what it deleted, and of which chunks it does not know
 * whether a file names them; back come orders and answers.
 *
 * Orders to delete are repeated until they are reported as carried out. An unconfirmed chunk is
 * confirmed when its record names this server, or lacks replicas and does from now on: after a restore
 * the record may be older than the copy. It is ordered to be deleted when no record does and no commit
 * can any more (plan-ages.ts has the argument); otherwise the chunkserver asks again later. A
 * damaged copy is replaced from another one (repair/), and kept until there are enough others.
 */
import type { HeartbeatRequest, HeartbeatResponse } from '../../../schema/generated/cluster.ts'
import { refuse } from '../input.ts'
import { deleteOrdered, isNeeded, orderDeleteOnce, place } from '../repair/chunk-repair.ts'
import type { Services } from '../services.ts'
import { counterNames } from '../store/counters.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import { HEARTBEAT_MS } from '../topology.ts'

/** Orders in one answer. */
const DELETES_MAX = 2_000
/** Orders in the answers of a second to all servers together: each is read and encoded anew. */
const DELETES_PER_SECOND = 20_000
/** However many servers there are. */
const DELETES_MIN = 16
/** Damaged copies dealt with in one heartbeat; the chunkserver repeats the others. */
const DAMAGED_MAX = 256
/** Orders that are written off as carried out in one transaction. */
const DELETED_AT_ONCE = 256
/** Chunks that a heartbeat may name, by list. */
const NAMED_MAX = 10_000

export async function heartbeat(
  server: number,
  request: HeartbeatRequest,
  services: Services,
): Promise<HeartbeatResponse> {
  const { deleted, unconfirmed, damaged } = request
  if (Math.max(deleted.length, unconfirmed.length, damaged.length) > NAMED_MAX) {
    refuse(`a heartbeat lists more than ${NAMED_MAX} chunks of one kind`)
  }
  services.topology.heartbeat(server, request)
  services.planAges.observe(services.clock.nowMs(), services.chunkIds.next)
  await recordDeleted(server, [...new Set(deleted)], services)
  // The standby is away, and no change is taken: the chunkserver says it again.
  const waits = services.database.log.writeRefusal() !== undefined
  if (damaged.length > 0 && !waits) {
    await services.repairs.damaged(server, [...new Set(damaged)].slice(0, DAMAGED_MAX))
  }
  const confirmed = waits ? [] : await judge(server, request, services)
  return {
    deletes: await orders(server, services),
    confirmed,
    ticketKeys: services.ticketKeys.forChunkservers(),
    register: false,
    metadata: services.primary.addresses,
  }
}

async function recordDeleted(
  server: number,
  deleted: readonly number[],
  services: Services,
): Promise<void> {
  const slices: number[][] = []
  for (let at = 0; at < deleted.length; at += DELETED_AT_ONCE) {
    slices.push(deleted.slice(at, at + DELETED_AT_ONCE))
  }
  await Promise.all(
    slices.map(async (chunks) => {
      await services.background.next(chunks.length)
      await writeOff(server, chunks, services)
    }),
  )
}

function writeOff(
  server: number,
  chunks: readonly number[],
  { database, deleteOrders }: Services,
): Promise<void> {
  const isKnown = (chunk: number): boolean => deleteOrders.has(server, chunk)
  return database.write({}, async (txn) => {
    const known = chunks.filter(isKnown)
    txn.guard(() => known.every(isKnown))
    const others = chunks.filter((chunk) => !isKnown(chunk))
    const damaged = new Set<number>()
    const marks = await txn.getAll(
      tables.deletes,
      others.map((chunk) => keys.delete(server, chunk)),
      (i) => damaged.add(i),
    )
    const stored = others.filter((_, i) => marks[i] === true || damaged.has(i))
    const ordered = [...known, ...stored]
    for (const chunk of ordered) txn.delete(tables.deletes, keys.delete(server, chunk))
    txn.add(counterNames.deletes(server), -ordered.length)
  })
}

async function orders(server: number, services: Services): Promise<number[]> {
  const { database, deleteOrders, topology } = services
  const share = Math.floor((DELETES_PER_SECOND * HEARTBEAT_MS) / 1_000 / topology.size)
  const limit = Math.max(DELETES_MIN, Math.min(DELETES_MAX, share))
  const chunks = await deleteOrders.durable(server, limit)
  // A standby that is promoted without these deletions still has files with these chunks.
  return chunks.length > 0 && !(await database.log.covered()) ? [] : chunks
}

/**
 * Returns those that a record places there, now at the latest: a copy that no record knows is welcome
 * where one is lacking. Has those deleted that no record needs and no commit can name any more.
 */
async function judge(
  server: number,
  { unconfirmed, damaged }: HeartbeatRequest,
  { database, planAges, topology, policy }: Services,
): Promise<number[]> {
  if (unconfirmed.length === 0) return []
  const dead = new Set(unconfirmed.filter((chunk) => planAges.dead(chunk)))
  const bad = new Set(damaged)
  const view = { topology, wanted: policy.replicas }
  return database.write({}, async (txn) => {
    // Of a damaged record nobody knows whether it names this server: the chunkserver asks again.
    const unknown = new Set<number>()
    const records = await txn.getAll(
      tables.chunks,
      unconfirmed.map((chunk) => keys.chunk(chunk)),
      (i) => unknown.add(unconfirmed[i] ?? 0),
    )
    const confirmed: number[] = []
    for (const [i, chunk] of unconfirmed.entries()) {
      const record = records[i]
      if (unknown.has(chunk)) continue
      if (record?.servers.includes(server) === true) {
        confirmed.push(chunk)
      } else if (record !== undefined && record.repair > 0) {
        if (bad.has(chunk) || (await deleteOrdered(txn, server, chunk))) continue
        place(txn, { chunk, server }, record, view)
        confirmed.push(chunk)
      } else if (dead.has(chunk) && !isNeeded(record, view)) {
        // Queued, not just answered: a copy for repair must see that the chunk is going.
        await orderDeleteOnce(txn, server, chunk)
      }
    }
    return confirmed
  })
}
