/**
 * One UDP socket and the connections on it: the only place with sockets.
 *
 * All datagrams that the kernel has ready are given to their connections first; then one tick serves
 * every connection that has something to do, in turns, each with a bounded burst. Datagrams of one size
 * to one address go to the kernel together, in runs. When it takes no more, one run waits and
 * connections stop; what others send then is lost.
 */
import type { Log } from '../rpc/api.ts'
import { errno, systemError } from '../system/native.ts'
import { DfsError } from '../wire/status.ts'
import { formatAddress, type HostPort } from './address.ts'
import { DatagramRun, sendRun, type SendSegments } from './datagram-run.ts'
import { quicLimits } from './limits.ts'
import { UdpSocket } from './udp-socket.ts'

const LONG_HEADER = 0x80
const LONG_HEADER_CID_AT = 6
const SHORT_HEADER_CID_AT = 1
/** Milliseconds without an answer until the first datagram is sent once more; quiche waits a second. */
const FIRST_AGAIN_MS = 25

/** What an endpoint serves: a connection. */
export interface Served {
  /** Set by the endpoint. */
  scheduled: boolean
  /** The buffer is another's after the call. */
  receive(datagram: Buffer, from: HostPort): void
  /** Does what there is to do; true when more is left to send. */
  turn(nowMs: number): boolean
}

/** Datagrams of no known connection. */
export type Stranger = (datagram: Buffer, from: HostPort) => void

export class Endpoint {
  readonly local: HostPort
  readonly #socket: UdpSocket
  readonly #connected: boolean
  readonly #log: Log
  #refused: ((error: Error) => void) | undefined
  #sole: Served | undefined
  readonly #byId = new Map<string, Served>()
  #dirty: Served[] = []
  #tickPlanned = false
  #stranger: Stranger | undefined
  readonly #run = new DatagramRun()
  /** What is written into while the run waits. */
  #spare: Buffer | undefined
  #firstAgain: NodeJS.Timeout | undefined
  #blocked = false
  #closed = false

  private constructor(socket: UdpSocket, connected: boolean, log: Log) {
    this.#socket = socket
    this.#connected = connected
    this.local = socket.local
    this.#log = log
    socket.start({
      received: this.#received,
      failed: this.#failed,
      writable: this.#writable,
    })
  }

  /**
   * A socket that talks to one address only: cheaper to send on, deaf to others, and told when
   * nobody listens there. Throws DfsError `connectionRefused` when there is no way to the address.
   */
  static connect(remote: HostPort, log: Log): Endpoint {
    try {
      return new Endpoint(UdpSocket.connect(remote), true, log)
    } catch (error) {
      throw new DfsError(
        'connectionRefused',
        `no way to ${formatAddress(remote)}: ${String(error)}; is the network up?`,
        { cause: error },
      )
    }
  }

  /** Throws DfsError `invalidArgument` when the address cannot be bound. */
  static bind(address: HostPort, log: Log): Endpoint {
    try {
      return new Endpoint(UdpSocket.bind(address), false, log)
    } catch (error) {
      throw new DfsError(
        'invalidArgument',
        `cannot listen on UDP ${formatAddress(address)}: ${String(error)}; choose a free port and an ` +
          'address of this machine',
        { cause: error },
      )
    }
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

  /** The process may end while the socket is open. */
  letProcessEnd(): void {
    this.#socket.unref()
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

  /** Whether the kernel takes no more for now; senders stop and get a turn when it does. */
  get blocked(): boolean {
    return this.#blocked
  }

  /** A buffer for the next datagram, of at most `bytes`: valid until the next is asked for. */
  borrow(bytes: number): Buffer {
    const run = this.#run
    if (run.full || (run.count > 0 && run.datagramBytes !== bytes)) this.settleBurst()
    if (!this.#blocked) return run.next(bytes)
    this.#spare ??= Buffer.allocUnsafeSlow(quicLimits.datagramBytesMax)
    return this.#spare.subarray(0, bytes)
  }

  /** Sends the first `bytes` of the buffer borrowed last, when the burst ends at the latest. */
  send(bytes: number, to: HostPort): void {
    if (this.#closed) return
    const run = this.#run
    const before = run.to
    const elsewhere = before?.port !== to.port || before.host !== to.host
    if (elsewhere && run.count > 0) this.settleBurst()
    if (this.#blocked) return
    run.add(bytes, elsewhere ? to : before)
    if (run.full) this.settleBurst()
  }

  /** As `send`, at once; returns what the kernel says against it: for datagrams whose fate matters. */
  sendNow(buffer: Buffer, bytes: number, to: HostPort): Error | undefined {
    if (this.#closed || this.#blocked) return undefined
    if (this.#connected) this.#repeatUnanswered(buffer, bytes, to)
    const failed = this.#socket.send(buffer, bytes, bytes, to)
    return failed === 0 || failed === errno.EAGAIN ? undefined : systemError('send', failed)
  }

  /** The first datagram may get lost. */
  #repeatUnanswered(buffer: Buffer, bytes: number, to: HostPort): void {
    if (this.#firstAgain !== undefined) return
    const copy = Buffer.from(buffer.subarray(0, bytes))
    // If this one is lost as well, quiche sends another.
    const again = (): void => void this.#socket.send(copy, bytes, bytes, to)
    this.#firstAgain = setTimeout(again, FIRST_AGAIN_MS)
  }

  /** Ends a burst: hands what waits to the kernel. */
  settleBurst(): void {
    if (this.#run.count === 0 || sendRun(this.#run, this.#send, this.#sendFailed)) return
    if (this.#blocked) return
    this.#blocked = true
    this.#socket.wantWritable(true)
  }

  readonly #send: SendSegments = (from, bytes, segmentBytes, to) =>
    this.#socket.send(from, bytes, segmentBytes, to)

  /** Told later: whoever sends is in the middle of something. */
  readonly #sendFailed = (error: number): void => {
    setImmediate(this.#failed, systemError('send', error))
  }

  /** Closes the socket, with a last try to send what waits. */
  close(): void {
    if (this.#closed) return
    this.settleBurst()
    this.#closed = true
    clearTimeout(this.#firstAgain)
    this.#byId.clear()
    this.#dirty = []
    this.#socket.close()
  }

  readonly #failed = (error: Error): void => {
    if (this.#closed) return
    if (this.#refused !== undefined) this.#refused(error)
    else this.#log.warn({ err: error, local: this.local }, 'UDP socket error')
  }

  readonly #received = (datagram: Buffer, from: HostPort): void => {
    if (this.#firstAgain !== undefined) clearTimeout(this.#firstAgain)
    if (this.#closed) return
    const served = this.#sole ?? this.#byId.get(connectionIdIn(datagram))
    if (served === undefined) {
      this.#stranger?.(datagram, from)
      return
    }
    served.receive(datagram, from)
    this.schedule(served)
  }

  readonly #tick = (): void => {
    this.#tickPlanned = false
    if (this.#closed) return
    const dirty = this.#dirty
    this.#dirty = []
    const nowMs = this.now()
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

  readonly #writable = (): void => {
    if (!this.#blocked) return
    this.#blocked = false
    this.settleBurst()
    // Set again by the settling, if the kernel is still full.
    if (this.blocked) return
    this.#socket.wantWritable(false)
    if (this.#dirty.length > 0) this.#planTick()
  }
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
