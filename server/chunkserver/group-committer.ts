/**
 * Group commit for the chunk index: one synced batch is on its way at a time, and everything handed
 * in meanwhile joins the next, so that a thousand small chunks cost a few syncs.
 *
 * The totals over all chunks are kept exactly: each batch carries the sum after it. A batch that
 * fails leaves the store's state unknown, so the committer refuses every later change; reading goes
 * on, and `onFailure` tells the daemon to start anew.
 */
import { ChunkTotals } from '../../schema/generated/chunk-index.ts'
import type { DfsError } from '../../schema/wire/status.ts'
import type { Change, OrderedStore } from '../store/ordered-store.ts'
import { bounds } from './bounds.ts'

interface Pending {
  readonly changes: readonly Change[]
  readonly bytes: number
  readonly addedChunks: number
  readonly addedBytes: number
  readonly resolve: () => void
  readonly reject: (error: DfsError) => void
}

export interface Addition {
  readonly chunks: number
  /** Sealed bytes. */
  readonly bytes: number
}

export class GroupCommitter {
  readonly #store: OrderedStore
  readonly #totalsKey: Buffer
  readonly #onFailure: (error: DfsError) => void
  #totals: ChunkTotals
  readonly #queue: Pending[] = []
  #running: Promise<void> | undefined
  #failure: DfsError | undefined
  /** False once something was changed whose size nobody knew. */
  #exact = true

  constructor(
    store: OrderedStore,
    totals: { readonly key: Buffer; readonly value: ChunkTotals },
    onFailure: (error: DfsError) => void,
  ) {
    this.#store = store
    this.#totalsKey = totals.key
    this.#totals = totals.value
    this.#onFailure = onFailure
  }

  get totals(): ChunkTotals {
    return this.#totals
  }

  /** The sums are guesses from here on: they are no longer recorded, so the next start counts anew. */
  distrustTotals(): void {
    this.#exact = false
  }

  /** Resolves when the changes are on stable storage. Throws `diskFull` or `diskFailed`. */
  commit(changes: readonly Change[], added: Addition = NOTHING): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      let bytes = 0
      for (const { key, value } of changes) bytes += key.length + (value?.length ?? 0)
      this.#queue.push({
        changes,
        bytes,
        addedChunks: added.chunks,
        addedBytes: added.bytes,
        resolve,
        reject,
      })
      this.#running ??= this.#run()
    })
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await this.#running
  }

  async #run(): Promise<void> {
    // A turn of the event loop later, so that the first batch of a burst is not a batch of one.
    await new Promise<void>((resolve) => setImmediate(resolve))
    while (this.#queue.length > 0) {
      const group = this.#takeGroup()
      try {
        await this.#write(group)
        for (const pending of group) pending.resolve()
      } catch (error) {
        this.#fail(error as DfsError, group)
      }
    }
    this.#running = undefined
  }

  #takeGroup(): Pending[] {
    let changes = 0
    let bytes = 0
    let count = 0
    for (const pending of this.#queue) {
      changes += pending.changes.length
      bytes += pending.bytes
      const full = changes > bounds.batchChangesMax || bytes > bounds.batchBytesMax
      if (full && count > 0) break
      count++
    }
    return this.#queue.splice(0, count)
  }

  async #write(group: readonly Pending[]): Promise<void> {
    let { chunks, sealedBytes } = this.#totals
    const changes: Change[] = []
    for (const pending of group) {
      chunks += pending.addedChunks
      sealedBytes += pending.addedBytes
      for (const change of pending.changes) changes.push(change)
    }
    const totals = { chunks: Math.max(0, chunks), sealedBytes: Math.max(0, sealedBytes) }
    const value = this.#exact ? ChunkTotals.encode(totals) : undefined
    changes.push({ key: this.#totalsKey, value })
    await this.#store.write(changes, { sync: true })
    this.#totals = totals
  }

  #fail(error: DfsError, group: readonly Pending[]): void {
    const first = this.#failure === undefined
    this.#failure = error
    for (const pending of [...group, ...this.#queue.splice(0)]) pending.reject(error)
    if (first) this.#onFailure(error)
  }
}

const NOTHING: Addition = { chunks: 0, bytes: 0 }
