/**
 * Chunks as the file system sees them: plaintext in, plaintext out. Joins the writers, the reads and
 * what they share: plans, connections, the bound on memory.
 */
import { setMaxListeners } from 'node:events'
import { performance } from 'node:perf_hooks'
import type { ServerAddress } from '../../schema/generated/common.ts'
import type { ChunkLocation } from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'
import type { Log } from '../../schema/rpc/api.ts'
import { invariant } from '../../schema/wire/invariant.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { InodeKey } from '../crypto/inode-key.ts'
import type { BeginOptions, ChunkClient, ChunkWriter, MetadataSession } from './api.ts'
import { BlockRead, refuseRange, type BlockRange } from './block-read.ts'
import { ChunkOpeners } from './chunk-openers.ts'
import { Writer } from './chunk-writer.ts'
import type { ChunkserverPool } from './chunkserver-pool.ts'
import { PlanStock } from './plans.ts'
import { retried } from './retry.ts'
import { ServerHealth } from './server-health.ts'
import { WriteBudget } from './write-budget.ts'

/** Sealed bytes that writers hold at most, unless the caller says otherwise. */
const WRITE_BUFFER_BYTES = 4 * limits.chunkBytesMax
/** Milliseconds for which a read goes through the replicas again while none can be reached. */
const READ_DEADLINE_MS = 15_000
const TICK_MS = 1_000
/** Bad copies remembered as reported, and for how many milliseconds they are not reported again. */
const REPORTED_MAX = 1_000
const REPORT_AGAIN_MS = 60_000

export interface ChunkClientOptions {
  readonly session: Pick<MetadataSession, 'read' | 'writeQuorum'>
  readonly pool: ChunkserverPool
  readonly log: Log
  /** At least one chunk. */
  readonly writeBufferBytes?: number
}

export class Chunks implements ChunkClient {
  readonly #session: Pick<MetadataSession, 'read' | 'writeQuorum'>
  readonly #pool: ChunkserverPool
  readonly #log: Log
  readonly #health = new ServerHealth()
  readonly #plans: PlanStock
  readonly #budget: WriteBudget
  readonly #writers = new Set<Writer>()
  readonly #closing = new AbortController()
  readonly #openers = new ChunkOpeners()
  /** When a copy, `chunk:server`, was reported. */
  readonly #reported = new Map<string, number>()
  #ticker: NodeJS.Timeout | undefined

  constructor({ session, pool, log, writeBufferBytes = WRITE_BUFFER_BYTES }: ChunkClientOptions) {
    if (!Number.isSafeInteger(writeBufferBytes) || writeBufferBytes < limits.chunkBytesMax) {
      const detail = `writeBufferBytes is ${writeBufferBytes}; one chunk needs ${limits.chunkBytesMax}`
      throw new DfsError('invalidArgument', detail)
    }
    this.#session = session
    this.#pool = pool
    this.#log = log
    const { signal } = this.#closing
    // Each read that waits to be repeated listens; their number is bounded by whoever reads.
    setMaxListeners(0, signal)
    this.#plans = new PlanStock({ session, health: this.#health, signal })
    this.#budget = new WriteBudget(writeBufferBytes)
  }

  /** Sealed bytes that writers hold now. */
  get heldBytes(): number {
    return this.#budget.usedBytes
  }

  async begin(key: InodeKey, options: BeginOptions = {}): Promise<ChunkWriter> {
    this.#refuseClosed()
    const plan = await this.#plans.take()
    this.#refuseClosed()
    const parts = {
      plans: this.#plans,
      pool: this.#pool,
      health: this.#health,
      budget: this.#budget,
      writeQuorum: () => this.#session.writeQuorum,
      log: this.#log,
      onDone: (done: Writer) => this.#forget(done),
    }
    const writer = new Writer(parts, plan, key, options)
    this.#writers.add(writer)
    this.#ticker ??= setInterval(() => this.#tick(), TICK_MS)
    return writer
  }

  async readBlocks(
    key: InodeKey,
    location: ChunkLocation,
    servers: readonly ServerAddress[],
    firstBlock: number,
    blockCount: number,
  ): Promise<Uint8Array[]> {
    this.#refuseClosed()
    const range: BlockRange = { key, location, servers, firstBlock, blockCount }
    refuseRange(range)
    const parts = {
      pool: this.#pool,
      openers: this.#openers,
      health: this.#health,
      log: this.#log,
      report: this.#report,
    }
    const first = new BlockRead(parts, range)
    try {
      return await first.run()
    } catch (error) {
      if (!first.mayPass) throw error
    }
    let latest = first
    const options = {
      what: `reading chunk ${location.chunk}`,
      deadlineMs: READ_DEADLINE_MS,
      passing: () => latest.mayPass,
      signal: this.#closing.signal,
    }
    return retried(options, async () => {
      latest = new BlockRead(parts, range)
      return latest.run()
    })
  }

  /** Gives up what is being written and closes the connections. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return
    this.#closing.abort()
    for (const writer of this.#writers) writer.abort()
    this.#openers.erase()
    invariant(this.#budget.usedBytes === 0, 'every writer gave its memory back')
    await this.#pool.close()
  }

  #refuseClosed(): void {
    if (this.#closing.signal.aborted) throw new DfsError('cancelled', 'the client was closed')
  }

  #forget(writer: Writer): void {
    this.#writers.delete(writer)
    if (this.#writers.size > 0) return
    clearInterval(this.#ticker)
    this.#ticker = undefined
  }

  #tick(): void {
    const nowMs = performance.now()
    for (const writer of this.#writers) writer.tick(nowMs)
  }

  readonly #report = (location: ChunkLocation, server: number, error: DfsError): void => {
    const { chunk, ticket } = location
    const copy = `${chunk}:${server}`
    const nowMs = performance.now()
    if ((this.#reported.get(copy) ?? -Infinity) > nowMs - REPORT_AGAIN_MS) return
    this.#reported.delete(copy)
    this.#reported.set(copy, nowMs)
    if (this.#reported.size > REPORTED_MAX) {
      for (const oldest of this.#reported.keys()) {
        this.#reported.delete(oldest)
        break
      }
    }
    this.#log.error({ chunk, server, err: error }, 'a bad copy of a chunk; reporting it for repair')
    const reason = `${error.code}: ${error.message}`.slice(0, 500)
    this.#session
      .read(methods.reportChunk, { chunk, server, reason, ticket })
      .catch((cause: unknown) => {
        this.#log.warn({ chunk, server, err: cause }, 'the bad copy could not be reported')
      })
  }
}
