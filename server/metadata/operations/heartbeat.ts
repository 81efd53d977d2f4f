/**
 * heartbeat: a chunkserver says how it is, what it deleted, and of which chunks it does not know
 * whether a file names them; back come orders and answers.
 *
 * Orders to delete are repeated until they are reported as carried out. An unconfirmed chunk is
 * confirmed when its record names this server; it is ordered to be deleted when no record does and no
 * commit can any more (plan-ages.ts has the argument); otherwise the chunkserver asks again later. A
 * damaged copy is forgotten and ordered to be deleted, but only while a living server has another.
 */
import type { HeartbeatRequest, HeartbeatResponse } from '../../../schema/generated/cluster.ts'
import { orderDelete } from '../chunk-references.ts'
import { refuse } from '../input.ts'
import type { Services } from '../services.ts'
import { counterNames } from '../store/counters.ts'
import { keys, parts, ranges } from '../store/keys.ts'
import { keysOf } from '../store/page.ts'
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
  if (deleted.length > 0) await recordDeleted(server, deleted, services)
  if (damaged.length > 0) await forgetDamaged(server, damaged, services)
  const { confirmed, unnamed } = await judge(server, unconfirmed, services)
  return {
    deletes: [...(await orders(server, services)), ...unnamed],
    confirmed,
    ticketKeys: services.ticketKeys.forChunkservers(),
    register: false,
    metadata: services.primary.addresses,
  }
}

async function recordDeleted(
  server: number,
  deleted: readonly number[],
  { database }: Services,
): Promise<void> {
  const names = [...new Set(deleted)].map((chunk) => keys.delete(server, chunk))
  await database.write({}, async (txn) => {
    const damaged = new Set<number>()
    const ordered = await txn.getAll(tables.marks, names, (i) => damaged.add(i))
    let count = 0
    for (const [i, key] of names.entries()) {
      if (ordered[i] === undefined && !damaged.has(i)) continue
      txn.delete(tables.marks, key)
      count++
    }
    txn.add(counterNames.deletes(server), -count)
  })
}

async function forgetDamaged(
  server: number,
  damaged: readonly number[],
  { database, topology, log }: Services,
): Promise<void> {
  const alive = (id: number): boolean => {
    const state = topology.get(id)
    return state !== undefined && topology.alive(state)
  }
  const chunks = [...new Set(damaged)].slice(0, DAMAGED_MAX)
  const outcome = await database.write({}, async (txn) => {
    const [last, forgotten]: [number[], number[]] = [[], []]
    const records = await txn.getAll(
      tables.chunks,
      chunks.map((chunk) => keys.chunk(chunk)),
      (i) => log.error({ chunk: chunks[i], server }, 'the record of a damaged chunk is damaged'),
    )
    for (const [i, chunk] of chunks.entries()) {
      const record = records[i]
      if (record === undefined || !record.servers.includes(server)) continue
      const servers = record.servers.filter((id) => id !== server)
      if (!servers.some(alive)) {
        last.push(chunk)
        continue
      }
      txn.put(tables.chunks, keys.chunk(chunk), { ...record, servers })
      txn.delete(tables.marks, keys.serverChunk(server, chunk))
      orderDelete(txn, server, chunk)
      forgotten.push(chunk)
    }
    return { last, forgotten }
  })
  for (const chunk of outcome.last) {
    log.error({ chunk, server }, 'a copy is damaged and no other is on a living server')
  }
  for (const chunk of outcome.forgotten) {
    log.warn({ chunk, server }, 'a damaged copy is deleted; the chunk has one replica less')
  }
}

async function orders(server: number, { database, topology }: Services): Promise<number[]> {
  if (database.counters.get(counterNames.deletes(server)) === 0) return []
  const share = Math.floor((DELETES_PER_SECOND * HEARTBEAT_MS) / 1_000 / topology.size)
  const limit = Math.max(DELETES_MIN, Math.min(DELETES_MAX, share))
  const page = await database.durablePage(ranges.deletes(server), limit)
  // A standby that is promoted without these deletions still has files with these chunks.
  if (keysOf(page).length > 0 && !(await database.log.covered())) return []
  return keysOf(page).map((key) => parts.serversChunk(key))
}

async function judge(
  server: number,
  unconfirmed: readonly number[],
  { database, planAges }: Services,
): Promise<{ confirmed: number[]; unnamed: number[] }> {
  if (unconfirmed.length === 0) return { confirmed: [], unnamed: [] }
  const dead = unconfirmed.filter((chunk) => planAges.dead(chunk))
  return database.read(async (txn) => {
    // Of a damaged record nobody knows whether it names this server: the chunkserver asks again.
    const unknown = new Set<number>()
    const records = await txn.getAll(
      tables.chunks,
      unconfirmed.map((chunk) => keys.chunk(chunk)),
      (i) => unknown.add(unconfirmed[i] ?? 0),
    )
    const confirmed = unconfirmed.filter((_, i) => records[i]?.servers.includes(server) === true)
    const named = new Set(confirmed)
    return { confirmed, unnamed: dead.filter((chunk) => !named.has(chunk) && !unknown.has(chunk)) }
  })
}
