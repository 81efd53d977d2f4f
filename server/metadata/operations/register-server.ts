/**
 * register: a chunkserver says where it is, once on each connection. Its certificate says who it is.
 *
 * One that was lost, or that comes with another store than before, is asked which of its chunks it has
 * before what it says counts in full.
 */
import type { RegisterRequest, RegisterResponse } from '../../../schema/generated/cluster.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { refuse } from '../input.ts'
import type { Services } from '../services.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import { HEARTBEAT_MS } from '../topology.ts'
import { checkRack } from './join.ts'

const ADDRESSES_MAX = 8
const STORE_ID_BYTES_MAX = 64
const NO_BYTES = new Uint8Array(0)

export async function registerServer(
  server: number,
  request: RegisterRequest,
  { database, topology, ticketKeys, primary, repairs, log }: Services,
): Promise<RegisterResponse> {
  const { rack, addresses, totalBytes } = request
  await primary.heard(request)
  checkRack(rack)
  if (addresses.length === 0 || addresses.length > ADDRESSES_MAX) {
    refuse(`${addresses.length} addresses; a chunkserver has 1 to ${ADDRESSES_MAX}`)
  }
  if (request.store.length > STORE_ID_BYTES_MAX) refuse('the id of a store is too long')
  if (addresses.some((address) => Buffer.byteLength(address) > limits.addressBytesMax)) {
    refuse(`an address has at most ${limits.addressBytesMax} bytes`)
  }
  const trusted = await database.write({}, async (txn) => {
    const known = await txn.get(tables.servers, keys.server(server))
    if (known === undefined) {
      throw new DfsError('serverUnknown', `chunkserver ${server} has not joined this cluster`)
    }
    const same = request.store.length > 0 && Buffer.compare(known.store, request.store) === 0
    const store = same && !known.lost ? known.store : NO_BYTES
    const place = { rack, addresses: [...addresses], totalBytes }
    const record = { ...known, ...place, lost: false, store }
    txn.put(tables.servers, keys.server(server), record)
    txn.afterDecision(() => {
      topology.put(record)
      topology.registered(server, request, store.length > 0)
    })
    return store.length > 0
  })
  repairs.registered(server, request.store, trusted)
  log.info({ server, rack, addresses, chunks: request.chunks }, 'chunkserver registered')
  const restored = await database.read((txn) => txn.get(tables.restored, keys.restored))
  return {
    heartbeatMs: HEARTBEAT_MS,
    ticketKeys: ticketKeys.forChunkservers(),
    restored: restored?.restored ?? 0n,
    ...primary.epoch,
  }
}
