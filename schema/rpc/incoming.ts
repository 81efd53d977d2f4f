/**
 * The receiving direction of a request's stream: its frame, then payload.
 *
 * Nothing is allocated before its length was checked. Payload goes straight from the transport into
 * the reader's buffer; what nobody reads stays in the transport, whose window then holds the sender.
 */
import { DfsError } from '../wire/status.ts'
import { invariant } from '../wire/invariant.ts'
import { smallBytes } from '../wire/small-bytes.ts'
import { FRAME_HEADER_BYTES, parseFrameHeader, type FrameHeader } from './frame.ts'
import { NOTHING, STOPPED, type StreamPort } from './stream-port.ts'

/** Read at once at the start of a stream: a small request or response is one crossing. */
const SCRATCH_BYTES = 16_384
const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
/** In place of a message whose memory was given away. */
const TAKEN = new Uint8Array(0)

interface Reader {
  readonly into: Uint8Array
  readonly resolve: (bytes: number) => void
  readonly reject: (error: Error) => void
}

export class Incoming {
  readonly #port: StreamPort
  readonly #id: number
  #stash: Uint8Array | undefined
  #header: FrameHeader | undefined
  #message: Uint8Array | undefined
  #filled = 0
  /** A spare byte is still to come, which is nobody's. */
  #spareByte = false
  /** Payload that came with the frame in one read. */
  #surplus: Uint8Array | undefined
  #payloadBytes = 0
  #payloadBytesMax = 0
  #reader: Reader | undefined
  #ended = false
  #discarding = false
  #error: Error | undefined

  constructor(port: StreamPort, id: number) {
    this.#port = port
    this.#id = id
  }

  /** Whether the peer's direction has ended, in order or not, as far as the transport is concerned. */
  get over(): boolean {
    return this.#ended
  }

