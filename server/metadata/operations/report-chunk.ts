/**
 * reportChunk: a client could not read a replica, or what it read did not verify. Needs the read
 * ticket, so that nobody reports what is not theirs. The report goes to the log; a chunkserver finds
 * damage for itself when it serves or scrubs a chunk.
 */
import type { Empty, ReportChunkRequest } from '../../../schema/generated/metadata.ts'
import { methods } from '../../../schema/methods.ts'
import { Rights } from '../../ticket.ts'
import type { Query } from './operation.ts'

/** Characters of the reason that are logged. */
const REASON_MAX = 200

export const reportChunk: Query<ReportChunkRequest, Empty> = {
  method: methods.reportChunk,
  run(_txn, { chunk, server, reason, ticket }, caller, { ticketKeys, log }) {
    ticketKeys.verify(ticket, chunk, Rights.read)
    log.warn(
      { chunk, server, user: caller.user, reason: reason.slice(0, REASON_MAX) },
      'a client could not use a replica; check this chunkserver (dfs-chunkserver check)',
    )
    return {}
  },
}
