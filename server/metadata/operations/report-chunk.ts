/**
 * reportChunk: a client could not read a replica, or what it read did not verify. Needs the read
 * ticket, so that nobody reports what is not theirs. Nobody is believed either: the chunkserver is
 * asked to read its copy, and what it finds counts.
 */
import type { Empty, ReportChunkRequest } from '../../../schema/generated/metadata.ts'
import { methods } from '../../../schema/methods.ts'
import { Rights } from '../../ticket.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Query } from './operation.ts'

/** Characters of the reason that are logged. */
const REASON_MAX = 200

export const reportChunk: Query<ReportChunkRequest, Empty> = {
  method: methods.reportChunk,
  async run(txn, { chunk, server, reason, ticket }, caller, { ticketKeys, repairs, log }) {
    ticketKeys.verify(ticket, chunk, Rights.read)
    log.warn(
      { chunk, server, user: caller.user, reason: reason.slice(0, REASON_MAX) },
      'a client could not use a replica; its chunkserver is asked to read it',
    )
    const record = await txn.get(tables.chunks, keys.chunk(chunk))
    if (record?.servers.includes(server) === true) repairs.suspected(server, chunk)
    return {}
  },
}
