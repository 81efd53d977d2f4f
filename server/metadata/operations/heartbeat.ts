/**
 * heartbeat: a chunkserver says how it is, what it deleted, and of which chunks it does not know
 * whether a file names them; back come orders and answers.
 *
 * Orders to delete are repeated until they are reported as carried out. An unconfirmed chunk is
 * confirmed when its record names this server; it is ordered to be deleted when no record does and no
 * commit can any more (plan-ages.ts has the argument); otherwise the chunkserver asks again later.
 */
import type { HeartbeatRequest, HeartbeatResponse } from '../../../schema/generated/cluster.ts'
import { refuse } from '../input.ts'
import type { Services } from '../services.ts'
import { counterNames } from '../store/counters.ts'
import { keys, parts, ranges } from '../store/keys.ts'
import { tables } from '../store/tables.ts'

/** Orders in one answer. */
const DELETES_MAX = 2_000
/** Chunks that a heartbeat may name, by list. */
const NAMED_MAX = 10_000

export async function heartbeat(
  server: number,
  request: HeartbeatRequest,
  services: Services,
): Promise<HeartbeatResponse> {
  const { deleted, unconfirmed } = request
  if (deleted.length > NAMED_MAX || unconfirmed.length > NAMED_MAX) {
    refuse(
      `a heartbeat names ${deleted.length} and ${unconfirmed.length} chunks; ${NAMED_MAX} each`,
    )
  }
  services.topology.heartbeat(server, request)
  if (deleted.length > 0) await recordDeleted(server, deleted, services)
  const { confirmed, unnamed } = await judge(server, unconfirmed, services)
  return {
    deletes: [...(await orders(server, services)), ...unnamed],
    confirmed,
    ticketKeys: services.ticketKeys.forChunkservers(),
    register: false,
  }
}

async function recordDeleted(
  server: number,
  deleted: readonly number[],
  { database }: Services,
): Promise<void> {
  const names = [...new Set(deleted)].map((chunk) => keys.delete(server, chunk))
  await database.write({}, async (txn) => {
    const ordered = await txn.getAll(tables.marks, names)
    let count = 0
    for (const [i, key] of names.entries()) {
      if (ordered[i] === undefined) continue
      txn.delete(tables.marks, key)
      count++
    }
    txn.add(counterNames.deletes(server), -count)
  })
}

async function orders(server: number, { database }: Services): Promise<number[]> {
  if (database.counters.get(counterNames.deletes(server)) === 0) return []
  const page = await database.durableRange(ranges.deletes(server), DELETES_MAX)
  return page.map(({ key }) => parts.serversChunk(key))
}

async function judge(
  server: number,
  unconfirmed: readonly number[],
  { database, planAges, clock, chunkIds }: Services,
): Promise<{ confirmed: number[]; unnamed: number[] }> {
  if (unconfirmed.length === 0) return { confirmed: [], unnamed: [] }
  planAges.observe(clock.nowMs(), chunkIds.next)
  const dead = unconfirmed.filter((chunk) => planAges.dead(chunk))
  return database.read(async (txn) => {
    const records = await txn.getAll(
      tables.chunks,
      unconfirmed.map((chunk) => keys.chunk(chunk)),
    )
    const confirmed = unconfirmed.filter((_, i) => records[i]?.servers.includes(server) === true)
    const named = new Set(confirmed)
    return { confirmed, unnamed: dead.filter((chunk) => !named.has(chunk)) }
  })
}
