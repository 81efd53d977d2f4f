/**
 * One QUIC connection: quiche's state machine, its requests, and its place on an endpoint.
 *
 * Work is done in turns that the endpoint grants: timers, streams that have something, waiting
 * output, then datagrams up to a burst. What the application does between turns asks for one.
 */
import quiche from '@matrixai/quic/native/quiche.js'
import type { Connection as Native } from '@matrixai/quic/native/types.js'
import type { Call, CallOptions, Connection, ConnectionStats, Method } from '../rpc/api.ts'
import { Session } from '../rpc/session.ts'
import { DfsError, STATUS } from '../wire/status.ts'
import { AckPolicy } from './ack-policy.ts'
import type { HostPort } from './address.ts'
import { describeEnd } from './close-reason.ts'
import type { ConnectionOptions } from './connection-options.ts'
import type { Endpoint, Served } from './endpoint.ts'
import { sendFarewell } from './farewell.ts'
import { quicLimits } from './limits.ts'
import { Liveness, SILENT } from './liveness.ts'
import { LongPath } from './long-path.ts'
import { NativeDatagrams } from './native-datagrams.ts'
import { NativeStreams } from './native-streams.ts'
import { PathSize } from './path-size.ts'
import { certificateName } from './peer-certificate.ts'
import { RemotePeer } from './remote-peer.ts'
import { Repairs } from './repairs.ts'
import { isSideMessage, PARITY } from './side-channel.ts'
import { pathCounts, readStats, roundTripMs } from './stats.ts'
import { WakeTimer } from './wake-timer.ts'

/** Longest that quiche waits for an acknowledgement on paths worth draining for, ms. */
const IN_FLIGHT_MS_MAX = 1_500

export class QuicConnection implements Connection, Served {
  scheduled = false
  state: unknown = undefined
  readonly peer: RemotePeer
  readonly closed: Promise<Error | undefined>
  readonly session: Session
  readonly #options: ConnectionOptions
  readonly #native: Native
  readonly #endpoint: Endpoint
  readonly #streams: NativeStreams
  readonly #datagrams: NativeDatagrams
  #retired = false
  #established = false
  #received = false
  #activeAtMs = 0
  #over = false
  #endResolve!: (reason: Error | undefined) => void
  readonly #timer: WakeTimer
  #nativeDueMs = Infinity
  readonly #handshakeDueMs: number
  #sendError: Error | undefined
  readonly #liveness: Liveness
  readonly #acks = new AckPolicy()
  readonly #path: PathSize
  readonly #longPath: LongPath
  readonly #repairs: Repairs

  constructor(options: ConnectionOptions) {
    const { native, endpoint, role } = options
    this.#options = options
    this.#native = native
    this.#endpoint = endpoint
    this.#streams = new NativeStreams(native, role === 'client' ? 0 : 1, () =>
      endpoint.schedule(this),
    )
    this.session = new Session(this, {
      port: this.#streams,
      methods: options.methods,
      log: options.log,
      now: () => endpoint.now(),
      counted: options.counted,
      ownStreamKind: role === 'client' ? 0 : 1,
    })
    this.#timer = new WakeTimer(() => endpoint.schedule(this))
    this.#liveness = new Liveness(options.keepAliveMs, () => roundTripMs(native))
    this.#path = new PathSize(options)
    this.#longPath = new LongPath(() => pathCounts(native))
    this.#repairs = new Repairs(endpoint)
    this.#handshakeDueMs = endpoint.now() + quicLimits.handshakeMs
    this.peer = new RemotePeer(options.remote)
    this.#datagrams = new NativeDatagrams(native, this.peer, endpoint.local)
    this.closed = new Promise((resolve) => {
      this.#endResolve = resolve
    })
    for (const id of options.ids) endpoint.register(id, this)
    if (role === 'client') {
      endpoint.attach(this)
      endpoint.onRefused(this.#onRefused)
    }
    endpoint.schedule(this)
  }

  get established(): boolean {
    return this.#established
  }

  get over(): boolean {
    return this.#over
  }

  /** Whether a fresh connection should take over, because quiche never forgets some things. */
  get worn(): boolean {
    return (
      this.#streams.opened >= quicLimits.streamsPerConnectionMax ||
      this.#streams.lostCreditBytes >= quicLimits.lostCreditBytesMax
    )
  }

  /**
   * Whether requests of the peer are under way, or answers not acknowledged yet: quiche shows that
   * only by its timer, which then is the one for lost packets rather than for idleness.
   */
  get serving(): boolean {
    if (this.session.serving > 0 || this.scheduled) return true
    const dueMs = this.#native.timeout() ?? Infinity
    return dueMs < IN_FLIGHT_MS_MAX && this.#endpoint.now() - this.#activeAtMs < IN_FLIGHT_MS_MAX
  }

