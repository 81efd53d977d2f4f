/**
 * The sending direction of a request's stream: its frame, then payload, then its end.
 *
 * Holds at most the frame and one write of the application; what the transport does not take stays
 * here until it does. One write at a time, so a slow receiver holds its sender, not memory.
 */
import { DfsError } from '../wire/status.ts'
import { invariant } from '../wire/invariant.ts'
import { announceSpareByte } from './frame.ts'
import { STOPPED, type StreamPort } from './stream-port.ts'

const NO_BYTES = new Uint8Array(0)
const SPARE_BYTE = new Uint8Array(1)

interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export class Outgoing {
  readonly #port: StreamPort
  readonly #id: number
  #frame: Uint8Array | undefined
  #payload: Uint8Array | undefined
  /**
   * The payload's last byte so far, or the spare byte before it. It goes with the next bytes or with
   * the end: quiche can lose an end that is sent alone when all before it is acknowledged
   * (cloudflare/quiche issue 2525).
   */
  #held: Uint8Array | undefined
  #waiter: Waiter | undefined
  #endWanted = false
  #ended = false
  #broken: Error | undefined

  constructor(port: StreamPort, id: number) {
    this.#port = port
    this.#id = id
  }

  /** Whether the transport has taken everything including the end, or the direction broke. */
  get over(): boolean {
    return this.#ended || this.#broken !== undefined
  }

  /** Whether the end of the stream was handed to the transport. */
  get ended(): boolean {
    return this.#ended
  }

  get endWanted(): boolean {
    return this.#endWanted
  }

  /** Whether something waits for the transport. */
  get blocked(): boolean {
    if (this.over) return false
    return this.#frame !== undefined || this.#payload !== undefined || this.#endWanted
  }

  /** Sends the frame, first of all; `end` when no payload follows. */
  sendFrame(frame: Uint8Array, end: boolean): void {
    this.#frame = frame
    this.#endWanted = end
    if (!end) {
      announceSpareByte(frame)
      this.#held = SPARE_BYTE
    }
    this.flush()
  }

  /** As Call.write: undefined when all was taken, else a promise. */
  write(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#broken !== undefined) return Promise.reject(this.#broken)
    invariant(!this.#endWanted, 'nothing is written after the end of the payload')
    invariant(this.#payload === undefined, 'one write at a time')
    if (bytes.length === 0) return undefined
    this.#payload = bytes
    if (this.flush()) return this.#failure()
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject }
    })
  }

  end(): void {
    if (this.over || this.#endWanted) return
    this.#endWanted = true
    this.flush()
  }

  /** Hands to the transport what it takes; true when nothing is left waiting. */
  flush(): boolean {
    return this.over || (this.#flushFrame() && this.#flushPayload() && this.#flushEnd())
  }

  /** Ends the direction now and drops what waits; the peer sees an early but regular end. */
  endNow(error: Error): void {
    if (this.over) return
    this.#frame = undefined
    this.#payload = undefined
    this.#push(this.#held ?? NO_BYTES, true)
    this.break(error)
  }

  /** Stops: the pending write and all later ones reject with `error`. */
  break(error: Error): void {
    if (this.#broken !== undefined) return
    this.#broken = error
    this.#frame = undefined
    this.#payload = undefined
    const waiter = this.#waiter
    this.#waiter = undefined
    waiter?.reject(error)
  }

  #flushFrame(): boolean {
    if (this.#frame === undefined) return true
    this.#frame = this.#push(this.#frame, this.#endWanted && this.#held === undefined)
    return this.#frame === undefined
  }

  #flushPayload(): boolean {
    if (this.#payload === undefined) return true
    if (this.#held !== undefined) {
      this.#held = this.#push(this.#held, false)
      if (this.#held !== undefined) return false
    }
    const last = this.#payload.length - 1
    if (last > 0) {
      const rest = this.#push(this.#payload.subarray(0, last), false)
      if (this.#broken !== undefined) return true
      if (rest !== undefined) {
        this.#payload = this.#payload.subarray(last - rest.length)
        return false
      }
    }
    this.#held = Uint8Array.from(this.#payload.subarray(last))
    this.#payload = undefined
    const waiter = this.#waiter
    this.#waiter = undefined
    waiter?.resolve()
    return true
  }

  #flushEnd(): boolean {
    if (!this.#endWanted || this.over) return true
    if (this.#held === undefined) this.#push(NO_BYTES, true)
    else this.#held = this.#push(this.#held, true)
    return true
  }

  #push(bytes: Uint8Array, fin: boolean): Uint8Array | undefined {
    const taken = this.#port.send(this.#id, bytes, fin)
    if (taken === STOPPED) {
      this.break(stoppedByPeer())
      return undefined
    }
    if (taken < bytes.length) return bytes.subarray(taken)
    if (fin) this.#ended = true
    return undefined
  }

  #failure(): Promise<void> | undefined {
    return this.#broken === undefined ? undefined : Promise.reject(this.#broken)
  }
}

function stoppedByPeer(): DfsError {
  return new DfsError('cancelled', 'the other side gave the request up')
}
