/**
 * The orders to delete chunks that wait for chunkservers, by server.
 *
 * The truth is in the store (keys `x`). In memory stand the next ones of each server, so that a heartbeat
 * need not look for the first of them behind thousands that were carried out a moment ago, which the
 * engine walks over one by one. What is in memory is exact, so nothing is asked of the engine for it:
 * three hundred heartbeats of hundreds of orders come in the same second. Memory is bounded: what
 * finds no room is read from the store when most before it are done.
 */
import { counterNames } from './store/counters.ts'
import type { Database } from './store/database.ts'
import { parts, ranges } from './store/keys.ts'
import { keysOf } from './store/page.ts'
import { tables } from './store/tables.ts'

/** Orders in memory, of all servers together: some 60 bytes each. */
const KNOWN_MAX = 200_000
/** Orders read from the store at once. */
const PAGE = 1_000
/** The number of a decision that is durable in any case. */
const STORED = 0

/** A page of a server's orders that is on its way from the store. */
interface Reading {
  /** Taken back meanwhile: what the page says of these may be old. */
  readonly takenBack: Set<number>
  readonly done: Promise<void>
}

export class DeleteOrders {
  readonly #database: Database
  /** By server, then by chunk, in the order in which they came: the decision that made the order. */
  readonly #known = new Map<number, Map<number, number>>()
  readonly #reading = new Map<number, Reading>()
  #size = 0

  constructor(database: Database) {
    this.#database = database
    database.watch(tables.deletes, (key, exists, sequence) => {
      const server = key.readUInt32BE(1)
      const chunk = parts.serversChunk(key)
      if (exists) this.#add(server, chunk, sequence)
      else this.#remove(server, chunk)
    })
  }

  /** Whether a server has the order by a decision that is in memory; if not, the store may know more. */
  has(server: number, chunk: number): boolean {
    return this.#known.get(server)?.has(chunk) === true
  }

  /** At most `limit` chunks that a server is to delete, by orders that are durable. */
  async durable(server: number, limit: number): Promise<number[]> {
    const queued = this.#database.counters.get(counterNames.deletes(server))
    if (queued === 0) return []
    const known = this.#known.get(server)?.size ?? 0
    if (known < limit && known < queued) await this.#read(server)
    const chunks: number[] = []
    for (const [chunk, sequence] of this.#known.get(server) ?? []) {
      if (chunks.length >= limit || sequence > this.#database.durableSequence) break
      chunks.push(chunk)
    }
    return chunks
  }

  #read(server: number): Promise<void> {
    const under = this.#reading.get(server)
    if (under !== undefined) return under.done
    const takenBack = new Set<number>()
    const done = this.#readPage(server, takenBack).finally(() => this.#reading.delete(server))
    this.#reading.set(server, { takenBack, done })
    return done
  }

  async #readPage(server: number, takenBack: ReadonlySet<number>): Promise<void> {
    // What was taken back before this is not on the page.
    await this.#database.settle()
    const page = await this.#database.durablePage(ranges.deletes(server), PAGE)
    for (const key of keysOf(page)) {
      const chunk = parts.serversChunk(key)
      if (!takenBack.has(chunk)) this.#add(server, chunk, STORED)
    }
  }

  #add(server: number, chunk: number, sequence: number): void {
    let known = this.#known.get(server)
    // Room for one there is always: else nobody would look into the store again.
    if (known !== undefined && this.#size >= KNOWN_MAX) return
    if (known === undefined) this.#known.set(server, (known = new Map<number, number>()))
    if (known.has(chunk)) return
    known.set(chunk, sequence)
    this.#size++
  }

  #remove(server: number, chunk: number): void {
    this.#reading.get(server)?.takenBack.add(chunk)
    const known = this.#known.get(server)
    if (known?.delete(chunk) !== true) return
    this.#size--
    if (known.size === 0) this.#known.delete(server)
  }
}
