/**
 * One UDP socket and the connections on it: the only place with sockets.
 *
 * All datagrams that the kernel has ready are given to their connections first; then one tick serves
 * every connection that has something to do, in turns, each with a bounded burst. A burst goes to the
 * kernel when all of it is made: a receiver then finds many datagrams at once instead of waking up for
 * each. Send buffers are pooled: the socket takes a datagram at once, or the buffer waits until its
 * queue is empty again.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import type { Log } from '../rpc/api.ts'
import { DfsError } from '../wire/status.ts'
import { formatAddress, type HostPort } from './address.ts'
import { DirectReads } from './direct-reads.ts'
import { quicLimits } from './limits.ts'

const LONG_HEADER = 0x80
const LONG_HEADER_CID_AT = 6
const SHORT_HEADER_CID_AT = 1
/** Milliseconds until a full socket queue is looked at again. */
const QUEUE_RETRY_MS = 1
/** Milliseconds without an answer until the first datagram is sent once more; quiche waits a second. */
const FIRST_AGAIN_MS = 25
/** Buffers kept per datagram size; a burst needs no more. */
const POOLED_MAX = 128

/** What an endpoint serves: a connection. */
export interface Served {
  /** Set by the endpoint. */
  scheduled: boolean
  /** `from` is unknown for datagrams read directly; false when it is not where the peer was before. */
  receive(datagram: Buffer, from: RemoteInfo | undefined): boolean
  /** Does what there is to do; true when more is left to send. */
  turn(nowMs: number): boolean
}

/** Datagrams of no known connection. */
export type Stranger = (datagram: Buffer, from: RemoteInfo) => void

export class Endpoint {
  readonly local: HostPort
  readonly #socket: Socket
  readonly #direct: DirectReads
  readonly #connected: boolean
  readonly #log: Log
  #refused: ((error: Error) => void) | undefined
  #sole: Served | undefined
  readonly #byId = new Map<string, Served>()
  #dirty: Served[] = []
  #tickPlanned = false
  #stranger: Stranger | undefined
  readonly #free = new Map<number, Buffer[]>()
  readonly #outgoing: { buffer: Buffer; bytes: number; port: number; host: string }[] = []
  #lent: Buffer[] = []
  #firstAgain: NodeJS.Timeout | undefined
  #blocked = false
  #closed = false

