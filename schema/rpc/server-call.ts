/**
 * The serving side of one request.
 *
 * Refuses before it allocates, runs the handler, and answers exactly once. When the caller gives up,
 * its deadline passes or the connection ends, the handler's signal aborts and its reads and writes
 * reject; what it returns afterwards is dropped.
 */
import { DfsError, STATUS } from '../wire/status.ts'
import { invariant } from '../wire/invariant.ts'
import type { Connection, Log, ServerCall as HandlerCall } from './api.ts'
import { encodeErrorFrame, encodeFrame, type FrameHeader } from './frame.ts'
import { Incoming } from './incoming.ts'
import type { MethodTable, ServedMethod } from './method-table.ts'
import { Outgoing } from './outgoing.ts'
import type { StreamPort } from './stream-port.ts'

/** Milliseconds that a request may take to arrive before its method, and so its limit, is known. */
const FRAME_MS_MAX = 10_000
/** Longest deadline a caller can ask for, ms. */
const DEADLINE_MS_MAX = 3_600_000
/** Milliseconds that the caller may go on sending after the answer before the stream is broken off. */
const LINGER_MS_MAX = 10_000

/** What a handler gets that goes on reading after its answer; made once, a stack trace is costly. */
const ANSWERED = new DfsError('cancelled', 'the request was answered already')

export interface ServingOwner {
  readonly port: StreamPort
  readonly connection: Connection
  readonly methods: MethodTable
  readonly log: Log
  readonly draining: boolean
  now(): number
  expiresAt(atMs: number): void
  /** The call has waiting output, or its stream is over, or something else changed. */
  progressed(call: ServerCall): void
  counted(error: DfsError): void
}

export class ServerCall implements HandlerCall {
  bulk = false
  readonly id: number
  /** Milliseconds on the session's clock. */
  deadlineAtMs: number
  readonly #owner: ServingOwner
  readonly #incoming: Incoming
  readonly #outgoing: Outgoing
  #served: ServedMethod | undefined
  #state: 'frame' | 'running' | 'answered' = 'frame'
  #responded = false
  #abort: AbortController | undefined
  #error: DfsError | undefined

  constructor(owner: ServingOwner, id: number) {
    this.#owner = owner
    this.id = id
    this.#incoming = new Incoming(owner.port, id)
    this.#outgoing = new Outgoing(owner.port, id)
    this.deadlineAtMs = owner.now() + FRAME_MS_MAX
  }

  get connection(): Connection {
    return this.#owner.connection
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.#error !== undefined && !this.#abort.signal.aborted) this.#abort.abort(this.#error)
    return this.#abort.signal
  }

  get messageBytes(): number {
    return this.#incoming.header.messageBytes
  }

  get over(): boolean {
    return this.#state === 'answered' && this.#incoming.over && this.#outgoing.over
  }

  /** Whether a handler is at work, so that a caller who gave up is worth noticing. */
  get running(): boolean {
    return this.#state === 'running'
  }

  get hasOutput(): boolean {
    return this.#outgoing.blocked
  }

