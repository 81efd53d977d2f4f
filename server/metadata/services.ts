/**
 * What the operations of the metadata server share.
 */
import type { Connection, Log } from '../../schema/rpc/api.ts'
import type { UserRecord } from '../../schema/generated/records.ts'
import type { Authority } from '../identity/certificates.ts'
import type { Admission } from './admission.ts'
import type { BackgroundTurns } from './background-turns.ts'
import type { Clock } from './clock.ts'
import type { DeleteOrders } from './delete-orders.ts'
import type { Holds } from './holds.ts'
import type { Leases } from './leases.ts'
import type { LoginLimits } from './login-limits.ts'
import type { PlanAges } from './plan-ages.ts'
import type { Purger } from './purger.ts'
import type { Repairs } from './repair/repairs.ts'
import type { ServerLinks } from './server-links.ts'
import type { Primary } from './standby/primary.ts'
import type { Session, Sessions } from './sessions.ts'
import type { Database } from './store/database.ts'
import type { Sequence } from './store/sequences.ts'
import type { TicketKeys } from './ticket-keys.ts'
import type { Topology } from './topology.ts'
import type { UserRemoval } from './user-removal.ts'

/** What was decided when the cluster was made. */
export interface ClusterPolicy {
  /** The cluster's id, CLUSTER_ID_BYTES. */
  readonly cluster: Buffer
  /** Replicas kept of a chunk. */
  readonly replicas: number
  /** Replicas that must be durable before a commit names a chunk. */
  readonly writeQuorum: number
}

export interface Services {
  readonly database: Database
  readonly policy: ClusterPolicy
  readonly authority: Authority
  readonly opaqueSetup: string
  readonly clock: Clock
  readonly log: Log
  readonly admission: Admission
  readonly background: BackgroundTurns
  readonly inodeIds: Sequence
  readonly chunkIds: Sequence
  readonly holds: Holds
  readonly leases: Leases
  readonly sessions: Sessions
  readonly topology: Topology
  readonly ticketKeys: TicketKeys
  readonly planAges: PlanAges
  readonly loginLimits: LoginLimits
  readonly links: ServerLinks
  readonly deleteOrders: DeleteOrders
  readonly repairs: Repairs
  readonly purger: Purger
  readonly primary: Primary
  readonly userRemoval: UserRemoval
  readonly startedNs: bigint
}

/** Whose request it is, once a session is open. */
export interface Caller {
  readonly user: number
  readonly session: Session
  /** Bytes that the user may store; Infinity without a quota. The operator may change it. */
  quotaBytes: number
}

/** The quota of a user as a caller has it. */
export function quotaOf({ quotaBytes }: UserRecord): number {
  return quotaBytes === 0 ? Infinity : quotaBytes
}

/** What a connection has proven of an account; worth nothing once what was proven is replaced. */
export type Proof =
  | { readonly by: 'password'; readonly user: number; readonly record: string }
  | { readonly by: 'recovery'; readonly user: number; readonly key: Uint8Array }

/** What a connection has shown so far. */
export interface ConnectionState {
  challenge?: Buffer | undefined
  login?:
    | {
        readonly user: number
        readonly name: string
        /** The OPAQUE record that the password is checked against. */
        readonly record: string
        readonly serverState: string
      }
    | undefined
  proof?: Proof
  caller?: Caller
  /** The chunkserver that has registered here. */
  registered?: number
}

/** The state of a connection, made at its first request. */
export function stateOf(connection: Connection): ConnectionState {
  connection.state ??= {}
  return connection.state as ConnectionState
}
