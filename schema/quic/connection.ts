/**
 * One QUIC connection: quiche's state machine, its requests, and its place on an endpoint.
 *
 * Work is done in turns that the endpoint grants: timers, streams that have something, waiting
 * output, then datagrams up to a burst. What the application does between turns asks for one.
 */
import type { RemoteInfo } from 'node:dgram'
import quiche from '@matrixai/quic/native/quiche.js'
import type { Connection as Native, RecvInfo } from '@matrixai/quic/native/types.js'
import type { Call, CallOptions, Connection, Log, Method, PeerIdentity } from '../rpc/api.ts'
import type { MethodTable } from '../rpc/method-table.ts'
import { Session } from '../rpc/session.ts'
import { DfsError, STATUS } from '../wire/status.ts'
import { formatAddress, type HostPort } from './address.ts'
import { describeEnd } from './close-reason.ts'
import type { Endpoint, Served } from './endpoint.ts'
import { quicLimits } from './limits.ts'
import { NativeStreams } from './native-streams.ts'
import { certificateName } from './peer-certificate.ts'

/** Timers are not set anew for less than this, ms. */
const TIMER_SLACK_MS = 1

export interface ConnectionOptions {
  readonly native: Native
  readonly endpoint: Endpoint
  readonly role: 'client' | 'server'
  readonly remote: HostPort
  /** Ids under which datagrams find this connection. */
  readonly ids: readonly Uint8Array[]
  readonly methods: MethodTable
  readonly log: Log
  readonly counted: (error: DfsError) => void
  /** Bytes of a datagram once the handshake is done. */
  readonly datagramBytes: number
  readonly expectedName?: string | undefined
  readonly onEstablished: (connection: QuicConnection) => void
  readonly onOver: (connection: QuicConnection) => void
}

export class QuicConnection implements Connection, Served {
  scheduled = false
  state: unknown = undefined
  readonly peer: PeerIdentity
  readonly closed: Promise<Error | undefined>
  readonly session: Session
  readonly #options: ConnectionOptions
  readonly #native: Native
  readonly #endpoint: Endpoint
  readonly #streams: NativeStreams
  #recvInfo: RecvInfo
  #remote: HostPort
  /** A datagram came from another address: see where quiche sends from now on. */
  #moved = false
  #peerName: string | undefined
  #datagramBytes: number = quicLimits.datagramBytesMin
  #established = false
  #received = false
  #over = false
  #endResolve!: (reason: Error | undefined) => void
  #timer: NodeJS.Timeout | undefined
  #timerAtMs = Infinity
  #nativeDueMs = Infinity
  #keepAliveAtMs = Infinity
  readonly #handshakeDueMs: number
  #sendError: Error | undefined

  constructor(options: ConnectionOptions) {
    const { native, endpoint, role } = options
    this.#options = options
    this.#native = native
    this.#endpoint = endpoint
    this.#remote = options.remote
    this.#recvInfo = { from: { ...options.remote }, to: { ...endpoint.local } }
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
    this.#handshakeDueMs = endpoint.now() + quicLimits.handshakeMs
    this.peer = new Identity(
      () => this.#peerName,
      () => this.#remote,
    )
    this.closed = new Promise((resolve) => {
      this.#endResolve = resolve
    })
    for (const id of options.ids) endpoint.register(id, this)
    endpoint.schedule(this)
  }

  get established(): boolean {
    return this.#established
  }

  get over(): boolean {
    return this.#over
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
    this.#transmit()
    this.#endpoint.settleBurst()
    const text = code === 0 ? 'this side closed it' : reason
    const error = new DfsError('connectionLost', `no connection with ${this.#peerText()}: ${text}`)
    this.#end(error, code === 0 ? undefined : error)
  }

