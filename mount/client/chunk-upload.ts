/**
 * One attempt to send a chunk to a chain of servers, while it is still growing.
 *
 * Ends with who has it durable, or with why not: the first server's refusal, no progress for too
 * long, or `cancelled` because the application paused for so long that the stream is not worth
 * keeping (`suspended`), in which case the chunk is sent again later.
 */
import { performance } from 'node:perf_hooks'
import type {
  ServerFailure,
  WriteChunkRequest,
  WriteChunkResponse,
} from '../../schema/generated/chunk.ts'
import type { ServerAddress } from '../../schema/generated/common.ts'
import { methods } from '../../schema/methods.ts'
import type { Peer } from '../../schema/quic/api.ts'
import type { Call } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { SILENCE_MS } from './liveness.ts'
import type { SealedChunk } from './sealed-chunk.ts'

/** Milliseconds in which a server must take something, and answer after the last byte. */
const STALL_MS = 15_000
const ANSWER_MS = 60_000
/** Milliseconds without new bytes after which the stream is given up for the time being. */
const IDLE_MS = 5_000
/** The call as a whole; shorter limits above end it in practice. */
const CALL_MS = 3_600_000

export interface UploadOptions {
  readonly chunk: number
  readonly ticket: Uint8Array
  readonly sealed: SealedChunk
  readonly peer: Peer
  /** Called when a server takes nothing for a while. */
  readonly suspect: (server: number) => void
  /** Who is to have the chunk; `peer` is the first of them. */
  readonly chain: readonly [ServerAddress, ...ServerAddress[]]
}

export interface UploadResult {
  readonly servers: readonly number[]
  readonly failed: readonly ServerFailure[]
}

type Phase = 'connecting' | 'sending' | 'idle' | 'answering'

export class ChunkUpload {
  readonly #options: UploadOptions
  readonly #abort = new AbortController()
  #phase: Phase = 'connecting'
  #progressMs = performance.now()
  /** Why we ended it ourselves. */
  #ended: DfsError | undefined
  #suspended = false
  #more: (() => void) | undefined

  constructor(options: UploadOptions) {
    this.#options = options
  }

  /** The stream was given up because nothing came; not a failure of any server. */
  get suspended(): boolean {
    return this.#suspended
  }

  /** Sends what there is and what comes, until the end. Throws DfsError. */
  async run(): Promise<UploadResult> {
    const { chunk, ticket, sealed, peer, chain } = this.#options
    const request = { chunk, ticket, header: sealed.header, chain: chain.slice(1) }
    const call = await this.#open(peer, request)
    const response = call.response
    // A refusal before the last byte wakes the sender, which then meets the broken stream.
    response.catch(() => this.wake())
    try {
      await this.#send(call)
    } catch (error) {
      call.cancel()
      await this.#response(response)
      throw error
    }
    return this.#result(await this.#response(response))
  }

  /** The chunk has grown or ended. */
  wake(): void {
    const more = this.#more
    this.#more = undefined
    more?.()
  }

  /** Gives the attempt up; `run` rejects with `reason`. */
  cancel(reason: DfsError): void {
    this.#ended ??= reason
    this.#abort.abort()
    this.wake()
  }

  /** To be called about every second: ends what makes no progress. */
  tick(nowMs: number): void {
    const stillMs = nowMs - this.#progressMs
    const { chunk, chain } = this.#options
    const where = `chunk ${chunk} to chunkserver ${chain[0].id}`
    if (this.#phase === 'idle' && stillMs > IDLE_MS) {
      this.#suspended = true
      this.cancel(new DfsError('cancelled', `${where}: nothing to send for ${IDLE_MS} ms`))
    } else if ((this.#phase === 'sending' || this.#phase === 'connecting') && stillMs > STALL_MS) {
      this.cancel(new DfsError('deadlineExceeded', `${where}: took nothing for ${STALL_MS} ms`))
    } else if (this.#phase !== 'idle' && stillMs > SILENCE_MS) {
      this.#options.suspect(chain[0].id)
    }
    if (this.#phase === 'answering' && stillMs > ANSWER_MS) {
      this.cancel(new DfsError('deadlineExceeded', `${where}: not durable after ${ANSWER_MS} ms`))
    }
  }

  async #open(peer: Peer, request: WriteChunkRequest): Promise<Call<WriteChunkResponse>> {
    try {
      const options = { deadlineMs: CALL_MS, signal: this.#abort.signal }
      return await peer.open(methods.writeChunk, request, options)
    } catch (error) {
      throw this.#ended ?? error
    }
  }

  async #send(call: Call<WriteChunkResponse>): Promise<void> {
    const { sealed } = this.#options
    let index = 0
    let sent = 0
    for (;;) {
      if (this.#ended !== undefined) throw this.#ended
      const segment = sealed.segment(index)
      if (segment !== undefined && sent < segment.filled) {
        this.#enter('sending')
        const until = segment.filled
        const taken = call.write(segment.bytes.subarray(sent, until))
        if (taken !== undefined) await taken
        sent = until
      } else if (segment !== undefined && sealed.segment(index + 1) !== undefined) {
        index++
        sent = 0
      } else if (sealed.ended) {
        break
      } else {
        this.#enter('idle')
        await new Promise<void>((resolve) => {
          this.#more = resolve
        })
      }
    }
    this.#enter('answering')
    call.end()
  }

  #enter(phase: Phase): void {
    this.#phase = phase
    this.#progressMs = performance.now()
  }

  /** The response, or the error that explains its absence best: ours, when we ended it. */
  async #response(response: Promise<WriteChunkResponse>): Promise<WriteChunkResponse> {
    try {
      return await response
    } catch (error) {
      throw this.#ended ?? error
    }
  }

  #result({ sealedBytes, servers, failed }: WriteChunkResponse): UploadResult {
    const { chunk, chain, sealed } = this.#options
    if (sealedBytes !== sealed.sealedBytes) {
      const detail = `chunk ${chunk}: ${sealedBytes} of ${sealed.sealedBytes} bytes were stored`
      throw new DfsError('chunkTruncated', detail)
    }
    // A server cannot acknowledge for one that we did not ask.
    const asked = new Set(chain.map(({ id }) => id))
    return { servers: servers.filter((id) => asked.has(id)), failed }
  }
}
