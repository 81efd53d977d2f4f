/**
 * The streams of one quiche connection, as the request layer wants them.
 *
 * Translates quiche's results and errors; quiche's state errors are `StreamStopped(code)`,
 * `StreamReset(code)` and, for streams that it has forgotten, `InvalidStreamState`.
 */
import quiche from '@matrixai/quic/native/quiche.js'
import type { Connection as Native, Shutdown } from '@matrixai/quic/native/types.js'
import { NOTHING, STOPPED, type StreamPort } from '../rpc/stream-port.ts'

/** Distance of two stream ids of the same kind. */
const STREAM_ID_STEP = 4
/** Credit that a stream broken off may lose, bytes: what is under way at that moment, generously. */
const LOST_CREDIT_BYTES = 262_144
/** quiche's default urgency is 127, lower is first. */
const BULK_URGENCY = 191

export class NativeStreams implements StreamPort {
  ended = false
  /** Something was given to quiche that is worth a datagram now. */
  touched = false
  /**
   * Upper estimate of the flow-control credit that this connection will never get back: quiche 0.18
   * does not return what was sent but not received of a stream that was broken off.
   */
  lostCreditBytes = 0
  readonly #native: Native
  readonly #wake: () => void
  #nextId: number
  /** Streams that the peer allows us still, as of the last look. */
  #left = 0

  constructor(native: Native, firstId: 0 | 1, wake: () => void) {
    this.#native = native
    this.#nextId = firstId
    this.#wake = wake
  }

  /** Streams opened by us so far. */
  get opened(): number {
    return Math.floor(this.#nextId / STREAM_ID_STEP)
  }

  open(): number {
    if (this.#left === 0) this.#left = this.#native.peerStreamsLeftBidi()
    if (this.#left === 0) return NOTHING
    this.#left--
    const id = this.#nextId
    this.#nextId += STREAM_ID_STEP
    return id
  }

  markBulk(id: number): void {
    this.#native.streamPriority(id, BULK_URGENCY, true)
  }

  send(id: number, bytes: Uint8Array, fin: boolean): number {
    this.touched = true
    try {
      return this.#native.streamSend(id, bytes, fin) ?? 0
    } catch {
      return STOPPED
    }
  }

  recv(id: number, into: Uint8Array): number {
    let got: [number, boolean] | null
    try {
      got = this.#native.streamRecv(id, into)
    } catch {
      this.ended = true
      this.lostCreditBytes += LOST_CREDIT_BYTES
      return STOPPED
    }
    if (got === null) return NOTHING
    this.ended = got[1]
    return got[0]
  }

  peerStopped(id: number): boolean {
    try {
      this.#native.streamCapacity(id)
      return false
    } catch {
      return true
    }
  }

  peerFinished(id: number): boolean {
    return this.#native.streamFinished(id)
  }

  stopReceiving(id: number, code: number): void {
    this.lostCreditBytes += LOST_CREDIT_BYTES
    this.#shutdown(id, quiche.Shutdown.Read, code)
  }

  reset(id: number, code: number): void {
    this.#shutdown(id, quiche.Shutdown.Write, code)
  }

  wake(): void {
    this.#wake()
  }

  #shutdown(id: number, direction: Shutdown, code: number): void {
    this.touched = true
    try {
      this.#native.streamShutdown(id, direction, code)
    } catch {
      // The stream is gone already, which is what was wanted.
    }
  }
}