  read(into: Uint8Array): number | Promise<number> {
    if (this.#error !== undefined) return Promise.reject(this.#error)
    if (this.#abandonIfStopped()) return Promise.reject(gaveUp())
    const bytes = this.#incoming.read(into)
    // Reading frees flow-control credit that the caller may wait for.
    this.#owner.port.wake()
    return bytes
  }

  respond(response: unknown): void {
    if (this.#error !== undefined) return
    const served = this.#served
    invariant(served !== undefined && !this.#responded, 'a request is answered once')
    this.#responded = true
    this.#outgoing.sendFrame(encodeFrame(0, 0, served.method.response.encode(response)), false)
    this.#progressed()
  }

  write(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#error !== undefined) return Promise.reject(this.#error)
    invariant(this.#responded, 'payload follows the response')
    const written = this.#outgoing.write(bytes)
    this.#progressed()
    return written
  }

  /** The transport has something to read for this call. */
  poll(): void {
    try {
      if (this.#state === 'frame') this.#pollRequest()
      else if (this.#state === 'running' && !this.#takesPayload) this.#incoming.pollEnd()
      else {
        this.#abandonIfStopped()
        this.#incoming.poll()
      }
    } catch (error) {
      this.#refuse(error)
    }
  }

  flush(): void {
    this.#outgoing.flush()
  }

  /** Notices a caller who gave up, while a handler is at work. */
  checkStopped(): void {
    if (this.#owner.port.peerStopped(this.id)) this.#abandon(gaveUp())
  }

  expire(nowMs: number): void {
    if (nowMs < this.deadlineAtMs) return
    if (this.#state === 'answered') {
      // Whoever neither ends nor reads is cut off, so that its stream is not held for ever.
      this.#owner.port.stopReceiving(this.id, STATUS.deadlineExceeded.wire)
      this.#owner.port.reset(this.id, STATUS.deadlineExceeded.wire)
      this.#outgoing.break(late('the end of the stream'))
      this.#incoming.giveUp()
      return
    }
    const error = late(this.#served?.method.name ?? 'a request that never arrived whole')
    this.#owner.counted(error)
    this.#answerError(error)
  }

  /** The connection is gone. */
  fail(error: DfsError): void {
    this.#abandon(error)
    this.#incoming.giveUp()
  }

  /**
   * quiche answers a peer that gives up by resetting our side itself; asked before an end of payload
   * is believed, or a cut upload would pass for a whole one.
   */
  #abandonIfStopped(): boolean {
    if (this.#state !== 'running' || !this.#owner.port.peerStopped(this.id)) return false
    this.#abandon(gaveUp())
    return true
  }

  #pollRequest(): void {
    if (!this.#incoming.pollFrame(this.#messageBytesMax)) return
    const served = this.#served
    invariant(served !== undefined, 'a complete frame has found its method')
    const { method, handler } = served
    const wanted = this.#incoming.header.deadlineMs
    this.deadlineAtMs =
      this.#owner.now() + Math.min(wanted === 0 ? method.deadlineMs : wanted, DEADLINE_MS_MAX)
    this.#owner.expiresAt(this.deadlineAtMs)
    this.bulk = method.urgency === 'bulk'
    if (this.bulk) this.#owner.port.markBulk(this.id)
    const request = method.request.decode(this.#incoming.takeMessage())
    this.#incoming.startPayload(method.uploadBytesMax)
    if (!this.#takesPayload) this.#incoming.pollEnd()
    this.#state = 'running'
    this.#run(handler, request)
  }

  #run(handler: ServedMethod['handler'], request: unknown): void {
    let result: unknown
    try {
      result = handler(request, this)
    } catch (error) {
      this.#thrown(error)
      return
    }
    if (result instanceof Promise) {
      result.then(
        (response) => this.#finish(response),
        (error: unknown) => this.#thrown(error),
      )
    } else {
      this.#finish(result)
    }
  }

  /** The handler's own failures must not escape into the transport's turn. */
  #finish(response: unknown): void {
    if (this.#state !== 'running') return
    try {
      const { method } = this.#served as ServedMethod
      if (this.#responded) {
        invariant(response === undefined, `${method.name} answers once: respond, or return`)
        this.#outgoing.end()
      } else {
        invariant(response !== undefined, `the handler of ${method.name} returned no response`)
        this.#responded = true
        this.#outgoing.sendFrame(encodeFrame(0, 0, method.response.encode(response)), true)
      }
    } catch (error) {
      this.#thrown(error)
      return
    }
    this.#answered()
  }

  #thrown(error: unknown): void {
    if (this.#state !== 'running') return
    if (error instanceof DfsError) {
      this.#answerError(error)
      return
    }
    const name = this.#served?.method.name
    this.#owner.log.error(
      { err: error, method: name, peer: this.connection.peer },
      'handler failed',
    )
    this.#answerError(new DfsError('internal', `${name} failed on the server; its log says why`))
  }

  /** What arrived is not a request we serve. */
  #refuse(error: unknown): void {
    if (!(error instanceof DfsError)) throw error
    if (error.code === 'cancelled') {
      this.#abandon(error)
      return
    }
    this.#owner.counted(error)
    this.#answerError(error)
  }

  #answerError(error: DfsError): void {
    this.#error = error
    if (this.#responded) this.#owner.port.reset(this.id, STATUS[error.code].wire)
    if (this.#responded) this.#outgoing.break(error)
    else this.#outgoing.sendFrame(encodeErrorFrame(error.code, error.message), true)
    this.#responded = true
    this.#abort?.abort(error)
    this.#answered()
  }

  /** Nobody waits for the answer any more. */
  #abandon(error: DfsError): void {
    this.#error ??= error
    this.#outgoing.break(error)
    this.#abort?.abort(error)
    this.#answered()
  }

  #answered(): void {
    this.#state = 'answered'
    this.#incoming.discard(this.#error ?? ANSWERED)
    if (!this.over) {
      this.deadlineAtMs = Math.max(this.deadlineAtMs, this.#owner.now() + LINGER_MS_MAX)
      this.#owner.expiresAt(this.deadlineAtMs)
    }
    this.#progressed()
  }

  readonly #messageBytesMax = (header: FrameHeader): number => {
    if (this.#owner.draining) {
      throw new DfsError('shuttingDown', 'the server is shutting down; try another or later')
    }
    this.#served = this.#owner.methods.find(header.code)
    if (this.#served === undefined) {
      throw new DfsError('methodUnknown', `no method ${header.code} is served here`)
    }
    return this.#served.method.requestBytesMax
  }

  get #takesPayload(): boolean {
    return (this.#served?.method.uploadBytesMax ?? 0) > 0
  }

  #progressed(): void {
    this.#owner.progressed(this)
    this.#owner.port.wake()
  }
}

function gaveUp(): DfsError {
  return new DfsError('cancelled', 'the caller gave the request up')
}

function late(what: string): DfsError {
  return new DfsError('deadlineExceeded', `deadline passed while serving ${what}`)
}
