/**
 * What an operator asks of a running metadata server, from the test's own process: a process for each
 * question would be most of what the machine does. The commands have tests of their own.
 */
import { ask } from '../../bin/metadata/operator.ts'
import type { ReplicationStatusResponse } from '../../schema/generated/replication.ts'
import type { ClusterStatusResponse } from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'

/** The server's role, and how its standby follows. */
export const replicationOf = (dir: string): Promise<ReplicationStatusResponse> =>
  ask(dir, methods.replicationStatus, { epoch: 0, epochProof: new Uint8Array(0) })

export const clusterStatusOf = (dir: string): Promise<ClusterStatusResponse> =>
  ask(dir, methods.clusterStatus, {})
