/**
 * The size of a connection's datagrams, and the messages beside QUIC that find it.
 */
import { randomInt } from 'node:crypto'
import type { Connection as Native } from '@matrixai/quic/native/types.js'
import type { HostPort } from './address.ts'
import type { Endpoint } from './endpoint.ts'
import { quicLimits } from './limits.ts'
import { PathProbe } from './path-probe.ts'
import {
  parseSideMessage,
  sideMessageId,
  PROBE,
  PROBE_SEEN,
  SIDE_HEADER_BYTES,
  UNKNOWN_CONNECTION,
  writeSideMessage,
  type SideMessage,
} from './side-channel.ts'
import { roundTripMs } from './stats.ts'

const U32_END = 2 ** 32

export interface PathSizeOptions {
  readonly native: Native
  readonly endpoint: Endpoint
  /** Bytes of the largest datagram that our interface takes. */
  readonly datagramBytesMax: number
  /** Whether that size may be used without asking the path. */
  readonly sizeKnown: boolean
}

export class PathSize {
  /** Bytes of the datagrams to send now. */
  datagramBytes: number = quicLimits.datagramBytesMin
  readonly #options: PathSizeOptions
  #probe: PathProbe | undefined
  #peerId: Uint8Array | undefined

  constructor(options: PathSizeOptions) {
    this.#options = options
  }

  /** When `turn` has something to do; Infinity while nothing is to be found out. */
  get wakeAtMs(): number {
    return this.#probe?.wakeAtMs ?? Infinity
  }

  /** The handshake is done: both ends' limits are known. */
  start(peerId: Uint8Array, nowMs: number): void {
    const { native, datagramBytesMax, sizeKnown } = this.#options
    const max = Math.min(datagramBytesMax, native.stats().peerMaxUdpPayloadSize)
    this.#peerId = peerId
    if (sizeKnown) this.datagramBytes = max
    else this.#probe = new PathProbe({ max, nowMs, nonce: () => randomInt(U32_END) })
  }

  turn(nowMs: number, remote: HostPort): void {
    const probe = this.#probe
    if (probe === undefined || nowMs < probe.wakeAtMs) return
    for (const { nonce, size } of probe.expire(nowMs, roundTripMs(this.#options.native))) {
      this.#send(size, { kind: PROBE, nonce, size }, remote)
    }
    this.datagramBytes = probe.size
  }

  /** Datagrams are being sent. */
  used(nowMs: number): void {
    if (this.#probe?.wakeAtMs === Infinity) this.#probe.used(nowMs)
  }

  /** Nothing is heard though something should be. */
  suspect(nowMs: number): void {
    this.#probe?.suspect(nowMs)
  }

  /** Handles a message beside QUIC; true when it says that the peer does not know us. */
  receive(datagram: Buffer, remote: HostPort, nowMs: number): boolean {
    const message = parseSideMessage(datagram)
    if (message === undefined || this.#peerId === undefined) return false
    const { kind, nonce, size } = message
    if (kind === PROBE && size === datagram.length) {
      this.#send(SIDE_HEADER_BYTES, { kind: PROBE_SEEN, nonce, size }, remote)
    } else if (kind === PROBE_SEEN && this.#probe?.seen({ nonce, size }, nowMs) === true) {
      this.datagramBytes = this.#probe.size
    }
    // It names the connection that the peer does not know, which is how we address it.
    return kind === UNKNOWN_CONNECTION && sideMessageId(datagram).equals(this.#peerId)
  }

  #send(bytes: number, message: SideMessage, remote: HostPort): void {
    const { endpoint } = this.#options
    const buffer = endpoint.borrow(bytes)
    writeSideMessage(buffer, this.#peerId ?? buffer, message)
    endpoint.send(bytes, remote)
    endpoint.settleBurst()
  }
}