  private constructor(socket: Socket, connected: boolean, log: Log) {
    this.#socket = socket
    this.#connected = connected
    const bound = socket.address()
    this.local = { host: bound.address, port: bound.port }
    this.#direct = new DirectReads(socket)
    this.#log = log
    socket.on('message', this.#onMessage)
    socket.on('error', this.#onError)
  }

  /**
   * A socket that talks to one address only: cheaper to send on, deaf to others, and told when
   * nobody listens there. Throws DfsError `connectionRefused` when there is no way to the address.
   */
  static async connect(remote: HostPort, log: Log): Promise<Endpoint> {
    const socket = openSocket(isIPv6(remote.host) ? 6 : 4)
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject)
        socket.connect(remote.port, remote.host, () => resolve())
      })
    } catch (error) {
      socket.close()
      throw new DfsError(
        'connectionRefused',
        `no way to ${formatAddress(remote)}: ${String(error)}; is the network up?`,
        { cause: error },
      )
    }
    socket.removeAllListeners('error')
    return new Endpoint(socket, true, log)
  }

  /** Throws DfsError `invalidArgument` when the address cannot be bound. */
  static async bind(address: HostPort, log: Log): Promise<Endpoint> {
    const socket = openSocket(isIPv6(address.host) ? 6 : 4)
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject)
        socket.bind({ address: address.host, port: address.port, exclusive: true }, resolve)
      })
    } catch (error) {
      socket.close()
      throw new DfsError(
        'invalidArgument',
        `cannot listen on UDP ${formatAddress(address)}: ${String(error)}; choose a free port and an ` +
          'address of this machine',
        { cause: error },
      )
    }
    socket.removeAllListeners('error')
    return new Endpoint(socket, false, log)
  }

  /** Milliseconds on the clock of all turns. */
  now(): number {
    return performance.now()
  }

  onStranger(stranger: Stranger): void {
    this.#stranger = stranger
  }

  /** All datagrams of a connected socket belong to one connection. */
  attach(served: Served): void {
    this.#sole = served
  }

  /** Hears what the network says about a connected socket's other end, e.g. that it is not there. */
  onRefused(refused: (error: Error) => void): void {
    this.#refused = refused
  }

  register(id: Uint8Array, served: Served): void {
    this.#byId.set(keyOf(id), served)
  }

  unregister(id: Uint8Array): void {
    this.#byId.delete(keyOf(id))
  }

  /** Gives the connection a turn in the next tick. */
  schedule(served: Served): void {
    if (served.scheduled || this.#closed) return
    served.scheduled = true
    this.#dirty.push(served)
    this.#planTick()
  }

  /** Somebody may have another address than we think: for a while each datagram's sender is looked at. */
  suspectSenders(): void {
    if (!this.#connected) this.#direct.pause(this.now())
  }

  /** Whether the kernel takes no more for now; senders stop and get a turn when it does. */
  get blocked(): boolean {
    return this.#blocked
  }

  /** A buffer for one datagram of at most `bytes`. */
  borrow(bytes: number): Buffer {
    return this.#free.get(bytes)?.pop() ?? Buffer.allocUnsafeSlow(bytes)
  }

  /** Returns a borrowed buffer unsent. */
  giveBack(buffer: Buffer): void {
    let free = this.#free.get(buffer.length)
    if (free === undefined) this.#free.set(buffer.length, (free = []))
    if (free.length < POOLED_MAX) free.push(buffer)
  }

  /** Sends the first `bytes` of a borrowed buffer, which the endpoint takes back, when the burst ends. */
  send(buffer: Buffer, bytes: number, port: number, host: string): void {
    if (!this.#closed) this.#outgoing.push({ buffer, bytes, port, host })
  }

  /** As `send`, and reports what the kernel said; for datagrams whose fate matters. */
  sendReporting(
    buffer: Buffer,
    bytes: number,
    to: HostPort,
    done: (error: Error | null) => void,
  ): void {
    if (this.#closed) return
    const sent = (error: Error | null): void => {
      this.giveBack(buffer)
      done(error)
    }
    if (this.#connected) {
      this.#repeatUnanswered(buffer, bytes)
      this.#socket.send(buffer, 0, bytes, sent)
    } else this.#socket.send(buffer, 0, bytes, to.port, to.host, sent)
  }

  /**
   * The first datagram may get lost, and is dropped by a listener that just then did not look at
   * senders.
   */
  #repeatUnanswered(buffer: Buffer, bytes: number): void {
    if (this.#firstAgain !== undefined) return
    const copy = Buffer.from(buffer.subarray(0, bytes))
    const again = (): void => {
      if (!this.#closed) this.#socket.send(copy)
    }
    this.#firstAgain = setTimeout(again, FIRST_AGAIN_MS)
  }

  /** Ends a burst: hands it to the kernel, and takes buffers back if the kernel has taken their datagrams. */
  settleBurst(): void {
    if (this.#closed) return
    for (const { buffer, bytes, port, host } of this.#outgoing) {
      if (this.#connected) this.#socket.send(buffer, 0, bytes)
      else this.#socket.send(buffer, 0, bytes, port, host)
      this.#lent.push(buffer)
    }
    this.#outgoing.length = 0
    if (this.#lent.length === 0) return
    const queued = this.#socket.getSendQueueCount()
    if (queued === 0) {
      for (const buffer of this.#lent) this.giveBack(buffer)
      this.#lent.length = 0
    } else if (queued > quicLimits.socketQueueDatagrams && !this.#blocked) {
      this.#blocked = true
      setTimeout(this.#unblock, QUEUE_RETRY_MS)
    } else if (this.#lent.length > 2 * quicLimits.socketQueueDatagrams) {
      // Some of these may be under way still: they are left to the garbage collector.
      this.#lent = []
    }
  }

  /** Sends what the kernel has not taken yet, as far as it does so soon, and closes the socket. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#firstAgain)
    this.#byId.clear()
    this.#dirty = []
    await new Promise<void>((resolve) => {
      this.#socket.close(resolve)
    })
  }

  readonly #onError = (error: Error): void => {
    if (this.#refused !== undefined) this.#refused(error)
    else this.#log.warn({ err: error, local: this.local }, 'UDP socket error')
  }

  readonly #onMessage = (datagram: Buffer, from: RemoteInfo): void => {
    clearTimeout(this.#firstAgain)
    this.#direct.received(datagram.length)
    if (datagram.length > 0) this.#take(datagram, from)
    try {
      for (;;) {
        const next = this.#closed ? undefined : this.#direct.next()
        if (next === undefined) return
        if (next.length > 0) this.#take(next, undefined)
      }
    } catch (error) {
      this.#onError(error as Error)
    }
  }

  #take(datagram: Buffer, from: RemoteInfo | undefined): void {
    const served = this.#sole ?? this.#byId.get(connectionIdIn(datagram))
    if (served !== undefined) {
      if (!served.receive(datagram, from)) this.suspectSenders()
      this.schedule(served)
      return
    }
    // Without a sender there is nobody to answer. Whoever it was asks again.
    if (from === undefined) this.suspectSenders()
    else this.#stranger?.(datagram, from)
  }

  readonly #tick = (): void => {
    this.#tickPlanned = false
    if (this.#closed) return
    const dirty = this.#dirty
    this.#dirty = []
    const nowMs = this.now()
    this.#direct.turn(nowMs)
    for (const served of dirty) {
      served.scheduled = false
      if (served.turn(nowMs)) this.schedule(served)
    }
    this.settleBurst()
  }

  #planTick(): void {
    if (this.#tickPlanned || this.#blocked) return
    this.#tickPlanned = true
    setImmediate(this.#tick)
  }

  readonly #unblock = (): void => {
    this.#blocked = false
    if (this.#closed) return
    this.settleBurst()
    if (this.#dirty.length > 0) this.#planTick()
  }
}

function openSocket(family: 4 | 6): Socket {
  return createSocket({
    type: family === 6 ? 'udp6' : 'udp4',
    recvBufferSize: quicLimits.socketBufferBytes,
    sendBufferSize: quicLimits.socketBufferBytes,
    // Addresses are numeric here; the default would ask the resolver, asynchronously.
    lookup: (host, _options, done) => done(null, host, family),
  })
}

/** As `keyOf` it, of the connection that a datagram is for. */
function connectionIdIn(datagram: Buffer): string {
  if (((datagram[0] ?? 0) & LONG_HEADER) === 0) {
    const end = SHORT_HEADER_CID_AT + quicLimits.connectionIdBytes
    return datagram.toString('latin1', SHORT_HEADER_CID_AT, end)
  }
  const end = LONG_HEADER_CID_AT + (datagram[LONG_HEADER_CID_AT - 1] ?? 0)
  return datagram.toString('latin1', LONG_HEADER_CID_AT, Math.min(end, datagram.length))
}

function keyOf(id: Uint8Array): string {
  return Buffer.from(id.buffer, id.byteOffset, id.length).toString('latin1')
}
