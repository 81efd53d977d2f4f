/**
 * clusterStatus: the cluster as a status page shows it. Open to every user: it tells of servers and
 * sums, nothing of anybody's files.
 */
import type { ClusterStatusResponse, ServerStatus } from '../../../schema/generated/metadata.ts'
import type { Services } from '../services.ts'
import { counterNames } from '../store/counters.ts'
import type { ServerState, Topology } from '../topology.ts'

/** The version that `dfs status` shows. */
const VERSION = '0.1.0'

export function clusterStatus(services: Services): ClusterStatusResponse {
  const { database, policy, topology, startedNs } = services
  const servers = [...topology.all()]
    .sort((a, b) => a.record.id - b.record.id)
    .map((state) => serverStatus(state, services))
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
  }
}

function serverStatus(state: ServerState, { clock, database, topology }: Services): ServerStatus {
  const { id, rack, addresses } = state.record
  return {
    id,
    rack,
    addresses,
    state: stateName(state, topology),
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

function stateName(state: ServerState, topology: Topology): string {
  if (state.record.revoked) return 'revoked'
  if (!topology.alive(state)) return 'dead'
  return state.full ? 'full' : 'alive'
}
