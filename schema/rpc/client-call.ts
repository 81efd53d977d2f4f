/**
 * The calling side of one request.
 *
 * It ends exactly once for its caller: with the response, or a DfsError. On the stream it goes on
 * until both directions are over, so that the transport can forget the stream: a call that was given
 * up asks the peer to stop, reads away what still comes, and ends its own direction when the peer's
 * is over. (Ending earlier could be taken for a complete upload.)
 */
import { DfsError, STATUS } from '../wire/status.ts'
import type { Call, Method } from './api.ts'
import { decodeError, DETAIL_BYTES_MAX, encodeFrame, type FrameHeader } from './frame.ts'
import { Incoming } from './incoming.ts'
import { Outgoing } from './outgoing.ts'
import type { StreamPort } from './stream-port.ts'

/** Milliseconds that a call given up waits for the peer to stop before its stream is broken off. */
const STOPPING_MS_MAX = 10_000

/** What a call asks of its session. */
export interface CallOwner {
  readonly port: StreamPort
  now(): number
  /** The call has waiting output, or its stream is over, or something else changed. */
  progressed(call: ClientCall<never>): void
  /** The call was given up before it had a stream. */
  withdrawn(call: ClientCall<never>): void
  /** The call's deadline has become earlier. */
  expiresAt(atMs: number): void
  counted(error: DfsError): void
}

export interface ClientCallOptions<R> {
  readonly method: Method<never, R>
  readonly message: Uint8Array
  readonly deadlineMs: number
  /** Whether the request ends with its message. */
  readonly unary: boolean
  readonly signal: AbortSignal | undefined
}

export class ClientCall<R> implements Call<R> {
  readonly bulk: boolean
  /** The stream's id; -1 while the call waits for one. */
  id = -1
  readonly response: Promise<R>
  /** Milliseconds on the session's clock. */
  deadlineAtMs: number
  readonly #owner: CallOwner
  readonly #method: Method<never, R>
  readonly #deadlineMs: number
  readonly #unary: boolean
  readonly #signal: AbortSignal | undefined
  #message: Uint8Array | undefined
  #endWanted = false
  #outgoing: Outgoing | undefined
  #incoming: Incoming | undefined
  #state: 'waiting' | 'open' | 'answered' | 'ended' | 'stopping' = 'waiting'
  #resolve!: (response: R) => void
  #reject!: (error: Error) => void
  #error: DfsError | undefined
  /** A write made before the call had its stream. */
  #early: { bytes: Uint8Array; resolve: () => void; reject: (error: Error) => void } | undefined

