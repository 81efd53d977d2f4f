/**
 * Scrubbing: reads every chunk in turn and checks it, so that damage is found while other replicas
 * are whole.
 *
 * It reads at a bounded rate, slower while requests are served, and goes on after a restart where it
 * was. What it finds is marked by the store, and then named in the heartbeats.
 */
import type { ScrubState } from '../../schema/generated/chunk-index.ts'
import type { Log } from '../../schema/rpc/api.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { bounds } from './bounds.ts'
import { blockCount } from './chunk-format.ts'
import type { DiskChunkStore } from './disk-chunk-store.ts'

/** Records read from the index at once. */
const PAGE = 256
/** How much slower it reads while requests are in progress. */
const BUSY_FACTOR = 4

export interface ScrubOptions {
  readonly store: DiskChunkStore
  /** 0 switches scrubbing off. */
  readonly bytesPerSecond: number
  /** Requests in progress. */
  readonly load: () => number
  readonly log: Log
  /** Milliseconds that a round takes at least; for tests. */
  readonly roundMsMin?: number
}

export class Scrub {
  readonly #options: ScrubOptions
  readonly #stopping = new AbortController()
  readonly #buffer = Buffer.allocUnsafeSlow(bounds.readPieceBlocks * limits.sealedBlockBytes)
  #state: ScrubState = { nextChunk: 0, roundStartedMs: 0, rounds: 0 }
  #savedMs = 0
  #running: Promise<void> = Promise.resolve()

  constructor(options: ScrubOptions) {
    this.#options = options
  }

  /** Rounds over all chunks that came to their end, ever. */
  get rounds(): number {
    return this.#state.rounds
  }

  start(): void {
    if (this.#options.bytesPerSecond === 0) return
    this.#running = this.#run().catch((error: unknown) => {
      this.#options.log.error(
        { err: error },
        'scrubbing ended; restart the chunkserver to resume it',
      )
    })
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { store, log } = this.#options
    this.#state = (await store.index.scrubState()) ?? { ...this.#state, roundStartedMs: Date.now() }
    while (!this.#stopping.signal.aborted) {
      if (await this.#page()) continue
      const { roundStartedMs, rounds } = this.#state
      const roundMs = Date.now() - roundStartedMs
      log.info({ rounds: rounds + 1, seconds: Math.round(roundMs / 1_000) }, 'scrubbed all chunks')
      await this.#save({ nextChunk: 0, roundStartedMs, rounds: rounds + 1 })
      const restMs = (this.#options.roundMsMin ?? bounds.scrubRoundMsMin) - roundMs
      await this.#pause(Math.max(restMs, 0))
      this.#state = { ...this.#state, roundStartedMs: Date.now() }
    }
    await this.#save(this.#state)
  }

  /** Scrubs some chunks; false when there are none left in this round. */
  async #page(): Promise<boolean> {
    const { store } = this.#options
    const corrupt: number[] = []
    const page = await store.index.page(this.#state.nextChunk, PAGE, (id) => corrupt.push(id))
    for (const chunk of corrupt) await store.markDamaged(chunk, 'its index record is damaged')
    for (const { chunk, damaged } of page) {
      if (this.#stopping.signal.aborted) return true
      if (!damaged) await this.#chunk(chunk)
      this.#state = { ...this.#state, nextChunk: chunk + 1 }
      if (Date.now() - this.#savedMs > bounds.scrubSaveMs) await this.#save(this.#state)
    }
    const last = Math.max(page.at(-1)?.chunk ?? -1, ...corrupt)
    if (last < 0) return false
    this.#state = { ...this.#state, nextChunk: last + 1 }
    return true
  }

  /** Reads a chunk from end to end; the reader tells the store of damage. */
  async #chunk(chunk: number): Promise<void> {
    const { store, log } = this.#options
    try {
      const reader = await store.open(chunk)
      try {
        const blocks = blockCount(reader.sealedBytes)
        for (let at = 0; at < blocks; at += bounds.readPieceBlocks) {
          const count = Math.min(bounds.readPieceBlocks, blocks - at)
          const bytes = await reader.read(at, count, this.#buffer)
          await this.#pause(this.#costMs(bytes))
          if (this.#stopping.signal.aborted) return
        }
      } finally {
        reader.close()
      }
    } catch (error) {
      if (!(error instanceof DfsError)) throw error
      // Missing: deleted meanwhile. Corrupt: marked and logged by the store.
      if (error.code === 'diskFailed') log.warn({ chunk, detail: error.message }, 'cannot scrub')
    }
  }

  #costMs(bytes: number): number {
    const factor = this.#options.load() > 0 ? BUSY_FACTOR : 1
    return (bytes * 1_000 * factor) / this.#options.bytesPerSecond
  }

  /** Waits; ends early when scrubbing stops. */
  #pause(ms: number): Promise<void> {
    const { signal } = this.#stopping
    if (signal.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const finish = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', finish)
        resolve()
      }
      const timer = setTimeout(finish, ms)
      signal.addEventListener('abort', finish, { once: true })
    })
  }

  async #save(state: ScrubState): Promise<void> {
    this.#state = state
    this.#savedMs = Date.now()
    await this.#options.store.index.saveScrubState(state)
  }
}
