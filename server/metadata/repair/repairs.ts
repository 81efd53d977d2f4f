/**
 * Keeps the wanted number of replicas of every chunk: notices what is lost, queues it, has it copied,
 * and gives up what is superfluous when a server comes back.
 *
 * A server that misses heartbeats is silent: others are read from, nothing is copied yet, for it may
 * be back in a moment. Silent for `lostAfterMs` it is lost, until it registers again; that stands in
 * its record, so a restart of this server does not forget it.
 */
import type { Log } from '../../../schema/rpc/api.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import type { ServerRecord } from '../../../schema/generated/records.ts'
import type { Clock } from '../clock.ts'
import type { ServerLinks } from '../server-links.ts'
import type { Database } from '../store/database.ts'
import { keys, ranges } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { TicketKeys } from '../ticket-keys.ts'
import type { ServerState, Topology } from '../topology.ts'
import type { RepairView } from './chunk-repair.ts'
import { CopyQueue } from './copy-queue.ts'
import { lookAt, LOOKED_AT_MAX } from './look.ts'
import { ChunkScans } from './scans.ts'
import { Suspects } from './suspects.ts'

/** Milliseconds of silence after which a chunkserver counts as lost, unless told otherwise. */
export const LOST_AFTER_MS = 600_000
/** Milliseconds between looks at the servers. */
const TICK_MS = 1_000
/** A look that comes later than this: this process slept, and the silence was its own. */
const SLEPT_MS = 5_000
/** Milliseconds between attempts at an inventory, and between looks at a server that is leaving. */
const AGAIN_MS = 30_000

export interface RepairsOptions {
  readonly database: Database
  readonly topology: Topology
  readonly links: ServerLinks
  readonly ticketKeys: TicketKeys
  readonly clock: Clock
  readonly log: Log
  /** Replicas wanted of each chunk. */
  readonly replicas: number
  readonly lostAfterMs: number
}

export class Repairs {
  readonly #options: RepairsOptions
  readonly #view: RepairView
  readonly #scans: ChunkScans
  readonly #suspects: Suspects
  readonly #queue: CopyQueue
  /** Of servers whose inventory is not done: the store that they registered with. */
  readonly #stores = new Map<number, Uint8Array>()
  readonly #begunMs = new Map<number, number>()
  /** Servers whose chunks could not all be looked at. */
  readonly #unfinished = new Set<number>()
  /** Silence before it is not counted. */
  #awakeSinceMs: number
  #tickedMs: number
  #timer: NodeJS.Timeout | undefined
  #ticking: Promise<void> | undefined

