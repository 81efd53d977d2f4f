/**
 * The servers behind this one on a chunk's way: forwarding to the first of them that can be reached,
 * while the chunk is stored here.
 *
 * A broken chain never stops the storing here. Nothing in this class throws for it: who did not get
 * the chunk, and why, is in the outcome. Every wait ends: `chainConnectMs`, `chainStallMs`,
 * `chainAnswerMs`.
 */
import type {
  ServerFailure,
  WriteChunkRequest,
  WriteChunkResponse,
} from '../../schema/generated/chunk.ts'
import type { ServerAddress } from '../../schema/generated/common.ts'
import { methods } from '../../schema/methods.ts'
import type { Call, Log } from '../../schema/rpc/api.ts'
import { DfsError, STATUS } from '../../schema/wire/status.ts'
import { bounds } from './bounds.ts'
import type { ServerPeers } from './server-peers.ts'

export interface ChainOutcome {
  /** Servers on which the chunk is durable, in order of the chain. */
  readonly servers: number[]
  readonly failed: ServerFailure[]
}

interface Link {
  readonly server: ServerAddress
  readonly rest: readonly ServerAddress[]
  readonly call: Call<WriteChunkResponse>
  /** Never rejects. */
  readonly answer: Promise<WriteChunkResponse | DfsError>
}

export class Chain {
  readonly #peers: ServerPeers
  readonly #chunk: number
  readonly #log: Log
  readonly #failed: ServerFailure[]
  #link: Link | undefined

  private constructor(
    peers: ServerPeers,
    chunk: number,
    log: Log,
    failed: ServerFailure[],
    link: Link | undefined,
  ) {
    this.#peers = peers
    this.#chunk = chunk
    this.#log = log
    this.#failed = failed
    this.#link = link
  }

  /** Opens the way to the first server of `request.chain` that answers; never throws. */
  static async open(
    peers: ServerPeers,
    request: WriteChunkRequest,
    log: Log,
    signal: AbortSignal,
  ): Promise<Chain> {
    const failed: ServerFailure[] = []
    for (const [at, server] of request.chain.entries()) {
      const rest = request.chain.slice(at + 1)
      try {
        const call = await openLink(peers, { ...request, chain: rest }, server, signal)
        const answer = call.response.catch(asDfsError)
        return new Chain(peers, request.chunk, log, failed, { server, rest, call, answer })
      } catch (error) {
        const failure = asDfsError(error)
        failed.push(failureOf(server, failure))
        if (!signal.aborted) peers.forget(server)
        log.warn(
          { chunk: request.chunk, server: server.id, code: failure.code, detail: failure.message },
          'cannot reach the next chunkserver of a chain; going on with the one behind it',
        )
      }
      if (signal.aborted) break
    }
    return new Chain(peers, request.chunk, log, failed, undefined)
  }

