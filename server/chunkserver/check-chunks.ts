/**
 * checkChunks: tells the metadata server which of the chunks that it counts on are not here, or not
 * good. With `verify` they are read from end to end, at the rate of copies; what is found so is
 * marked by the store, as when a client finds it.
 */
import type { CheckChunksRequest, CheckChunksResponse } from '../../schema/generated/cluster.ts'
import type { ServerCall } from '../../schema/rpc/api.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { bounds } from './bounds.ts'
import { blockCount } from './chunk-format.ts'
import type { ChunkStore } from './chunk-store.ts'
import { InProgress } from './in-progress.ts'
import type { RateLimit } from './rate-limit.ts'

export class ChunkChecks {
  readonly inProgress = new InProgress()
  readonly #store: ChunkStore
  readonly #rate: RateLimit

  constructor(store: ChunkStore, rate: RateLimit) {
    this.#store = store
    this.#rate = rate
  }

  async serve(
    { chunks, verify }: CheckChunksRequest,
    { signal }: ServerCall,
  ): Promise<CheckChunksResponse> {
    const most = verify ? bounds.verifiedChunksMax : bounds.checkedChunksMax
    if (chunks.length > most) {
      throw new DfsError('invalidArgument', `${chunks.length} chunks; ${most} are checked at once`)
    }
    if (this.inProgress.count >= bounds.checksMax) {
      throw new DfsError('tooManyRequests', `${bounds.checksMax} checks are being made here`)
    }
    this.inProgress.enter()
    try {
      const bad: number[] = []
      for (const chunk of chunks) {
        if (signal.aborted) throw new DfsError('cancelled', 'the check was given up')
        if (!(await this.#good(chunk, verify, signal))) bad.push(chunk)
      }
      return { bad }
    } finally {
      this.inProgress.leave()
    }
  }

  async #good(chunk: number, verify: boolean, signal: AbortSignal): Promise<boolean> {
    if (!(await this.#store.holds(chunk))) return false
    if (!verify) return true
    try {
      await this.#read(chunk, signal)
      return true
    } catch (error) {
      if (!(error instanceof DfsError)) throw error
      if (error.code === 'chunkCorrupt' || error.code === 'chunkMissing') return false
      throw error
    }
  }

  async #read(chunk: number, signal: AbortSignal): Promise<void> {
    const reader = await this.#store.open(chunk)
    try {
      const buffer = Buffer.allocUnsafeSlow(
        Math.min(bounds.readPieceBlocks * limits.sealedBlockBytes, reader.sealedBytes),
      )
      const blocks = blockCount(reader.sealedBytes)
      for (let at = 0; at < blocks; at += bounds.readPieceBlocks) {
        const count = Math.min(bounds.readPieceBlocks, blocks - at)
        await this.#rate.take(count * limits.sealedBlockBytes, signal)
        if (signal.aborted) throw new DfsError('cancelled', 'the check was given up')
        await reader.read(at, count, buffer)
      }
    } finally {
      reader.close()
    }
  }
}