  constructor(owner: CallOwner, options: ClientCallOptions<R>) {
    this.#owner = owner
    this.#method = options.method
    this.bulk = options.method.urgency === 'bulk'
    this.#message = options.message
    this.#deadlineMs = options.deadlineMs
    this.#unary = options.unary
    this.deadlineAtMs = owner.now() + options.deadlineMs
    this.response = new Promise<R>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#signal = options.signal
    this.#signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** Whether the stream needs nothing more from us. */
  get over(): boolean {
    if (this.#state === 'waiting') return false
    if (this.#state === 'stopping') return false
    return (this.#incoming?.over ?? true) && (this.#outgoing?.over ?? true)
  }

  /** Whether `flush` has something to do. */
  get hasOutput(): boolean {
    return this.#state === 'stopping' || (this.#outgoing?.blocked ?? false)
  }

  /** Gives the call its stream and sends the request. */
  start(id: number): void {
    const { port } = this.#owner
    this.id = id
    this.#state = 'open'
    this.#incoming = new Incoming(port, id)
    const outgoing = new Outgoing(port, id)
    this.#outgoing = outgoing
    if (this.bulk) port.markBulk(id)
    const left = Math.max(1, Math.round(this.deadlineAtMs - this.#owner.now()))
    const frame = encodeFrame(this.#method.id, left, this.#message ?? new Uint8Array(0))
    this.#message = undefined
    const early = this.#early
    this.#early = undefined
    outgoing.sendFrame(frame, early === undefined && (this.#unary || this.#endWanted))
    if (early !== undefined) {
      const written = outgoing.write(early.bytes)
      if (written === undefined) early.resolve()
      else written.then(early.resolve, early.reject)
      if (this.#endWanted) outgoing.end()
    }
    this.#progressed()
  }

  write(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#error !== undefined) return Promise.reject(this.#error)
    if (this.#outgoing === undefined) {
      return new Promise((resolve, reject) => {
        this.#early = { bytes, resolve, reject }
      })
    }
    const written = this.#outgoing.write(bytes)
    this.#progressed()
    return written
  }

  end(): void {
    this.#endWanted = true
    if (this.#outgoing === undefined) return
    this.#outgoing.end()
    this.#progressed()
  }

  read(into: Uint8Array): number | Promise<number> {
    if (this.#error !== undefined) return Promise.reject(this.#error)
    if (this.#incoming === undefined) {
      return Promise.reject(new DfsError('invalidArgument', 'read before the response arrived'))
    }
    const bytes = this.#incoming.read(into)
    // Reading frees flow-control credit that the peer may wait for.
    this.#progressed()
    return bytes
  }

  cancel(): void {
    this.giveUp(new DfsError('cancelled', `${this.#method.name} was cancelled by its caller`))
  }

  /** The transport has something to read for this call. */
  poll(): void {
    const incoming = this.#incoming
    if (incoming === undefined) return
    if (this.#state === 'open') this.#pollResponse(incoming)
    else if (this.#state === 'answered') this.#pollPayload(incoming)
    else incoming.poll()
  }

  flush(): void {
    if (this.#state === 'stopping') this.#finishStopping()
    else this.#outgoing?.flush()
  }

  expire(nowMs: number): void {
    if (nowMs < this.deadlineAtMs) return
    if (this.#state === 'stopping') {
      this.#owner.port.reset(this.id, STATUS.cancelled.wire)
      this.#state = 'ended'
      this.#outgoing?.break(this.#error ?? lost())
      this.#incoming = undefined
      return
    }
    const where = this.#state === 'waiting' ? 'waiting for a free stream' : 'without an answer'
    this.giveUp(
      new DfsError(
        'deadlineExceeded',
        this.#state === 'answered'
          ? `${this.#method.name}: payload not finished within ${this.#deadlineMs} ms`
          : `${this.#method.name}: ${this.#deadlineMs} ms passed ${where}`,
      ),
    )
  }

  /** The connection is gone. */
  fail(reason: DfsError): void {
    const error =
      this.#state === 'waiting' || this.#error !== undefined ? reason : this.#lost(reason)
    this.#state = 'ended'
    this.#settle(error)
    this.#outgoing?.break(error)
    this.#incoming?.discard(error)
    this.#incoming = undefined
  }

  /** Rejects whatever the caller waits for and asks the peer to stop. */
  giveUp(error: DfsError): void {
    if (this.#state === 'stopping' || this.over) return
    if (this.#state === 'waiting') {
      this.fail(error)
      this.#owner.withdrawn(this as unknown as ClientCall<never>)
      return
    }
    this.#settle(error)
    const { port } = this.#owner
    // Read first: bytes still unread when reception is stopped never give their credit back.
    this.#incoming?.discard(error)
    if (this.#incoming?.over !== true) port.stopReceiving(this.id, STATUS[error.code].wire)
    this.#state = 'stopping'
    this.deadlineAtMs = this.#owner.now() + STOPPING_MS_MAX
    this.#owner.expiresAt(this.deadlineAtMs)
    this.#dropOutput(error)
    this.#progressed()
  }

  readonly #onAbort = (): void => this.cancel()

  #pollResponse(incoming: Incoming): void {
    let response: R
    try {
      if (!incoming.pollFrame(this.#messageBytesMax)) return
      const { header } = incoming
      const message = incoming.takeMessage()
      if (header.code !== 0) {
        this.#answeredWithError(incoming, decodeError(header, message))
        return
      }
      response = this.#method.response.decode(message)
      incoming.startPayload(this.#method.downloadBytesMax)
      this.#state = 'answered'
      if (this.#method.downloadBytesMax === 0) incoming.pollEnd()
    } catch (error) {
      this.#brokenResponse(error)
      return
    }
    this.#resolve(response)
    if (this.#unary && this.#method.downloadBytesMax === 0) this.#detach()
  }

  #pollPayload(incoming: Incoming): void {
    if (this.#method.downloadBytesMax > 0) {
      incoming.poll()
      if (incoming.over) this.#detach()
      return
    }
    try {
      incoming.pollEnd()
    } catch (error) {
      this.#brokenResponse(error)
    }
  }

  readonly #messageBytesMax = (header: FrameHeader): number =>
    header.code === 0 ? this.#method.responseBytesMax : DETAIL_BYTES_MAX

  /** The peer refused: what we still had to send is pointless, and ends regularly. */
  #answeredWithError(incoming: Incoming, error: DfsError): void {
    this.#settle(error)
    incoming.discard(error)
    this.#state = 'ended'
    this.#outgoing?.endNow(error)
    this.#detach()
  }

  #brokenResponse(cause: unknown): void {
    if (!(cause instanceof DfsError)) throw cause
    const error = new DfsError(cause.code, `answer to ${this.#method.name}: ${cause.message}`, {
      cause,
    })
    this.#owner.counted(error)
    this.giveUp(error)
  }

  #dropOutput(error: DfsError): void {
    const outgoing = this.#outgoing
    if (outgoing === undefined) return
    if (!outgoing.over) outgoing.break(error)
  }

  /** What the end of the connection means for this request: nobody knows whether it was carried out. */
  #lost(reason: DfsError): DfsError {
    const { name, replay } = this.#method
    const advice =
      replay === 'harmless'
        ? 'it may be repeated'
        : 'it may have been carried out: repeat it with the same operation id only'
    return new DfsError(reason.code, `${name}: ${reason.message}; ${advice}`, { cause: reason })
  }

  /** Ends our direction once the peer's is over, so that nobody mistakes it for a whole upload. */
  #finishStopping(): void {
    const { port } = this.#owner
    if (!port.peerFinished(this.id)) return
    if (this.#outgoing?.ended === true) port.reset(this.id, STATUS.cancelled.wire)
    else port.send(this.id, new Uint8Array(0), true)
    this.#state = 'ended'
    this.#incoming = undefined
  }

  #settle(error: DfsError): void {
    if (this.#error !== undefined) return
    this.#error = error
    this.#detach()
    this.#reject(error)
    const early = this.#early
    this.#early = undefined
    early?.reject(error)
  }

  #detach(): void {
    this.#signal?.removeEventListener('abort', this.#onAbort)
  }

  #progressed(): void {
    this.#owner.progressed(this as unknown as ClientCall<never>)
    this.#owner.port.wake()
  }
}

function lost(): DfsError {
  return new DfsError('connectionLost', 'the connection ended')
}
