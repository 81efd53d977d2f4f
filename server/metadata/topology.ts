/**
 * The chunkservers: who there is (durable, in the store) and how they are (in memory, from their
 * last heartbeat). A server is alive for five heartbeats after its last one.
 */
import type { ServerAddress } from '../../schema/generated/common.ts'
import type { HeartbeatRequest, RegisterRequest } from '../../schema/generated/cluster.ts'
import type { ServerRecord } from '../../schema/generated/records.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { Clock } from './clock.ts'
import { PlacementTable } from './placement-table.ts'
import type { Candidate, Random } from './placement.ts'

/** Milliseconds from heartbeat to heartbeat. */
export const HEARTBEAT_MS = 1_000
/** Milliseconds without a heartbeat after which a server counts as dead. */
const DEAD_AFTER_MS = 5 * HEARTBEAT_MS

export interface ServerState {
  readonly record: ServerRecord
  usedBytes: number
  freeBytes: number
  full: boolean
  chunks: number
  load: number
  /** Undefined: not heard of since this process started. */
  lastHeartbeatMs: number | undefined
  /** Since it registered it was seen to have the chunks that it should have, or nobody doubts it. */
  inventoried: boolean
}

export interface PlacementRequest {
  readonly replicas: number
  /** Servers without which no plan is given. */
  readonly replicasMin: number
  readonly exclude: ReadonlySet<number>
}

export class Topology {
  readonly #servers = new Map<number, ServerState>()
  readonly #clock: Clock
  readonly #random: Random
  /** Who can take a chunk, until somebody says something new or dies. */
  #table:
    | { readonly placement: PlacementTable; readonly full: number; readonly endMs: number }
    | undefined

  constructor(clock: Clock, random: Random = Math.random) {
    this.#clock = clock
    this.#random = random
  }

  /** Takes a server in, or its changed record; what is known of its state stays. */
  put(record: ServerRecord): void {
    this.#table = undefined
    const known = this.#servers.get(record.id)
    this.#servers.set(record.id, {
      usedBytes: 0,
      freeBytes: 0,
      full: false,
      chunks: 0,
      load: 0,
      lastHeartbeatMs: undefined,
      inventoried: false,
      ...known,
      record,
    })
  }

  /** Forgets a server. */
  remove(server: number): void {
    this.#table = undefined
    this.#servers.delete(server)
  }

  get(server: number): ServerState | undefined {
    return this.#servers.get(server)
  }

  /** Servers that ever joined. */
  get size(): number {
    return this.#servers.size
  }

  all(): IterableIterator<ServerState> {
    return this.#servers.values()
  }

  /** A server said hello; throws `serverUnknown` when it never joined. */
  registered(
    server: number,
    request: Omit<RegisterRequest, 'store' | 'epoch' | 'epochProof'>,
    inventoried = true,
  ): void {
    const state = this.#known(server)
    this.#table = undefined
    state.inventoried = inventoried
    state.freeBytes = request.freeBytes
    state.usedBytes = Math.max(0, request.totalBytes - request.freeBytes)
    state.chunks = request.chunks
    state.lastHeartbeatMs = this.#clock.nowMs()
  }

  heartbeat(server: number, request: HeartbeatRequest): void {
    const state = this.#known(server)
    this.#table = undefined
    state.usedBytes = request.usedBytes
    state.freeBytes = request.freeBytes
    state.full = request.full
    state.chunks = request.chunks
    state.load = request.load
    state.lastHeartbeatMs = this.#clock.nowMs()
  }

  /** Heard of lately, and neither revoked nor given up as lost. */
  alive(state: ServerState, nowMs = this.#clock.nowMs()): boolean {
    const { lastHeartbeatMs, record } = state
    if (record.revoked || record.lost) return false
    return lastHeartbeatMs !== undefined && nowMs - lastHeartbeatMs <= DEAD_AFTER_MS
  }

  /**
   * Servers for a new chunk. Throws `tooFewServers` when not enough are alive, `noSpace` when those
   * that are alive are full.
   */
  place({ replicas, replicasMin, exclude }: PlacementRequest): ServerAddress[] {
    const { placement, full } = this.#candidates()
    let chosen = placement.place(replicas, exclude, this.#random)
    // Better a server that failed this client once than no plan at all.
    if (chosen.length < replicasMin) chosen = placement.place(replicas, NONE, this.#random)
    if (chosen.length >= replicasMin) return this.addresses(chosen)
    const alive = placement.size + full
    if (alive >= replicasMin) {
      throw new DfsError('noSpace', `${full} of ${alive} chunkservers are full; add one`)
    }
    throw new DfsError(
      'tooFewServers',
      `${alive} chunkservers are alive, a write needs ${replicasMin}; see dfs status`,
    )
  }

  #candidates(): { readonly placement: PlacementTable; readonly full: number } {
    const nowMs = this.#clock.nowMs()
    if (this.#table !== undefined && nowMs <= this.#table.endMs) return this.#table
    const candidates: Candidate[] = []
    let full = 0
    let endMs = Infinity
    for (const state of this.#servers.values()) {
      if (!this.alive(state, nowMs)) continue
      endMs = Math.min(endMs, (state.lastHeartbeatMs ?? 0) + DEAD_AFTER_MS)
      if (state.full) full++
      else if (!state.record.draining) {
        const { id, rack } = state.record
        candidates.push({ id, rack, freeBytes: state.freeBytes, load: state.load })
      }
    }
    this.#table = { placement: new PlacementTable(candidates), full, endMs }
    return this.#table
  }

  /** Where servers are, the living first; unknown and revoked ones are left out. */
  addresses(servers: Iterable<number>): ServerAddress[] {
    const alive: ServerAddress[] = []
    const dead: ServerAddress[] = []
    for (const server of servers) {
      const state = this.#servers.get(server)
      if (state === undefined || state.record.revoked) continue
      const { id, rack, addresses } = state.record
      ;(this.alive(state) ? alive : dead).push({ id, rack, addresses })
    }
    return [...alive, ...dead]
  }

  /** Bytes of all living servers together. */
  space(): { totalBytes: number; freeBytes: number } {
    let totalBytes = 0
    let freeBytes = 0
    for (const state of this.#servers.values()) {
      if (!this.alive(state)) continue
      totalBytes += state.usedBytes + state.freeBytes
      if (!state.full) freeBytes += state.freeBytes
    }
    return { totalBytes, freeBytes }
  }

  #known(server: number): ServerState {
    const state = this.#servers.get(server)
    if (state === undefined) {
      throw new DfsError('serverUnknown', `chunkserver ${server} has not joined this cluster`)
    }
    return state
  }
}

const NONE: ReadonlySet<number> = new Set()