  constructor(options: RepairsOptions) {
    const { database, topology, links, log, clock, replicas } = options
    this.#options = options
    this.#awakeSinceMs = clock.nowMs()
    this.#tickedMs = this.#awakeSinceMs
    const view = { topology, wanted: replicas }
    this.#view = view
    this.#suspects = new Suspects({
      links,
      log,
      onBad: async (server, chunk) => this.damaged(server, [chunk]),
    })
    this.#queue = new CopyQueue({
      ...options,
      view,
      random: Math.random,
      onBadSource: (server, chunk) => this.#suspects.add(server, chunk),
    })
    this.#scans = new ChunkScans({
      database,
      links,
      view,
      log,
      onWaiting: () => this.#queue.wake(),
      onInventoried: async (server) => this.#inventoried(server),
      onFailed: (server) => this.#unfinished.add(server),
    })
  }

  /** Begins, with what an earlier process left undone. */
  start(): void {
    for (const { record } of this.#options.topology.all()) {
      if (record.lost || record.revoked || record.draining) this.#scans.begin(record.id, false)
    }
    this.#queue.start()
    this.#timer = setInterval(() => {
      this.#ticking ??= this.tick().finally(() => (this.#ticking = undefined))
    }, TICK_MS)
    this.#timer.unref()
  }

  /** Waits for what is under way; connections must be closed before. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#ticking
    await this.#suspects.stop()
    await this.#scans.stop()
    await this.#queue.stop()
  }

  /** A chunkserver registered. Unless trusted, it is asked whether it has what it should have. */
  registered(server: number, store: Uint8Array, trusted: boolean): void {
    if (!trusted) {
      this.#stores.set(server, store)
      this.#takeInventory(server)
    }
    this.#queue.wake()
  }

  /** Its replicas count no more, or more again: all its chunks are looked at. */
  standingChanged(server: number): void {
    this.#begunMs.set(server, this.#options.clock.nowMs())
    this.#scans.begin(server, false)
  }

  /** A client could not use a replica: its server is asked to read it. */
  suspected(server: number, chunk: number): void {
    this.#suspects.add(server, chunk)
  }

  /** A chunkserver found copies of its own damaged or missing. */
  async damaged(server: number, chunks: readonly number[]): Promise<void> {
    const { database, log } = this.#options
    const finding = { server, bad: new Set(chunks) }
    for (let at = 0; at < chunks.length; at += LOOKED_AT_MAX) {
      const some = chunks.slice(at, at + LOOKED_AT_MAX)
      const { waiting } = await lookAt(some, { database, view: this.#view, log }, finding)
      if (waiting > 0) this.#queue.wake()
    }
  }

  get status(): {
    readonly copying: number
    readonly copied: number
    readonly copiedBytes: number
    readonly failed: number
    readonly lookingThrough: number[]
  } {
    const { copying, done } = this.#queue
    return { copying, ...done, lookingThrough: this.#scans.servers }
  }

  /** Looks at the servers; done every second once it has started. */
  async tick(): Promise<void> {
    const { database, topology, clock, log } = this.#options
    const nowMs = clock.nowMs()
    if (nowMs - this.#tickedMs > SLEPT_MS) this.#awakeSinceMs = nowMs
    this.#tickedMs = nowMs
    // The standby is away: nothing could be written down.
    if (database.log.writeRefusal() !== undefined) return
    try {
      // When nobody is heard, it is rather this server that is cut off.
      if (![...topology.all()].some((state) => topology.alive(state))) this.#awakeSinceMs = nowMs
      for (const state of topology.all()) await this.#look(state, nowMs)
    } catch (error) {
      if (!(error instanceof DfsError)) throw error
      log.warn({ code: error.code, err: error.message }, 'looking after chunkservers failed')
    }
  }

  async #look(state: ServerState, nowMs: number): Promise<void> {
    const { id, lost, revoked, draining } = state.record
    const heardMs = Math.max(state.lastHeartbeatMs ?? 0, this.#awakeSinceMs)
    const late = nowMs - heardMs > this.#options.lostAfterMs
    if (late && !lost && !revoked) await this.#lose(state, heardMs)
    if ((this.#begunMs.get(id) ?? 0) > nowMs - AGAIN_MS || this.#scans.has(id)) return
    if (this.#stores.has(id) && this.#options.topology.alive(state)) this.#takeInventory(id)
    else if (this.#unfinished.delete(id)) this.standingChanged(id)
    else if (draining && !(await this.empty(id))) this.standingChanged(id)
  }

  /** Whether no chunk is placed on a server. */
  async empty(server: number): Promise<boolean> {
    const { database } = this.#options
    await database.settle()
    const page = await database.durablePage(ranges.serverChunks(server), 1)
    return page.last === undefined
  }

  async #lose({ record: { id } }: ServerState, heardMs: number): Promise<void> {
    const { topology, log, lostAfterMs } = this.#options
    const done = await this.#change(
      id,
      (record) => ({ ...record, lost: true }),
      () => {
        return (topology.get(id)?.lastHeartbeatMs ?? 0) <= heardMs
      },
    )
    if (!done) return
    this.#stores.delete(id)
    log.error(
      { server: id, silentMs: lostAfterMs },
      'a chunkserver is lost: its chunks are copied from other replicas; bring it back, or revoke it',
    )
    this.standingChanged(id)
  }

  #takeInventory(server: number): void {
    this.#begunMs.set(server, this.#options.clock.nowMs())
    this.#scans.begin(server, true)
  }

  async #inventoried(server: number): Promise<void> {
    const { topology } = this.#options
    const store = this.#stores.get(server)
    if (store === undefined) return
    const same = (): boolean => this.#stores.get(server) === store
    if (!(await this.#change(server, (record) => ({ ...record, store }), same))) return
    this.#stores.delete(server)
    const state = topology.get(server)
    if (state !== undefined) state.inventoried = true
  }

  /** Changes a server's record while `holds`; false when it did not. */
  async #change(
    server: number,
    change: (record: ServerRecord) => ServerRecord,
    holds: () => boolean,
  ): Promise<boolean> {
    const { database, topology } = this.#options
    return database.write({}, async (txn) => {
      const known = await txn.get(tables.servers, keys.server(server))
      if (known === undefined || !holds()) return false
      txn.guard(holds)
      const record = change(known)
      txn.put(tables.servers, keys.server(server), record)
      txn.afterDecision(() => topology.put(record))
      return true
    })
  }
}
