/**
 * copyChunk: makes a replica here, from another chunkserver, as the metadata server asks.
 *
 * Every block is checked, while it arrives, against the checksum that it had when it was written. The
 * copy is there whole and durable or not at all; a damaged one that was here stays until then. The
 * rate is bounded, and connections are not those of the users' writes, which would wait behind it.
 */
import type { FetchChunkResponse } from '../../schema/generated/chunk.ts'
import type { CopyChunkRequest, CopyChunkResponse } from '../../schema/generated/cluster.ts'
import type { ServerAddress } from '../../schema/generated/common.ts'
import { methods } from '../../schema/methods.ts'
import type { Call, Log, ServerCall } from '../../schema/rpc/api.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError, STATUS } from '../../schema/wire/status.ts'
import { bounds } from './bounds.ts'
import { blockCount, damagedBlock, decodeChecksums } from './chunk-format.ts'
import type { ChunkStore, ChunkWriter } from './chunk-store.ts'
import type { DiskSpace } from './disk-space.ts'
import { InProgress } from './in-progress.ts'
import type { RateLimit } from './rate-limit.ts'
import type { ServerPeers } from './server-peers.ts'

const PIECE_BYTES = bounds.writePieceBlocks * limits.sealedBlockBytes

export interface ChunkCopiesOptions {
  readonly store: ChunkStore
  readonly space: DiskSpace
  /** Connections for copies only. */
  readonly peers: ServerPeers
  readonly rate: RateLimit
  readonly log: Log
}

export class ChunkCopies {
  readonly inProgress = new InProgress()
  readonly #options: ChunkCopiesOptions

  constructor(options: ChunkCopiesOptions) {
    this.#options = options
  }

  /** Throws when it is this side that cannot; a failure of the source is in the answer. */
  async serve(request: CopyChunkRequest, { signal }: ServerCall): Promise<CopyChunkResponse> {
    const { chunk, source } = request
    if (this.inProgress.count >= bounds.copiesMax) {
      throw new DfsError('tooManyRequests', `${bounds.copiesMax} copies are being made here`)
    }
    this.inProgress.enter()
    try {
      await this.#options.space.requireRoom()
      const sealedBytes = await this.#copy(request, signal)
      this.#options.log.debug({ chunk, source: source.id, sealedBytes }, 'made a replica')
      return { sealedBytes, sourceStatus: 0, detail: '' }
    } catch (error) {
      if (!(error instanceof SourceFailure)) throw error
      const { code, message } = error.failure
      this.#options.log.warn(
        { chunk, source: source.id, code, detail: message },
        'cannot make a replica from this source',
      )
      const detail = message.slice(0, bounds.failureDetailBytesMax)
      return { sealedBytes: 0, sourceStatus: STATUS[code].wire, detail }
    } finally {
      this.inProgress.leave()
    }
  }

  async #copy({ chunk, ticket, source }: CopyChunkRequest, signal: AbortSignal): Promise<number> {
    const call = await ofSource(this.#open(source, chunk, ticket, signal))
    try {
      call.end()
      const response = await ofSource(call.response)
      const crcs = decodeChecksums(response.checksums)
      if (response.sealedBytes === 0 || crcs.length !== blockCount(response.sealedBytes)) {
        throw sourceFailure('chunkTruncated', `chunk ${chunk} came without all its checksums`)
      }
      const writer = await this.#options.store.replace(chunk, response.header)
      try {
        await this.#transfer(call, response, crcs, { writer, chunk, source, signal })
        if (signal.aborted) throw new DfsError('cancelled', `the copy of ${chunk} was given up`)
        return (await writer.commit()).sealedBytes
      } finally {
        await writer.abort()
      }
    } finally {
      call.cancel()
    }
  }

  async #open(
    source: ServerAddress,
    chunk: number,
    ticket: Uint8Array,
    signal: AbortSignal,
  ): Promise<Call<FetchChunkResponse>> {
    const { peers } = this.#options
    const within = AbortSignal.any([signal, AbortSignal.timeout(bounds.copyConnectMs)])
    try {
      return await peers.get(source).open(methods.fetchChunk, { chunk, ticket }, { signal: within })
    } catch (error) {
      if (!signal.aborted) peers.forget(source)
      if (!within.aborted || signal.aborted) throw error
      throw new DfsError(
        'connectionRefused',
        `chunkserver ${source.id} at ${source.addresses.join(', ')} did not answer within ${bounds.copyConnectMs} ms`,
        { cause: error },
      )
    }
  }

  async #transfer(
    call: Call<FetchChunkResponse>,
    { sealedBytes }: FetchChunkResponse,
    crcs: Uint32Array,
    to: {
      readonly writer: ChunkWriter
      readonly chunk: number
      readonly source: ServerAddress
      readonly signal: AbortSignal
    },
  ): Promise<void> {
    const { space, rate, peers } = this.#options
    const { chunk, source, signal } = to
    const giveUp = (): void => call.cancel()
    signal.addEventListener('abort', giveUp, { once: true })
    try {
      const buffer = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, sealedBytes))
      let unmeasured = 0
      for (let at = 0; at < sealedBytes; at += buffer.length) {
        const piece = buffer.subarray(0, Math.min(buffer.length, sealedBytes - at))
        await rate.take(piece.length, signal)
        await ofSource(fill(call, piece, chunk, () => peers.suspect(source)))
        const damaged = damagedBlock(piece, crcs, at / limits.sealedBlockBytes)
        if (damaged !== undefined) {
          throw sourceFailure('chunkCorrupt', `block ${damaged} of chunk ${chunk} came damaged`)
        }
        await to.writer.append(piece)
        unmeasured += piece.length
        if (unmeasured < bounds.spaceEveryBytes) continue
        await space.requireHalfReserve()
        unmeasured = 0
      }
    } finally {
      signal.removeEventListener('abort', giveUp)
    }
  }
}

/** Fills `into`; the source is given up when it sends nothing for `copyStallMs`. */
async function fill(
  call: Call<unknown>,
  into: Buffer,
  chunk: number,
  onSilence: () => void,
): Promise<void> {
  let stalled = false as boolean
  const silence = setTimeout(onSilence, bounds.chainSilenceMs)
  const stall = setTimeout(() => {
    stalled = true
    call.cancel()
  }, bounds.copyStallMs)
  try {
    let at = 0
    while (at < into.length) {
      const got = call.read(at === 0 ? into : into.subarray(at))
      const bytes = typeof got === 'number' ? got : await got
      if (bytes === 0) throw new DfsError('chunkTruncated', `chunk ${chunk} ended too early`)
      at += bytes
    }
  } catch (error) {
    if (!stalled) throw error
    const detail = `the source of chunk ${chunk} sent nothing for ${bounds.copyStallMs} ms`
    throw new DfsError('deadlineExceeded', detail, { cause: error })
  } finally {
    clearTimeout(silence)
    clearTimeout(stall)
  }
}

/** It was the source that failed. */
class SourceFailure extends Error {
  override readonly name = 'SourceFailure'
  readonly failure: DfsError

  constructor(failure: DfsError) {
    super(failure.message, { cause: failure })
    this.failure = failure
  }
}

const sourceFailure = (code: 'chunkCorrupt' | 'chunkTruncated', detail: string): SourceFailure =>
  new SourceFailure(new DfsError(code, detail))

async function ofSource<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw error instanceof DfsError ? new SourceFailure(error) : error
  }
}
