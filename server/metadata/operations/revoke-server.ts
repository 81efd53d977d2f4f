/**
 * revokeServer: a chunkserver whose certificate is good no more. It is refused at registration and
 * heartbeat, gets no new chunks, and its addresses are handed out no more. It keeps what it has, which
 * is copied from other replicas; it also knows the ticket keys, so they are changed.
 *
 * Refused, unless forced, while it has the only replica of some chunk on a living server.
 */
import type {
  RevokeServerRequest,
  RevokeServerResponse,
} from '../../../schema/generated/metadata.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import type { Services } from '../services.ts'
import { keys, parts, ranges } from '../store/keys.ts'
import { keysOf } from '../store/page.ts'
import { tables } from '../store/tables.ts'

const PAGE = 1_000

export async function revokeServer(
  { server, force }: RevokeServerRequest,
  services: Services,
): Promise<RevokeServerResponse> {
  const { database, topology, ticketKeys, repairs, log } = services
  if (topology.get(server) === undefined) {
    throw new DfsError(
      'notFound',
      `there is no chunkserver ${server}; see dfs-metadata server list`,
    )
  }
  const lost = await onlyThere(server, services)
  if (lost > 0 && !force) {
    throw new DfsError(
      'notPermitted',
      `${lost} chunks would have no replica on a living server; repeat with --force to lose them`,
    )
  }
  await database.write({}, async (txn) => {
    const known = await txn.get(tables.servers, keys.server(server))
    if (known === undefined) throw new DfsError('notFound', `there is no chunkserver ${server}`)
    const record = { ...known, revoked: true }
    txn.put(tables.servers, keys.server(server), record)
    txn.afterDecision(() => topology.put(record))
  })
  await ticketKeys.replace()
  repairs.standingChanged(server)
  log.warn({ server, lost }, 'chunkserver revoked')
  return { lost }
}

/** Chunks of a server that no other living server has. */
async function onlyThere(server: number, { database, topology }: Services): Promise<number> {
  const alive = (id: number): boolean => {
    const state = topology.get(id)
    return id !== server && state !== undefined && topology.alive(state)
  }
  let lost = 0
  let after: Buffer | undefined
  for (;;) {
    const page = await database.durablePage(ranges.serverChunks(server), PAGE, after)
    const records = await database.read((txn) =>
      txn.getAll(
        tables.chunks,
        keysOf(page).map((key) => keys.chunk(parts.serversChunk(key))),
        // Nobody knows where else it is.
        () => lost++,
      ),
    )
    for (const record of records) {
      if (record !== undefined && !record.servers.some(alive)) lost++
    }
    after = page.last
    if (after === undefined || !page.more) return lost
  }
}