  /** Forwards bytes; they must not change before the promise resolves. */
  write(bytes: Uint8Array): Promise<void> | undefined {
    const link = this.#link
    if (link === undefined) return undefined
    let taken: Promise<void> | undefined
    try {
      taken = link.call.write(bytes)
    } catch (error) {
      this.#break(link, asDfsError(error))
      return undefined
    }
    if (taken === undefined) return undefined
    return new Promise((resolve) => {
      const limitMs = bounds.chainStallMs * (1 + link.rest.length)
      const stop = this.#watch(link, limitMs, () => {
        this.#break(link, stalled(link, 'took no byte', limitMs))
        resolve()
      })
      const settle = (error?: unknown): void => {
        stop()
        if (error !== undefined) this.#break(link, asDfsError(error))
        resolve()
      }
      taken.then(() => settle(), settle)
    })
  }

  /** All bytes were written. */
  end(): void {
    try {
      this.#link?.call.end()
    } catch (error) {
      if (this.#link !== undefined) this.#break(this.#link, asDfsError(error))
    }
  }

  /** The chain's answer, after `end`; `sealedBytes` is what was stored here. */
  async outcome(sealedBytes: number): Promise<ChainOutcome> {
    const link = this.#link
    if (link === undefined) return { servers: [], failed: this.#failed }
    const limitMs = bounds.chainAnswerMs * (1 + link.rest.length)
    let stop = (): void => undefined
    const late = new Promise<DfsError>((resolve) => {
      stop = this.#watch(link, limitMs, () => resolve(stalled(link, 'did not answer', limitMs)))
    })
    const answer = await Promise.race([link.answer, late])
    stop()
    if (answer instanceof DfsError) {
      this.#break(link, answer)
    } else if (answer.sealedBytes !== sealedBytes) {
      const detail = `stored ${answer.sealedBytes} of ${sealedBytes} bytes`
      this.#break(link, new DfsError('chunkTruncated', detail))
    } else {
      this.#link = undefined
      const known = new Set([link.server.id, ...link.rest.map(({ id }) => id)])
      return {
        servers: answer.servers.filter((id) => known.has(id)),
        failed: [...this.#failed, ...answer.failed.filter(({ server }) => known.has(server))],
      }
    }
    return { servers: [], failed: this.#failed }
  }

  /** Gives the chain up, when the chunk is not wanted any more. */
  cancel(): void {
    this.#link?.call.cancel()
    this.#link = undefined
  }

  /** Asks whether the server is there when it is silent, and calls `onLate` at the limit. */
  #watch(link: Link, limitMs: number, onLate: () => void): () => void {
    let waitedMs = 0
    const look = (): void => {
      waitedMs += bounds.chainSilenceMs
      if (waitedMs >= limitMs) {
        onLate()
        return
      }
      this.#peers.suspect(link.server)
      timer = setTimeout(look, bounds.chainSilenceMs)
    }
    let timer = setTimeout(look, bounds.chainSilenceMs)
    return () => clearTimeout(timer)
  }

  #break(link: Link, error: DfsError): void {
    if (this.#link !== link) return
    this.#link = undefined
    link.call.cancel()
    this.#failed.push(failureOf(link.server, error))
    for (const server of link.rest) {
      const why = new DfsError('chainBroken', `behind chunkserver ${link.server.id}, which failed`)
      this.#failed.push(failureOf(server, why))
    }
    this.#log.warn(
      { chunk: this.#chunk, server: link.server.id, code: error.code, detail: error.message },
      'the chain behind this chunkserver broke; the chunk is stored here all the same',
    )
  }
}

/** Opens the call to one server, within `chainConnectMs`. */
async function openLink(
  peers: ServerPeers,
  request: WriteChunkRequest,
  server: ServerAddress,
  signal: AbortSignal,
): Promise<Call<WriteChunkResponse>> {
  const connecting = new AbortController()
  const giveUp = (): void => connecting.abort()
  const timer = setTimeout(giveUp, bounds.chainConnectMs)
  signal.addEventListener('abort', giveUp, { once: true })
  try {
    return await peers.get(server).open(methods.writeChunk, request, {
      signal: connecting.signal,
      deadlineMs: bounds.chainDeadlineMs,
    })
  } catch (error) {
    if (!connecting.signal.aborted || signal.aborted) throw error
    throw new DfsError(
      'connectionRefused',
      `chunkserver ${server.id} at ${server.addresses.join(', ')} did not answer within ${bounds.chainConnectMs} ms`,
      { cause: error },
    )
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', giveUp)
  }
}

function stalled(link: Link, what: string, ms: number): DfsError {
  return new DfsError('deadlineExceeded', `chunkserver ${link.server.id} ${what} for ${ms} ms`)
}

function failureOf(server: ServerAddress, error: DfsError): ServerFailure {
  const detail = error.message.slice(0, bounds.failureDetailBytesMax)
  return { server: server.id, status: STATUS[error.code].wire, detail }
}

/** What the transport threw; anything but a DfsError is a bug and goes on as one. */
function asDfsError(error: unknown): DfsError {
  if (error instanceof DfsError) return error
  throw error
}
