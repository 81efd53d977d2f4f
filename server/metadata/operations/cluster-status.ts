/**
 * clusterStatus: the cluster as a status page shows it. Open to every user: it tells of servers and
 * sums, nothing of anybody's files.
 */
import type { ClusterStatusResponse, ServerStatus } from '../../../schema/generated/metadata.ts'
import type { Services } from '../services.ts'
import { REPLICAS_LEFT_MAX } from '../repair/chunk-repair.ts'
import { counterNames } from '../store/counters.ts'
import type { ServerState } from '../topology.ts'

/** The version that `dfs status` shows. */
const VERSION = '0.1.0'

export async function clusterStatus(services: Services): Promise<ClusterStatusResponse> {
  const { database, policy, topology, repairs, startedNs } = services
  const states = [...topology.all()].sort((a, b) => a.record.id - b.record.id)
  const servers: ServerStatus[] = []
  for (const state of states) servers.push(await serverStatus(state, services))
  const waiting = waitingForReplicas(services)
  return {
    cluster: policy.cluster,
    version: VERSION,
    started: startedNs,
    servers,
    users: database.counters.get(counterNames.users),
    inodes: database.counters.get(counterNames.inodes),
    chunks: database.counters.get(counterNames.chunks),
    replicas: policy.replicas,
    writeQuorum: policy.writeQuorum,
    underReplicated: waiting.reduce((sum, chunks) => sum + chunks, 0),
    lostChunks: waiting[0] ?? 0,
    copying: repairs.status.copying,
  }
}

/** Chunks that wait for replicas, by how many they have left. */
export function waitingForReplicas({ database: { counters } }: Services): number[] {
  return Array.from({ length: REPLICAS_LEFT_MAX + 1 }, (_, left) =>
    counters.get(counterNames.repairs(left)),
  )
}

async function serverStatus(state: ServerState, services: Services): Promise<ServerStatus> {
  const { clock, database } = services
  const { id, rack, addresses } = state.record
  return {
    id,
    rack,
    addresses,
    state: await stateName(state, services),
    usedBytes: state.usedBytes,
    freeBytes: state.freeBytes,
    chunks: state.chunks,
    heartbeatAgeMs:
      state.lastHeartbeatMs === undefined
        ? clock.nowMs() - Number(state.record.joined / 1_000_000n)
        : clock.nowMs() - state.lastHeartbeatMs,
    deletesQueued: database.counters.get(counterNames.deletes(id)),
  }
}

async function stateName(state: ServerState, { topology, repairs }: Services): Promise<string> {
  const { id, revoked, lost, draining } = state.record
  if (revoked) return 'revoked'
  if (draining && (await repairs.empty(id))) return 'drained'
  if (lost) return 'lost'
  if (!topology.alive(state)) return 'silent'
  if (draining) return 'draining'
  return state.full ? 'full' : 'alive'
}
