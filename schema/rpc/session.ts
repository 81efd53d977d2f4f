/**
 * One connection's requests, both ways, without I/O: streams and time in, streams and promises out.
 *
 * The driver calls `readable` for each stream that has something, then `flush`, in turns, and
 * `expire` at `wakeAtMs` at the latest. Nothing here holds a timer, and all that was opened is gone
 * when its streams are over.
 */
import { DfsError } from '../wire/status.ts'
import type { Call, CallOptions, Connection, Log, Method } from './api.ts'
import { ClientCall, type CallOwner } from './client-call.ts'
import type { MethodTable } from './method-table.ts'
import { ServerCall, type ServingOwner } from './server-call.ts'
import { NOTHING, type StreamPort } from './stream-port.ts'

/** Calls that may wait for the peer to allow another stream. */
const WAITING_CALLS_MAX = 16_384
/** Milliseconds between looks for callers who gave up while their handler is at work. */
const STOP_CHECK_MS = 5
const STREAM_KIND_BITS = 3

export interface SessionOptions {
  readonly port: StreamPort
  readonly methods: MethodTable
  readonly log: Log
  /** Milliseconds on a clock that never steps back. */
  readonly now: () => number
  /** Requests and answers refused or failed, for counting by status. */
  readonly counted: (error: DfsError) => void
  /** Low bits of the stream ids that we open: 0 for a client, 1 for a server. */
  readonly ownStreamKind: 0 | 1
}

type AnyCall = ClientCall<never> | ServerCall

export class Session implements CallOwner, ServingOwner {
  readonly port: StreamPort
  readonly methods: MethodTable
  readonly log: Log
  readonly connection: Connection
  readonly now: () => number
  readonly counted: (error: DfsError) => void
  draining = false
  readonly #ownStreamKind: number
  readonly #calls = new Map<number, AnyCall>()
  /** Calls with output that the transport did not take, by urgency. */
  readonly #blockedControl = new Set<AnyCall>()
  readonly #blockedBulk = new Set<AnyCall>()
  readonly #waiting = new Set<ClientCall<never>>()
  /** Requests whose handlers are at work beyond the turn that started them. */
  readonly #running = new Set<ServerCall>()
  #expireAtMs = Infinity
  #stopCheckAtMs = Infinity
  #stopCheckedMs = 0
  #error: DfsError | undefined

  constructor(connection: Connection, options: SessionOptions) {
    this.connection = connection
    this.port = options.port
    this.methods = options.methods
    this.log = options.log
    this.now = options.now
    this.counted = options.counted
    this.#ownStreamKind = options.ownStreamKind
  }

