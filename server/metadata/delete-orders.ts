/**
 * The orders to delete chunks that wait for chunkservers, by server.
 *
 * The truth is in the store (keys `x`). In memory stand the next ones of each server, so that a heartbeat
 * need not look for the first of them behind thousands that were carried out a moment ago, which the
 * engine walks over one by one. Memory is bounded: what finds no room is read from the store when
 * most before it are done.
 */
import { counterNames } from './store/counters.ts'
import type { Database } from './store/database.ts'
import { keys, parts, ranges } from './store/keys.ts'
import { keysOf } from './store/page.ts'
import { tables } from './store/tables.ts'

/** Orders in memory, of all servers together: some 40 bytes each. */
const KNOWN_MAX = 200_000
/** Orders read from the store at once. */
const PAGE = 1_000

export class DeleteOrders {
  readonly #database: Database
  /** By server, in the order in which they came. */
  readonly #known = new Map<number, Set<number>>()
  #size = 0

  constructor(database: Database) {
    this.#database = database
    database.watch(tables.deletes, (key, exists) => {
      const server = key.readUInt32BE(1)
      if (exists) this.#add(server, parts.serversChunk(key))
      else this.#remove(server, parts.serversChunk(key))
    })
  }

  /** At most `limit` chunks that a server is to delete, by orders that are durable. */
  async durable(server: number, limit: number): Promise<number[]> {
    const queued = this.#database.counters.get(counterNames.deletes(server))
    if (queued === 0) return []
    const known = this.#known.get(server)?.size ?? 0
    if (known < limit && known < queued) await this.#read(server)
    const chunks: number[] = []
    for (const chunk of this.#known.get(server) ?? []) {
      if (chunks.length >= limit) break
      chunks.push(chunk)
    }
    const damaged = new Set<number>()
    // Whatever the transaction has seen is durable when it ends.
    const marks = await this.#database.read((txn) =>
      txn.getAll(
        tables.deletes,
        chunks.map((chunk) => keys.delete(server, chunk)),
        (i) => damaged.add(i),
      ),
    )
    const living = chunks.filter((_, i) => marks[i] === true || damaged.has(i))
    // Taken back while the store was read.
    for (const [i, chunk] of chunks.entries()) {
      if (marks[i] !== true && !damaged.has(i)) this.#remove(server, chunk)
    }
    return living
  }

  async #read(server: number): Promise<void> {
    const page = await this.#database.durablePage(ranges.deletes(server), PAGE)
    for (const key of keysOf(page)) this.#add(server, parts.serversChunk(key))
  }

  #add(server: number, chunk: number): void {
    let known = this.#known.get(server)
    // Room for one there is always: else nobody would look into the store again.
    if (known !== undefined && this.#size >= KNOWN_MAX) return
    if (known === undefined) this.#known.set(server, (known = new Set()))
    if (known.has(chunk)) return
    known.add(chunk)
    this.#size++
  }

  #remove(server: number, chunk: number): void {
    const known = this.#known.get(server)
    if (known?.delete(chunk) !== true) return
    this.#size--
    if (known.size === 0) this.#known.delete(server)
  }
}