  /** Closes the connection when its last request of either side is over. */
  retire(): void {
    this.#retired = true
    this.#endpoint.schedule(this)
  }

  /** What the kernel said to a datagram of the handshake, if it refused one. */
  get sendError(): Error | undefined {
    return this.#sendError
  }

  call<Q, R>(method: Method<Q, R>, request: Q, options?: CallOptions): Promise<R> {
    try {
      return this.session.start(method, request, true, options).response
    } catch (error) {
      return Promise.reject(error)
    }
  }

  open<Q, R>(method: Method<Q, R>, request: Q, options?: CallOptions): Call<R> {
    const call = this.session.start(method, request, false, options)
    // Whoever only writes or cancels need not look at the response.
    call.response.catch(() => undefined)
    return call
  }

  async close(): Promise<void> {
    this.closeWith(0, '')
    await this.closed
  }

  stats(): ConnectionStats {
    return readStats(this.#native, {
      datagramBytes: this.#path.datagramBytes,
      datagramsRepaired: this.#repairs.repaired,
      requestsOpen: this.session.open,
    })
  }

  /** Turns a client away before its handshake is done. */
  refuse(reason: string): void {
    this.#closeNative(false, quiche.ConnectionErrorCode.ConnectionRefused, reason)
  }

  /** Ends the connection now; `code` is a status number, 0 for a regular end. */
  closeWith(code: number, reason: string): void {
    this.#closeNative(true, code, reason)
  }

  #closeNative(application: boolean, code: number, reason: string): void {
    if (this.#over) return
    try {
      this.#native.close(application, code, Buffer.from(reason))
    } catch {
      // Already closing, for a reason that stands.
    }
    const farewell = this.#sendClose()
    const text = code === 0 ? 'this side closed it' : reason
    const error = new DfsError('connectionLost', `no connection with ${this.#peerText()}: ${text}`)
    this.#end(error, code === 0 ? undefined : error, farewell)
  }

  /** Sends what quiche has left to say; returns it where it may have to be said again. */
  #sendClose(): Buffer | undefined {
    if (this.#established && this.#options.role === 'client') {
      return sendFarewell(this.#datagrams, this.#endpoint)
    }
    this.#transmit()
    return undefined
  }

  receive(datagram: Buffer, from: HostPort): void {
    if (this.#over) return
    if (!isSideMessage(datagram)) this.#receiveQuic(datagram, from)
    else if (datagram[0] === PARITY) this.#repair(datagram)
    else if (this.#path.receive(datagram, this.peer.remote, this.#endpoint.now())) {
      this.suspect('it does not know the connection')
    }
  }

  #receiveQuic(datagram: Buffer, from: HostPort): void {
    this.#received = true
    this.#acks.received()
    this.#repairs.keep(datagram)
    this.#datagrams.receive(datagram, from)
    if (this.#longPath.long && this.session.blockedOutput) this.#refill()
  }

  /** Receives what was lost on the way, if the message makes it good. */
  #repair(message: Buffer): void {
    if (!this.#established) return
    const repaired = this.#repairs.repair(message)
    if (repaired !== undefined) this.#receiveQuic(repaired, this.peer.remote)
  }

  /** Sends what an acknowledgement has made room for, before the next one is looked at. */
  #refill(): void {
    this.session.flush()
    this.#transmit()
  }

  turn(nowMs: number): boolean {
    if (this.#over) return false
    if (nowMs >= this.#nativeDueMs) {
      this.#native.onTimeout()
      if (!this.#received) this.#path.suspect(nowMs)
    }
    if (!this.#established) this.#checkHandshake(nowMs)
    if (this.#established) this.#serve(nowMs)
    if (this.#isOver()) return false
    if (this.#mayWait(nowMs)) return true
    const more = this.#transmit()
    if (this.#native.isDraining() || this.#native.isClosed()) {
      this.#finish()
      return false
    }
    if (this.#retired && this.session.open === 0) this.closeWith(0, '')
    else this.#planTimer(nowMs)
    return more
  }

  /** Whether there is nothing to send but an acknowledgement that can wait. */
  #mayWait(nowMs: number): boolean {
    if (!this.#established || this.#streams.touched || nowMs >= this.#timer.atMs) return false
    return this.#acks.mayWait()
  }

  /** What it serves may have closed the connection meanwhile. */
  #isOver(): boolean {
    return this.#over
  }

  #checkHandshake(nowMs: number): void {
    if (this.#native.isEstablished()) {
      this.#established = true
      this.#path.start(this.#native.destinationId(), nowMs)
      this.#repairs.start(this.#native.destinationId())
      this.#dropFirstIds()
      const leaf = this.#native.peerCertChain()?.[0]
      if (leaf !== undefined) this.peer.name = certificateName(leaf)
      this.#liveness.heard(nowMs)
      this.#options.onEstablished(this)
    } else if (nowMs >= this.#handshakeDueMs) {
      this.closeWith(STATUS.deadlineExceeded.wire, 'the handshake took too long')
    }
  }

  #serve(nowMs: number): void {
    const native = this.#native
    const { session } = this
    this.#longPath.look(nowMs)
    if (nowMs >= this.#path.wakeAtMs) this.#path.turn(nowMs, this.peer.remote)
    if (this.#received) {
      this.#received = false
      this.#activeAtMs = nowMs
      this.#liveness.heard(nowMs)
      session.received()
    }
    if (native.isReadable()) for (const id of native.readable()) session.readable(id)
    session.flush()
    if (nowMs >= session.wakeAtMs) session.expire(nowMs)
    this.#liveness.busy(session.open > 0, nowMs)
    const question = this.#liveness.ask(nowMs)
    if (question === 'gone') this.closeWith(STATUS.connectionLost.wire, SILENT)
    if (question !== 'ask') return
    native.sendAckEliciting()
    this.#streams.touched = true
  }

  /** Sends what quiche has, up to a burst; true when there may be more. */
  #transmit(): boolean {
    this.#acks.sent()
    this.#streams.touched = false
    const endpoint = this.#endpoint
    const { lossy } = this.#longPath
    const size = this.#repairs.datagramBytes(this.#path.datagramBytes, lossy)
    const datagramsMax = this.#longPath.burst(size)
    let sent = 0
    while (sent < datagramsMax && !endpoint.blocked && this.#sendNext(size)) sent++
    if (sent > 0) {
      this.#activeAtMs = endpoint.now()
      this.#path.used(this.#activeAtMs)
    }
    if (lossy && !this.session.blockedOutput) this.#repairs.paused(this.peer.remote)
    endpoint.settleBurst()
    return sent === datagramsMax || endpoint.blocked
  }

  /** Sends one datagram of at most `size` bytes; false when quiche has none. */
  #sendNext(size: number): boolean {
    const endpoint = this.#endpoint
    const buffer = endpoint.borrow(size)
    const out = this.#datagrams.next(buffer)
    if (out === null) return false
    const [bytes, { to }] = out
    if (this.#established) endpoint.send(bytes, to)
    else {
      const error = endpoint.sendNow(buffer, bytes, to)
      // Not in the middle of a turn.
      if (error !== undefined) setImmediate(this.#onRefused, error)
    }
    this.#repairs.cover(buffer, bytes, to)
    return true
  }

  /** A client addresses us by the first id only until it has learned ours. */
  #dropFirstIds(): void {
    for (const id of this.#options.ids.slice(1)) this.#endpoint.unregister(id)
  }

  /** The network says that nobody is there. */
  readonly #onRefused = (error: Error): void => {
    if (this.#over) return
    this.#sendError ??= error
    if (this.#established) this.suspect(error.message)
    else {
      const why = `nobody listens at ${this.#peerText()} (${error.message}); is the server running?`
      this.#end(new DfsError('connectionRefused', why))
    }
  }

  /** Something that anybody might have forged says that the peer is gone. */
  suspect(hint: string): void {
    if (this.#over) return
    if (this.#liveness.hint(this.#endpoint.now())) {
      const why = `${this.#peerText()} is gone (${hint}); it may have been stopped or restarted`
      this.#end(new DfsError('connectionLost', why))
    } else {
      this.#endpoint.schedule(this)
    }
  }

  #planTimer(nowMs: number): void {
    const left = this.#native.timeout()
    this.#nativeDueMs = left === null ? Infinity : nowMs + left
    let dueMs = Math.min(
      this.#nativeDueMs,
      this.session.wakeAtMs,
      this.#liveness.askAtMs,
      this.#path.wakeAtMs,
    )
    if (!this.#established) dueMs = Math.min(dueMs, this.#handshakeDueMs)
    this.#timer.plan(dueMs, nowMs)
  }

  /** quiche says that the connection is over. */
  #finish(): void {
    const error = describeEnd({
      peer: this.#peerText(),
      role: this.#options.role,
      established: this.#established,
      timedOut: this.#native.isTimedOut(),
      localError: this.#native.localError(),
      peerError: this.#native.peerError(),
    })
    const cause = this.#sendError
    this.#end(
      cause === undefined || this.#established
        ? error
        : new DfsError(error.code, `${error.message} (${cause.message})`, { cause }),
    )
  }

  #end(error: DfsError, reason: DfsError | undefined = error, farewell?: Buffer): void {
    if (this.#over) return
    this.#over = true
    this.#timer.stop()
    for (const id of this.#options.ids) this.#endpoint.unregister(id)
    this.session.fail(error)
    this.#options.onOver(this, farewell)
    this.#endResolve(reason)
  }

  #peerText(): string {
    return this.peer.describe(this.#options.expectedName)
  }
}
