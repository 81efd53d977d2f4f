/**
 * One connection's repairs of lost datagrams: what is sent is covered while that pays, what arrives is
 * kept from the first message on that could repair something.
 */
import type { HostPort } from './address.ts'
import type { Endpoint } from './endpoint.ts'
import {
  COVERED_BYTES_MAX,
  COVERED_MIN,
  PARITY_HEADER_BYTES,
  ParityRepair,
  ParitySum,
} from './parity.ts'

export class Repairs {
  readonly #endpoint: Endpoint
  #peerId: Uint8Array = new Uint8Array(0)
  #sum: ParitySum | undefined
  #repair: ParityRepair | undefined
  #covering = false
  #repaired = 0

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint
  }

  /** Datagrams made good so far. */
  get repaired(): number {
    return this.#repaired
  }

  /** The handshake is done: the connection's id at the peer is known. */
  start(peerId: Uint8Array): void {
    this.#peerId = peerId
  }

  /** Bytes of the datagrams to send on a path of datagrams of `bytes`: what covers them must fit, too. */
  datagramBytes(bytes: number, wanted: boolean): number {
    this.#covering = wanted && bytes <= COVERED_BYTES_MAX
    if (!this.#covering) this.#sum = undefined
    return this.#covering ? bytes - PARITY_HEADER_BYTES : bytes
  }

  /** A datagram, the first `bytes` of the buffer, is about to be sent. */
  cover(buffer: Buffer, bytes: number, remote: HostPort): void {
    if (!this.#covering) return
    this.#sum ??= new ParitySum()
    this.#sum.add(buffer, bytes)
    if (this.#sum.full) this.#send(this.#sum, remote)
  }

  /** There is nothing more to send for now. */
  paused(remote: HostPort): void {
    const sum = this.#sum
    if (sum !== undefined && sum.count >= COVERED_MIN) this.#send(sum, remote)
  }

  /** A datagram arrived; called before quiche decrypts it in place. */
  keep(datagram: Buffer): void {
    this.#repair?.keep(datagram)
  }

  /** What a message makes of what was kept: a datagram that was lost. */
  repair(message: Buffer): Buffer | undefined {
    this.#repair ??= new ParityRepair()
    const repaired = this.#repair.repair(message)
    if (repaired !== undefined) this.#repaired++
    return repaired
  }

  #send(sum: ParitySum, remote: HostPort): void {
    const buffer = this.#endpoint.borrow(COVERED_BYTES_MAX)
    this.#endpoint.send(sum.take(buffer, this.#peerId), remote)
  }
}
