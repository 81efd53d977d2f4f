/**
 * The records of repair, inside transactions: which chunks wait for replicas, which copies are
 * damaged, which replicas are given up.
 *
 * The queue is in the store (keys `y`), ordered by how many replicas a chunk has left, so a kill
 * forgets nothing and memory does not grow with it. A chunk's own record says under which number it
 * is queued, so it stands there once.
 *
 * A chunk is given to a server only when no order to delete it from there is queued, and such an
 * order is queued only for a chunk that its record does not place there; both are decided in
 * transactions that read what the other changes. A chunkserver deletes only what the answer to its
 * last heartbeat orders, and reports it with a later one; until then the order stays queued. So no
 * late order can hit a replica that was made again.
 */
import type { PlacedChunkRecord } from '../../../schema/generated/records.ts'
import { orderDelete, requeue } from '../chunk-references.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'
import type { Topology } from '../topology.ts'
import { judge, type Replica } from './verdict.ts'

/** Where replicas stand and how many there should be. */
export interface RepairView {
  readonly topology: Topology
  /** Replicas wanted of each chunk. */
  readonly wanted: number
  /** A server that has just shown that it has the chunks in question. */
  readonly shown?: number
}

/** Replicas left are told apart up to this number. */
export const REPLICAS_LEFT_MAX = 7

export function replicasOf(
  { servers, damaged }: PlacedChunkRecord,
  { topology, shown }: RepairView,
): Replica[] {
  return servers.map((server) => {
    const state = topology.get(server)
    const record = state?.record
    return {
      server,
      rack: record?.rack ?? '',
      alive: state !== undefined && topology.alive(state),
      lost: record?.lost === true,
      gone: record === undefined || record.revoked,
      leaving: record?.draining === true,
      inventoried: server === shown || state?.inventoried === true,
      damaged: damaged.includes(server),
      freeBytes: state?.freeBytes ?? 0,
    }
  })
}

/** Outcome of looking at a chunk: what is worth a line in the log. */
export interface Settled {
  /** Good replicas on servers that are there. */
  readonly living: number
  readonly waits: boolean
}

/**
 * Looks at a chunk anew: queues it, takes it out of the queue, or gives up superfluous replicas.
 * `stored` is the record as it is, `wanted` what it shall say of servers and damage.
 */
export function settle(
  txn: Transaction,
  chunk: number,
  { stored, next }: { readonly stored: PlacedChunkRecord; readonly next: PlacedChunkRecord },
  view: RepairView,
): Settled {
  const { living, wanting, surplus } = judge(replicasOf(next, view), view.wanted)
  for (const server of surplus) {
    txn.delete(tables.marks, keys.serverChunk(server, chunk))
    // A server that never comes back takes no orders.
    if (view.topology.get(server)?.record.revoked === false) orderDelete(txn, server, chunk)
  }
  const repair = wanting ? Math.min(living, REPLICAS_LEFT_MAX) + 1 : 0
  requeue(txn, chunk, stored.repair, repair)
  const changed = stored !== next || repair !== stored.repair || surplus.length > 0
  if (changed) {
    const kept = (server: number): boolean => !surplus.includes(server)
    txn.put(tables.chunks, keys.chunk(chunk), {
      ...next,
      servers: next.servers.filter(kept),
      damaged: next.damaged.filter(kept),
      repair,
    })
  }
  return { living, waits: repair > 0 }
}

/** A server has a good copy of a chunk from now on: lets it count. */
export function place(
  txn: Transaction,
  { chunk, server }: { readonly chunk: number; readonly server: number },
  stored: PlacedChunkRecord,
  view: RepairView,
): void {
  const known = stored.servers.includes(server)
  const next = {
    ...stored,
    servers: known ? stored.servers : [...stored.servers, server],
    damaged: stored.damaged.filter((other) => other !== server),
  }
  txn.put(tables.marks, keys.serverChunk(server, chunk), true)
  settle(txn, chunk, { stored, next }, { ...view, shown: server })
}

/** Whether a copy that the record does not name may be of use: too few of those named are sure. */
export function isNeeded(record: PlacedChunkRecord | undefined, view: RepairView): boolean {
  if (record === undefined) return false
  const sure = replicasOf(record, view).filter(
    ({ alive, inventoried, lost, gone, leaving, damaged }) =>
      alive && inventoried && !lost && !gone && !leaving && !damaged,
  )
  return sure.length < view.wanted
}

/** Whether an order to delete a chunk from a server is queued; a damaged one counts. */
export async function deleteOrdered(
  txn: Transaction,
  server: number,
  chunk: number,
): Promise<boolean> {
  const key = keys.delete(server, chunk)
  const damaged: number[] = []
  const [mark] = await txn.getAll(tables.deletes, [key], (i) => damaged.push(i))
  return damaged.length > 0 || mark !== undefined
}

/** Queues the order to delete a chunk from a server, unless it is queued already. */
export async function orderDeleteOnce(
  txn: Transaction,
  server: number,
  chunk: number,
): Promise<void> {
  if (!(await deleteOrdered(txn, server, chunk))) orderDelete(txn, server, chunk)
}

/** The servers that a reader is sent to: those with a good copy that are not given up, if any. */
export function readableServers(record: PlacedChunkRecord, topology: Topology): readonly number[] {
  const { servers, damaged } = record
  const good = servers.filter((server) => {
    const state = topology.get(server)
    return !damaged.includes(server) && state !== undefined && !state.record.lost
  })
  return good.length > 0 ? good : servers
}