  receive(datagram: Buffer, from: RemoteInfo): void {
    if (this.#over) return
    const info = this.#recvInfo
    this.#received = true
    try {
      if (from.port === info.from.port && from.address === info.from.host) {
        this.#native.recv(datagram, info)
      } else {
        // The peer's address changed: quiche validates the new path before it sends much there.
        this.#native.recv(datagram, { from: { host: from.address, port: from.port }, to: info.to })
        this.#dropPathEvents()
        this.#moved = true
      }
    } catch {
      // Datagrams that are not for us or damaged; fatal errors show as a closed connection.
    }
  }

  turn(nowMs: number): boolean {
    if (this.#over) return false
    if (nowMs >= this.#nativeDueMs) this.#native.onTimeout()
    if (!this.#established) this.#checkHandshake(nowMs)
    if (this.#established) this.#serve(nowMs)
    const more = this.#transmit()
    if (this.#native.isDraining() || this.#native.isClosed()) {
      this.#finish()
      return false
    }
    this.#planTimer(nowMs)
    return more
  }

  #checkHandshake(nowMs: number): void {
    if (this.#native.isEstablished()) {
      this.#established = true
      this.#datagramBytes = this.#options.datagramBytes
      const chain = this.#native.peerCertChain()
      const leaf = chain?.[0]
      if (leaf !== undefined) this.#peerName = certificateName(leaf)
      if (this.#options.role === 'client') this.#keepAliveAtMs = nowMs + quicLimits.keepAliveMs
      this.#options.onEstablished(this)
    } else if (nowMs >= this.#handshakeDueMs) {
      this.closeWith(STATUS.deadlineExceeded.wire, 'the handshake took too long')
    }
  }

  #serve(nowMs: number): void {
    const native = this.#native
    const { session } = this
    if (this.#received) {
      this.#received = false
      if (this.#keepAliveAtMs !== Infinity) this.#keepAliveAtMs = nowMs + quicLimits.keepAliveMs
      session.received()
    }
    if (native.isReadable()) for (const id of native.readable()) session.readable(id)
    session.flush()
    if (nowMs >= session.wakeAtMs) session.expire(nowMs)
    if (nowMs >= this.#keepAliveAtMs) {
      this.#keepAliveAtMs = nowMs + quicLimits.keepAliveMs
      native.sendAckEliciting()
    }
  }

  /** Sends what quiche has, up to a burst; true when there may be more. */
  #transmit(): boolean {
    const endpoint = this.#endpoint
    const size = this.#datagramBytes
    const datagramsMax = Math.min(
      quicLimits.burstDatagrams,
      Math.ceil(quicLimits.burstBytes / size),
    )
    for (let sent = 0; sent < datagramsMax; sent++) {
      if (endpoint.blocked) return true
      const buffer = endpoint.borrow(size)
      const out = this.#nextDatagram(buffer)
      if (out === null) {
        endpoint.giveBack(buffer)
        return false
      }
      const { to } = out[1]
      if (this.#moved) this.#follow(to)
      if (this.#established) endpoint.send(buffer, out[0], to.port, to.host)
      else endpoint.sendReporting(buffer, out[0], to, this.#onSent)
    }
    endpoint.settleBurst()
    return true
  }

  #dropPathEvents(): void {
    // Typed as never absent, but null after the last.
    let event: unknown
    do event = this.#native.pathEventNext()
    while (event !== null)
  }

  #follow(to: HostPort): void {
    this.#moved = false
    if (to.port === this.#remote.port && to.host === this.#remote.host) return
    this.#remote = { host: to.host, port: to.port }
    this.#recvInfo = { from: { ...this.#remote }, to: this.#recvInfo.to }
  }

  #nextDatagram(buffer: Buffer): ReturnType<Native['send']> {
    try {
      return this.#native.send(buffer)
    } catch {
      // A fatal error of the protocol: quiche is closed, which the turn notices.
      return null
    }
  }

  readonly #onSent = (error: Error | null): void => {
    if (error !== null) this.#sendError ??= error
  }

  #planTimer(nowMs: number): void {
    const left = this.#native.timeout()
    this.#nativeDueMs = left === null ? Infinity : nowMs + left
    let dueMs = Math.min(this.#nativeDueMs, this.session.wakeAtMs, this.#keepAliveAtMs)
    if (!this.#established) dueMs = Math.min(dueMs, this.#handshakeDueMs)
    // A timer that fires early costs one idle turn; setting it anew costs one each turn.
    if (dueMs >= this.#timerAtMs - TIMER_SLACK_MS) return
    clearTimeout(this.#timer)
    this.#timerAtMs = dueMs
    if (dueMs === Infinity) return
    this.#timer = setTimeout(this.#onTimer, Math.max(1, Math.ceil(dueMs - nowMs)))
    this.#timer.unref()
  }

  readonly #onTimer = (): void => {
    this.#timerAtMs = Infinity
    this.#endpoint.schedule(this)
  }

  /** quiche says that the connection is over. */
  #finish(): void {
    const native = this.#native
    const error = describeEnd({
      peer: this.#peerText(),
      role: this.#options.role,
      established: this.#established,
      timedOut: native.isTimedOut(),
      localError: native.localError(),
      peerError: native.peerError(),
    })
    const cause = this.#sendError
    this.#end(
      cause === undefined || this.#established
        ? error
        : new DfsError(error.code, `${error.message} (${cause.message})`, { cause }),
    )
  }

  #end(error: DfsError, reason: DfsError | undefined = error): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#timer)
    for (const id of this.#options.ids) this.#endpoint.unregister(id)
    this.session.fail(error)
    this.#options.onOver(this)
    this.#endResolve(reason)
  }

  #peerText(): string {
    const address = formatAddress(this.#remote)
    const name = this.#options.expectedName ?? this.#peerName
    return name === undefined ? address : `${name} at ${address}`
  }
}

/** Looks like plain data, and follows the peer when it moves. */
class Identity implements PeerIdentity {
  readonly #name: () => string | undefined
  readonly #remote: () => HostPort

  constructor(name: () => string | undefined, remote: () => HostPort) {
    this.#name = name
    this.#remote = remote
  }

  get name(): string | undefined {
    return this.#name()
  }

  get address(): string {
    return formatAddress(this.#remote())
  }

  toJSON(): { name: string | undefined; address: string } {
    return { name: this.name, address: this.address }
  }
}
