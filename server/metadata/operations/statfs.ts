/**
 * statfs: the room there is, as a user sees it: bytes of files, each stored in all its replicas; with
 * a quota, no more than the quota.
 */
import type { StatfsRequest, StatfsResponse } from '../../../schema/generated/metadata.ts'
import { methods } from '../../../schema/methods.ts'
import { counterNames } from '../store/counters.ts'
import type { Query } from './operation.ts'

/** The most that a message can say: 9 PB. A larger cluster says so much. */
const TOLD_BYTES_MAX = Number.MAX_SAFE_INTEGER

export const statfs: Query<StatfsRequest, StatfsResponse> = {
  method: methods.statfs,
  run(_txn, _request, { user, quotaBytes }, { database, topology, policy }) {
    const usedBytes = database.counters.get(counterNames.userBytes(user))
    const space = topology.space()
    const free = Math.floor(space.freeBytes / policy.replicas)
    const total = Math.floor(space.totalBytes / policy.replicas)
    return {
      totalBytes: Math.min(total, quotaBytes, TOLD_BYTES_MAX),
      freeBytes: Math.min(free, Math.max(0, quotaBytes - usedBytes), TOLD_BYTES_MAX),
      inodes: database.counters.get(counterNames.userInodes(user)),
      quotaBytes: quotaBytes === Infinity ? 0 : quotaBytes,
      usedBytes,
    }
  },
}