  /** When `expire` must be called at the latest; Infinity while nothing is open. */
  get wakeAtMs(): number {
    return Math.min(this.#expireAtMs, this.#stopCheckAtMs)
  }

  /** Requests with an open stream or waiting for one, both ways. */
  get open(): number {
    return this.#calls.size + this.#waiting.size
  }

  /** Requests of ours under way. */
  get calling(): number {
    let count = this.#waiting.size
    for (const call of this.#calls.values()) if (call instanceof ClientCall) count++
    return count
  }

  /** Requests of the peer under way. */
  get serving(): number {
    return this.open - this.calling
  }

  /** Whether output waits for the transport to take it. */
  get blockedOutput(): boolean {
    return this.#blockedControl.size + this.#blockedBulk.size > 0
  }

  /**
   * Starts a call. `unary` ends the request with its message.
   *
   * Throws DfsError `connectionLost` after the connection's end, `frameTooLarge` for a request above
   * its method's limit, `tooManyRequests` when {@link WAITING_CALLS_MAX} calls wait already.
   */
  start<Q, R>(method: Method<Q, R>, request: Q, unary: boolean, options?: CallOptions): Call<R> {
    if (this.#error !== undefined) throw this.#error
    const signal = options?.signal
    if (signal?.aborted === true) throw new DfsError('cancelled', `${method.name}: aborted already`)
    const message = method.request.encode(request)
    if (message.length > method.requestBytesMax) {
      throw new DfsError(
        'frameTooLarge',
        `${method.name}: request of ${message.length} bytes, at most ${method.requestBytesMax}`,
      )
    }
    const deadlineMs = options?.deadlineMs ?? method.deadlineMs
    const call = new ClientCall<R>(this, {
      method: method as unknown as Method<never, R>,
      message,
      deadlineMs,
      unary,
      signal,
    })
    this.expiresAt(call.deadlineAtMs)
    const any = call as unknown as ClientCall<never>
    const id = this.#waiting.size === 0 ? this.port.open() : NOTHING
    if (id === NOTHING) this.#wait(any, method.name)
    else this.#open(any, id)
    return call
  }

  /** The transport has bytes, an end or a reset for the stream. */
  readable(id: number): void {
    if (this.#error !== undefined) return
    let call = this.#calls.get(id)
    if (call === undefined) {
      // A stream of ours that is not known here any more was given up and forgotten.
      if ((id & STREAM_KIND_BITS) === this.#ownStreamKind) return
      call = new ServerCall(this, id)
      this.#calls.set(id, call)
      this.expiresAt(call.deadlineAtMs)
    }
    call.poll()
    if (call.over) this.#forget(call)
    else if (call instanceof ServerCall && call.running) this.#running.add(call)
  }

  /** The peer has sent something: callers may have given up. */
  received(): void {
    if (this.#running.size === 0 || this.#stopCheckAtMs !== Infinity) return
    this.#stopCheckAtMs = this.#stopCheckedMs + STOP_CHECK_MS
  }

  /** Offers waiting output to the transport, control first, each kind in turns. */
  flush(): void {
    if (this.#waiting.size > 0) this.#startWaiting()
    if (this.#blockedControl.size > 0) this.#flushSet(this.#blockedControl)
    if (this.#blockedBulk.size > 0) this.#flushSet(this.#blockedBulk)
  }

  /** Ends what is past its deadline. */
  expire(nowMs: number): void {
    if (nowMs >= this.#stopCheckAtMs) this.#checkStopped(nowMs)
    if (nowMs < this.#expireAtMs) return
    let next = Infinity
    for (const call of this.#calls.values()) {
      call.expire(nowMs)
      if (call.over) this.#forget(call)
      else next = Math.min(next, call.deadlineAtMs)
    }
    for (const call of this.#waiting) {
      call.expire(nowMs)
      if (this.#waiting.has(call)) next = Math.min(next, call.deadlineAtMs)
    }
    this.#expireAtMs = next
  }

  /** The connection is over: everything open ends now with `error`. */
  fail(error: DfsError): void {
    if (this.#error !== undefined) return
    this.#error = error
    const calls = [...this.#calls.values(), ...this.#waiting]
    this.#calls.clear()
    this.#waiting.clear()
    this.#blockedControl.clear()
    this.#blockedBulk.clear()
    this.#running.clear()
    this.#expireAtMs = Infinity
    this.#stopCheckAtMs = Infinity
    for (const call of calls) call.fail(error)
  }

  progressed(call: AnyCall): void {
    if (this.#error !== undefined) return
    if (call.over) this.#forget(call)
    else if (call.hasOutput) (call.bulk ? this.#blockedBulk : this.#blockedControl).add(call)
  }

  withdrawn(call: ClientCall<never>): void {
    this.#waiting.delete(call)
  }

  expiresAt(atMs: number): void {
    if (atMs < this.#expireAtMs) this.#expireAtMs = atMs
  }

  #wait(call: ClientCall<never>, name: string): void {
    if (this.#waiting.size >= WAITING_CALLS_MAX) {
      const error = new DfsError(
        'tooManyRequests',
        `${name}: ${WAITING_CALLS_MAX} requests wait for a stream on this connection already`,
      )
      call.fail(error)
      return
    }
    this.#waiting.add(call)
    this.port.wake()
  }

  #open(call: ClientCall<never>, id: number): void {
    this.#calls.set(id, call)
    call.start(id)
  }

  #startWaiting(): void {
    for (const call of this.#waiting) {
      const id = this.port.open()
      if (id === NOTHING) return
      this.#waiting.delete(call)
      this.#open(call, id)
    }
  }

  #flushSet(set: Set<AnyCall>): void {
    // A snapshot: who is still blocked goes to the end, so that streams take turns.
    const calls = [...set]
    for (const call of calls) {
      set.delete(call)
      call.flush()
      if (call.hasOutput) set.add(call)
      else if (call.over) this.#forget(call)
    }
  }

  #checkStopped(nowMs: number): void {
    this.#stopCheckAtMs = Infinity
    this.#stopCheckedMs = nowMs
    for (const call of this.#running) {
      if (call.running) call.checkStopped()
      if (!call.running) this.#running.delete(call)
    }
  }

  #forget(call: AnyCall): void {
    this.#calls.delete(call.id)
    if (call instanceof ServerCall) this.#running.delete(call)
    if (this.open === 0) this.#expireAtMs = Infinity
  }
}