  get header(): FrameHeader {
    invariant(this.#header !== undefined, 'the frame was polled to its end')
    return this.#header
  }

  /** The message, once, when `pollFrame` has returned true. It shares memory: not to be kept. */
  takeMessage(): Uint8Array {
    const message = this.#message
    invariant(message !== undefined && message !== TAKEN, 'the frame was polled to its end')
    this.#message = TAKEN
    return message
  }

  /**
   * Reads as far as the frame goes; true once the message is complete. `messageBytesMax` names the
   * limit for a header, or throws for a header it does not want.
   *
   * Throws DfsError `frameMalformed`, `frameTooLarge`, `cancelled` (the peer broke off), or what
   * `messageBytesMax` throws.
   */
  pollFrame(messageBytesMax: (header: FrameHeader) => number): boolean {
    const message = this.#message ?? this.#pollHeader(messageBytesMax)
    if (message === undefined) return false
    while (this.#filled < message.length) {
      this.#refuseTruncated()
      const bytes = this.#recv(this.#filled === 0 ? message : message.subarray(this.#filled))
      if (bytes === NOTHING) return false
      this.#filled += bytes
    }
    return true
  }

  /** From here on reads return payload, at most `payloadBytesMax` of it. */
  startPayload(payloadBytesMax: number): void {
    this.#payloadBytesMax = payloadBytesMax
  }

  /** As Call.read. Rejects `frameTooLarge` when the peer sends more payload than is accepted. */
  read(into: Uint8Array): number | Promise<number> {
    invariant(into.length > 0, 'a read has room for at least one byte')
    invariant(this.#reader === undefined, 'one read at a time')
    let bytes: number
    try {
      bytes = this.#readNow(into)
    } catch (error) {
      return Promise.reject(error)
    }
    if (bytes !== NOTHING) return bytes
    return new Promise((resolve, reject) => {
      this.#reader = { into, resolve, reject }
    })
  }

  /** The transport has something: serves the pending read, or throws away what nobody wants. */
  poll(): void {
    if (this.#discarding) {
      this.#drain()
      return
    }
    const reader = this.#reader
    if (reader === undefined) return
    try {
      const bytes = this.#readNow(reader.into)
      if (bytes === NOTHING) return
      this.#reader = undefined
      reader.resolve(bytes)
    } catch (error) {
      this.#reader = undefined
      reader.reject(error as Error)
    }
  }

  /**
   * Consumes an end that may have arrived; for directions that carry no payload. Throws
   * `frameTooLarge` for payload that the method does not have.
   */
  pollEnd(): void {
    if (this.#surplus !== undefined) throw unexpectedPayload()
    while (!this.#ended) {
      const bytes = this.#recv(scratch)
      if (bytes === NOTHING) return
      if (bytes > (this.#spareByte ? 1 : 0)) throw unexpectedPayload()
      if (bytes > 0) this.#spareByte = false
    }
  }

  /** Fails the pending and all later reads, and throws away what still comes. */
  discard(error: Error): void {
    this.#error ??= error
    this.#discarding = true
    this.#surplus = undefined
    const reader = this.#reader
    this.#reader = undefined
    reader?.reject(this.#error)
    this.#drain()
  }

  /** The transport no longer has the stream. */
  giveUp(): void {
    this.#ended = true
  }

  /** Returns memory for the message, and what has come of it; undefined before the header is there. */
  #pollHeader(messageBytesMax: (header: FrameHeader) => number): Uint8Array | undefined {
    for (;;) {
      this.#refuseTruncated()
      const got = this.#recv(scratch)
      if (got === NOTHING) return undefined
      let bytes: Uint8Array = scratch.subarray(0, got)
      if (this.#stash !== undefined) bytes = Buffer.concat([this.#stash, bytes])
      if (bytes.length < FRAME_HEADER_BYTES) {
        this.#stash = Uint8Array.from(bytes)
        continue
      }
      this.#stash = undefined
      return this.#acceptHeader(bytes, messageBytesMax)
    }
  }

  #acceptHeader(bytes: Uint8Array, messageBytesMax: (header: FrameHeader) => number): Uint8Array {
    const header = parseFrameHeader(bytes)
    const max = messageBytesMax(header)
    if (header.messageBytes > max) {
      throw new DfsError(
        'frameTooLarge',
        `message of ${header.messageBytes} bytes; at most ${max} are accepted here`,
      )
    }
    const end = Math.min(bytes.length, FRAME_HEADER_BYTES + header.messageBytes)
    const whole = end === FRAME_HEADER_BYTES + header.messageBytes
    // The rest of one may never come: it keeps no memory that others share.
    const message = whole ? smallBytes(header.messageBytes) : new Uint8Array(header.messageBytes)
    message.set(bytes.subarray(FRAME_HEADER_BYTES, end))
    this.#header = header
    this.#message = message
    this.#filled = end - FRAME_HEADER_BYTES
    this.#spareByte = header.spareByte && bytes.length === end
    const payloadAt = header.spareByte ? end + 1 : end
    if (bytes.length > payloadAt) this.#surplus = Uint8Array.from(bytes.subarray(payloadAt))
    return message
  }

  #readNow(into: Uint8Array): number {
    if (this.#error !== undefined) throw this.#error
    const surplus = this.#surplus
    if (surplus !== undefined) {
      const bytes = Math.min(surplus.length, into.length)
      into.set(surplus.subarray(0, bytes))
      this.#surplus = bytes < surplus.length ? surplus.subarray(bytes) : undefined
      return this.#count(bytes)
    }
    if (this.#ended) return 0
    const bytes = this.#recv(into)
    if (this.#spareByte && bytes > 0) {
      this.#spareByte = false
      into.copyWithin(0, 1, bytes)
      return bytes > 1 ? this.#count(bytes - 1) : this.#readNow(into)
    }
    // An end without bytes reads as 0, which is what a reader takes for the end.
    return bytes > 0 ? this.#count(bytes) : bytes
  }

  #count(bytes: number): number {
    this.#payloadBytes += bytes
    if (this.#payloadBytes <= this.#payloadBytesMax) return bytes
    throw new DfsError(
      'frameTooLarge',
      `more than ${this.#payloadBytesMax} bytes of payload, which is all this method accepts`,
    )
  }

  #recv(into: Uint8Array): number {
    const bytes = this.#port.recv(this.#id, into)
    if (bytes === STOPPED) {
      this.#ended = true
      throw new DfsError('cancelled', 'the other side broke the request off')
    }
    if (bytes !== NOTHING && this.#port.ended) this.#ended = true
    return bytes
  }

  #refuseTruncated(): void {
    if (this.#ended) {
      throw new DfsError('frameMalformed', 'the stream ended before its frame was complete')
    }
  }

  #drain(): void {
    try {
      while (!this.#ended && this.#recv(scratch) !== NOTHING);
    } catch (error) {
      // A reset is as good an end as any for bytes that nobody wants.
      if (!(error instanceof DfsError)) throw error
    }
  }
}

function unexpectedPayload(): DfsError {
  return new DfsError('frameTooLarge', 'payload after the message of a method that has none')
}
