/**
 * What a commit does to chunks: which are new, how many windows name each afterwards.
 *
 * A chunk that a window names must be new in this commit, with a living write ticket of this user,
 * or belong to the same inode already; anything else would let a user reach other users' chunks.
 * A new chunk that no window names in the end is deleted from its servers at once. A client that
 * commits a chunk again after it let go of it may name one that is being deleted: its own loss only.
 */
import type { Extent } from '../../../schema/generated/common.ts'
import type { NewChunk } from '../../../schema/generated/metadata.ts'
import type { PlacedChunkRecord } from '../../../schema/generated/records.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { Rights } from '../../ticket.ts'
import { orderDelete, releaseChunks, requeue } from '../chunk-references.ts'
import { checkDistinct, refuse } from '../input.ts'
import type { Caller, Services } from '../services.ts'
import { counterNames } from '../store/counters.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'

export class ChunkChanges {
  readonly #inode: number
  readonly #new = new Map<number, PlacedChunkRecord>()
  /** By how many windows more (or less) a chunk is named. */
  readonly #windows = new Map<number, number>()
  /** The furthest byte that an added extent reads of a chunk. */
  readonly #reach = new Map<number, number>()

  constructor(inode: number) {
    this.#inode = inode
  }

  /** Takes in the chunks that the commit brings. Throws `planExpired`, `ticketInvalid`, … */
  async addNew(
    txn: Transaction,
    chunks: readonly NewChunk[],
    caller: Caller,
    services: Services,
  ): Promise<void> {
    for (const { chunk, length, servers, ticket } of chunks) {
      const expiresMs = verifyPlan(ticket, chunk, caller, services)
      // Also at the moment of the decision, or a chunk could be named after it was found to be dead.
      txn.guard(() => services.clock.nowMs() <= expiresMs)
      if ((await txn.get(tables.chunks, keys.chunk(chunk))) !== undefined) {
        refuse(`chunk ${chunk} was committed already`)
      }
      checkServers(chunk, servers, services)
      this.#new.set(chunk, {
        length,
        windows: 0,
        servers: [...servers],
        inode: this.#inode,
        damaged: [],
        // Fewer than wanted, but enough for a write: the others are made afterwards.
        repair: servers.length < services.policy.replicas ? servers.length + 1 : 0,
      })
    }
  }

  /** Extents that the commit lays into a window. */
  added(extents: readonly Extent[]): void {
    for (const { chunk, chunkOffset, length } of extents) {
      const end = chunkOffset + length
      if (end > (this.#reach.get(chunk) ?? 0)) this.#reach.set(chunk, end)
    }
  }

  /** A window's extents are others than before. */
  windowChanged(before: readonly Extent[], after: readonly Extent[]): void {
    for (const chunk of chunksOf(before)) this.#count(chunk, -1)
    for (const chunk of chunksOf(after)) this.#count(chunk, 1)
  }

  /** Writes the chunks' records. Throws `invalidArgument` for a chunk that may not be named. */
  async apply(txn: Transaction): Promise<void> {
    const named = [...this.#reach.keys()].filter((chunk) => !this.#new.has(chunk))
    const records = await txn.getAll(
      tables.chunks,
      named.map((chunk) => keys.chunk(chunk)),
    )
    for (const [i, chunk] of named.entries()) this.#checkReach(chunk, records[i])
    for (const [chunk, record] of this.#new) this.#checkReach(chunk, record)

    this.#putNew(txn)
    const released: number[] = []
    for (const [chunk, delta] of this.#windows) {
      if (this.#new.has(chunk) || delta === 0) continue
      if (delta < 0) {
        for (let i = 0; i < -delta; i++) released.push(chunk)
        continue
      }
      const record = await txn.get(tables.chunks, keys.chunk(chunk))
      if (record === undefined) refuse(`chunk ${chunk} does not exist`)
      txn.put(tables.chunks, keys.chunk(chunk), { ...record, windows: record.windows + delta })
    }
    await releaseChunks(txn, released)
  }

  #putNew(txn: Transaction): void {
    for (const [chunk, record] of this.#new) {
      const windows = this.#windows.get(chunk) ?? 0
      if (windows === 0) {
        for (const server of record.servers) orderDelete(txn, server, chunk)
        continue
      }
      txn.put(tables.chunks, keys.chunk(chunk), { ...record, windows })
      txn.add(counterNames.chunks, 1)
      requeue(txn, chunk, 0, record.repair)
      for (const server of record.servers) {
        txn.put(tables.marks, keys.serverChunk(server, chunk), true)
      }
    }
  }

  #checkReach(chunk: number, record: PlacedChunkRecord | undefined): void {
    if (record === undefined || record.inode !== this.#inode) {
      refuse(`an extent names chunk ${chunk}, which is neither new nor of this file`)
    }
    if ((this.#reach.get(chunk) ?? 0) > record.length) {
      refuse(`an extent reads behind the ${record.length} bytes of chunk ${chunk}`)
    }
  }

  #count(chunk: number, delta: number): void {
    this.#windows.set(chunk, (this.#windows.get(chunk) ?? 0) + delta)
  }
}

const chunksOf = (extents: readonly Extent[]): Set<number> =>
  new Set(extents.map(({ chunk }) => chunk))

/** Checks that the chunk was planned for the caller; returns when that ends, milliseconds. */
export function verifyPlan(
  ticket: Uint8Array,
  chunk: number,
  { user }: Caller,
  { ticketKeys }: Services,
): number {
  try {
    const claims = ticketKeys.verify(ticket, chunk, Rights.write)
    if (claims.user !== user) throw new DfsError('ticketInvalid', `chunk ${chunk}: not your plan`)
    return claims.expiresMs
  } catch (error) {
    if (!(error instanceof DfsError) || error.code !== 'ticketExpired') throw error
    throw new DfsError('planExpired', `the plan of chunk ${chunk} has expired; write it again`, {
      cause: error,
    })
  }
}

function checkServers(
  chunk: number,
  servers: readonly number[],
  { topology, policy }: Services,
): void {
  checkDistinct(servers, `a server of chunk ${chunk}`)
  if (servers.length < policy.writeQuorum || servers.length > limits.replicasMax) {
    refuse(
      `chunk ${chunk} is on ${servers.length} servers; it needs ${policy.writeQuorum} to ${limits.replicasMax}`,
    )
  }
  for (const server of servers) {
    if (topology.get(server) === undefined) refuse(`chunk ${chunk}: server ${server} is unknown`)
  }
}
