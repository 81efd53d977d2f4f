/**
 * drainServer and removeServer: taking a chunkserver out of the cluster.
 *
 * A server that drains gets no new chunks and goes on serving; what it has is copied to others, and
 * given up there once enough of them have it. One that has nothing left, drained or revoked, can be
 * removed: its number is forgotten and never used again.
 */
import type { DrainServerRequest, RemoveServerRequest } from '../../../schema/generated/metadata.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import type { Services } from '../services.ts'
import { counterNames } from '../store/counters.ts'
import { keys, ranges } from '../store/keys.ts'
import { keysOf } from '../store/page.ts'
import { tables } from '../store/tables.ts'

const PAGE = 1_000

export async function drainServer(
  { server, drain }: DrainServerRequest,
  { database, topology, repairs, log }: Services,
): Promise<void> {
  await database.write({}, async (txn) => {
    const known = await txn.get(tables.servers, keys.server(server))
    if (known === undefined) throw unknownServer(server)
    if (known.revoked) throw new DfsError('notPermitted', `chunkserver ${server} is revoked`)
    const record = { ...known, draining: drain }
    txn.put(tables.servers, keys.server(server), record)
    txn.afterDecision(() => topology.put(record))
  })
  log.info({ server, drain }, drain ? 'chunkserver drains' : 'chunkserver stays')
  repairs.standingChanged(server)
}

export async function removeServer(
  { server }: RemoveServerRequest,
  { database, topology, repairs, log }: Services,
): Promise<void> {
  const state = topology.get(server)
  if (state === undefined) throw unknownServer(server)
  const { revoked, draining } = state.record
  if (!revoked && !draining) {
    throw new DfsError(
      'notPermitted',
      `chunkserver ${server} is in use: drain it first, or revoke it when it is gone for good`,
    )
  }
  if (topology.alive(state)) {
    throw new DfsError('notPermitted', `chunkserver ${server} is running; stop it first`)
  }
  if (!(await repairs.empty(server))) {
    throw new DfsError(
      'notPermitted',
      `chunks of chunkserver ${server} are not everywhere else yet; see dfs-metadata status`,
    )
  }
  await dropOrders(server, database)
  await database.write({}, async (txn) => {
    const record = await txn.get(tables.servers, keys.server(server))
    if (record === undefined) throw unknownServer(server)
    txn.delete(tables.servers, keys.server(server))
    txn.afterDecision(() => topology.remove(server))
  })
  log.info({ server }, 'chunkserver removed')
}

/** Orders to delete that it will never carry out, or that do not matter any more. */
async function dropOrders(server: number, database: Services['database']): Promise<void> {
  for (;;) {
    const page = await database.durablePage(ranges.deletes(server), PAGE)
    const orders = keysOf(page)
    if (orders.length === 0) return
    await database.write({}, async (txn) => {
      const damaged = new Set<number>()
      const marks = await txn.getAll(tables.deletes, orders, (i) => damaged.add(i))
      let count = 0
      for (const [i, key] of orders.entries()) {
        if (marks[i] === undefined && !damaged.has(i)) continue
        txn.delete(tables.deletes, key)
        count++
      }
      txn.add(counterNames.deletes(server), -count)
    })
  }
}

const unknownServer = (server: number): DfsError =>
  new DfsError('notFound', `there is no chunkserver ${server}; see dfs-metadata server list`)
