/**
 * Datagrams straight from the kernel into one buffer, for a socket that has many waiting.
 *
 * Node makes a buffer of 64 KiB, cut to size, and two objects for every datagram; V8 counts the 64 KiB
 * and collects garbage accordingly. Reading the socket's descriptor costs a third of that and leaves
 * nothing behind, but does not tell who sent the datagram: the endpoint says where that will do.
 *
 * Node does not publish a socket's descriptor. Where it is not found, all datagrams come as usual.
 */
import type { Socket } from 'node:dgram'
import { readSync } from 'node:fs'

/** Bytes that the largest UDP datagram fits into. */
const UDP_BYTES_MAX = 65_536
/** What must have come in a turn for the next to be worth it: finding nothing more costs 6 us. */
const WORTH_DATAGRAMS = 8
/** Three of the largest: they are costly for Node. */
const WORTH_BYTES = 32_768
/** Datagrams read so in a turn; then the connections have theirs. */
const PER_TURN_MAX = 128
/** Milliseconds without, after a datagram whose sender must be known. */
const SENDERS_MATTER_MS = 1_000
/** Of all sockets: a datagram is used up before the next is read. */
const scratch = Buffer.allocUnsafeSlow(UDP_BYTES_MAX)

export class DirectReads {
  readonly #descriptor: number | undefined
  #worthIt = false
  /** Of this turn so far, however they came. */
  #datagrams = 0
  #bytes = 0
  #left = 0
  #notBeforeMs = 0

  /** The socket must be bound or connected, and open while `next` is called. */
  constructor(socket: Socket) {
    this.#descriptor = descriptorOf(socket)
  }

  /** A datagram of `bytes` came by way of Node. */
  received(bytes: number): void {
    this.#datagrams++
    this.#bytes += bytes
  }

  /** A turn begins. */
  turn(nowMs: number): void {
    // Turns without any come in between, when an acknowledgement waits.
    if (this.#datagrams > 0) {
      this.#worthIt = this.#datagrams >= WORTH_DATAGRAMS || this.#bytes >= WORTH_BYTES
    }
    this.#datagrams = 0
    this.#bytes = 0
    const wanted = this.#worthIt && nowMs >= this.#notBeforeMs
    this.#left = wanted && this.#descriptor !== undefined ? PER_TURN_MAX : 0
  }

  /** Senders must be known for a while. */
  pause(nowMs: number): void {
    this.#left = 0
    this.#notBeforeMs = nowMs + SENDERS_MATTER_MS
  }

  /**
   * The next datagram, valid until the next call; undefined when none waits, or no more are to be read
   * so. Throws what the kernel reports.
   */
  next(): Buffer | undefined {
    if (this.#left === 0 || this.#descriptor === undefined) return undefined
    let bytes: number
    try {
      bytes = readSync(this.#descriptor, scratch, 0, UDP_BYTES_MAX, null)
    } catch (error) {
      this.#left = 0
      if (error instanceof Error && 'code' in error && error.code === 'EAGAIN') return undefined
      throw error
    }
    this.#left--
    this.received(bytes)
    return scratch.subarray(0, bytes)
  }
}

/** As in Node 20, 22 and 24, where a socket keeps its handle behind a symbol. */
function descriptorOf(socket: Socket): number | undefined {
  for (const symbol of Object.getOwnPropertySymbols(socket)) {
    const descriptor = numberAt(valueAt(valueAt(socket, symbol), 'handle'), 'fd')
    if (descriptor !== undefined) return descriptor
  }
  return undefined
}

function valueAt(of: unknown, key: string | symbol): unknown {
  return typeof of === 'object' && of !== null ? Reflect.get(of, key) : undefined
}

function numberAt(of: unknown, key: string): number | undefined {
  const value = valueAt(of, key)
  return typeof value === 'number' && value >= 0 ? value : undefined
}
