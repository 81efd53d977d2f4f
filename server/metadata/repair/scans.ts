/**
 * Passes over all chunks of a chunkserver, in slices: when it is lost, leaves, or comes back.
 *
 * An inventory asks the server itself, page by page, what of it is there, and counts what is not as
 * damaged: for a server that was lost, or whose store is another than before.
 */
import { methods } from '../../../schema/methods.ts'
import type { Log } from '../../../schema/rpc/api.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import type { ServerLinks } from '../server-links.ts'
import type { Database } from '../store/database.ts'
import { parts, ranges } from '../store/keys.ts'
import { keysOf } from '../store/page.ts'
import type { RepairView } from './chunk-repair.ts'
import { lookAt, LOOKED_AT_MAX } from './look.ts'

/** Servers looked through at the same time. */
const SCANS_MAX = 4

export interface ScanParts {
  readonly database: Database
  readonly links: ServerLinks
  readonly view: RepairView
  readonly log: Log
  /** Chunks were queued. */
  readonly onWaiting: () => void
  /** All of a server's chunks were found to be there, or counted as damaged. */
  readonly onInventoried: (server: number) => Promise<void>
  /** It could not be done to the end; it is for whoever began it to begin again. */
  readonly onFailed: (server: number) => void
}

interface Job {
  inventory: boolean
  /** What was seen may be out of date: once more. */
  again: boolean
  running: boolean
}

export class ChunkScans {
  readonly #parts: ScanParts
  readonly #jobs = new Map<number, Job>()
  readonly #running = new Set<Promise<void>>()
  #stopped = false

  constructor(scanParts: ScanParts) {
    this.#parts = scanParts
  }

  /** Servers that are looked through, or will be. */
  get servers(): number[] {
    return [...this.#jobs.keys()]
  }

  has(server: number): boolean {
    return this.#jobs.has(server)
  }

  /** Looks at all chunks of a server anew; with `inventory` it is asked which of them it has. */
  begin(server: number, inventory: boolean): void {
    const job = this.#jobs.get(server)
    if (job === undefined) {
      this.#jobs.set(server, { inventory, again: false, running: false })
    } else {
      job.again = job.running
      job.inventory ||= inventory
    }
    this.#next()
  }

  /** Waits for the slices under way. */
  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#running)
  }

  #next(): void {
    for (const [server, job] of this.#jobs) {
      if (this.#stopped || this.#running.size >= SCANS_MAX) return
      if (job.running) continue
      job.running = true
      job.again = false
      const run = this.#run(server, job).finally(() => {
        this.#running.delete(run)
        job.running = false
        if (!job.again) this.#jobs.delete(server)
        this.#next()
      })
      this.#running.add(run)
    }
  }

  async #run(server: number, job: Job): Promise<void> {
    const { log, onInventoried, onFailed } = this.#parts
    const { inventory } = job
    const startedMs = performance.now()
    try {
      const sums = await this.#scan(server, inventory)
      if (sums === undefined) return
      // It may have another store by now than the one that was asked.
      if (inventory && !job.again) await onInventoried(server)
      const ms = Math.round(performance.now() - startedMs)
      const line = { server, inventory, ...sums, ms }
      if (sums.chunks > 0) log.info(line, 'looked at all chunks of a chunkserver')
    } catch (error) {
      if (!(error instanceof DfsError)) throw error
      onFailed(server)
      const { code, message } = error
      log.warn(
        { server, inventory, code, err: message },
        'could not look at all chunks of a server',
      )
    }
  }

  /** Undefined when it was stopped before the end. */
  async #scan(
    server: number,
    inventory: boolean,
  ): Promise<{ chunks: number; waiting: number; missing: number } | undefined> {
    const { database, view, log, onWaiting } = this.#parts
    await database.settle()
    const shown = inventory ? { ...view, shown: server } : view
    const sums = { chunks: 0, waiting: 0, missing: 0 }
    let after: Buffer | undefined
    while (!this.#stopped) {
      const page = await database.durablePage(ranges.serverChunks(server), LOOKED_AT_MAX, after)
      const chunks = keysOf(page).map((key) => parts.serversChunk(key))
      const bad = inventory && chunks.length > 0 ? await this.#missing(server, chunks) : NOTHING
      if (chunks.length > 0) {
        const seen = await lookAt(chunks, { database, view: shown, log }, { server, bad })
        sums.chunks += chunks.length
        sums.waiting += seen.waiting
        sums.missing += bad.size
        if (seen.waiting > 0) onWaiting()
      }
      after = page.last
      if (after === undefined || !page.more) return sums
      // Requests that came meanwhile go first.
      await new Promise<void>((resolve) => setImmediate(resolve))
    }
    return undefined
  }

  async #missing(server: number, chunks: number[]): Promise<ReadonlySet<number>> {
    const request = { chunks, verify: false }
    const { bad } = await this.#parts.links.call(server, methods.checkChunks, request)
    const asked = new Set(chunks)
    return new Set(bad.filter((chunk) => asked.has(chunk)))
  }
}

const NOTHING: ReadonlySet<number> = new Set()
