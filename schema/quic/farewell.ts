/**
 * The end of a client's connection. The datagram that says so may get lost like any other, and a server
 * that does not hear it keeps what was under way until it misses the client, seconds later. So it is
 * said again: a few times unasked, and to what the server still sends (RFC 9000, 10.2.1). Then the
 * socket is closed. A process that ends meanwhile is not held up.
 */
import type { HostPort } from './address.ts'
import type { Endpoint, Served } from './endpoint.ts'
import { quicLimits } from './limits.ts'
import type { NativeDatagrams } from './native-datagrams.ts'

/** When it is said again unasked, ms after the time before; the last is when the socket is closed. */
const PAUSES_MS = [25, 100, 400, 1_000]
/** How often it is said again in answer to datagrams. */
const ANSWERS_MAX = 16

const underWay = new Set<Farewell>()

/** Says it for the first time: sends the datagram that quiche has once it is closed; returns a copy. */
export function sendFarewell(datagrams: NativeDatagrams, endpoint: Endpoint): Buffer | undefined {
  const buffer = endpoint.borrow(quicLimits.datagramBytesMin)
  const out = datagrams.next(buffer)
  if (out === null) return undefined
  const [bytes, { to }] = out
  endpoint.send(bytes, to)
  endpoint.settleBurst()
  return Buffer.from(buffer.subarray(0, bytes))
}

/** Says it again: takes the endpoint over and closes it in time. */
export function repeatFarewell(endpoint: Endpoint, datagram: Buffer, to: HostPort): void {
  if (underWay.size === 0) process.once('exit', endAll)
  const farewell = new Farewell(endpoint, datagram, to)
  underWay.add(farewell)
  farewell.start()
}

/** koffi, which watches the sockets, cannot be called back any more while Node.js ends. */
function endAll(): void {
  for (const farewell of underWay) farewell.end()
}

class Farewell implements Served {
  scheduled = false
  readonly #endpoint: Endpoint
  readonly #datagram: Buffer
  readonly #to: HostPort
  #answers = 0
  #pauses = 0
  #timer: NodeJS.Timeout | undefined

  constructor(endpoint: Endpoint, datagram: Buffer, to: HostPort) {
    this.#endpoint = endpoint
    this.#datagram = datagram
    this.#to = to
  }

  start(): void {
    const endpoint = this.#endpoint
    endpoint.attach(this)
    // Nobody is there any more who could miss us.
    endpoint.onRefused(() => this.end())
    endpoint.letProcessEnd()
    this.#pause()
  }

  receive(): void {
    if (this.#answers >= ANSWERS_MAX) return
    this.#answers++
    this.#say()
  }

  turn(): boolean {
    return false
  }

  end(): void {
    if (!underWay.delete(this)) return
    clearTimeout(this.#timer)
    this.#endpoint.close()
    if (underWay.size === 0) process.off('exit', endAll)
  }

  #pause(): void {
    this.#timer = setTimeout(this.#again, PAUSES_MS[this.#pauses++])
    this.#timer.unref()
  }

  readonly #again = (): void => {
    if (this.#pauses === PAUSES_MS.length) {
      this.end()
      return
    }
    this.#say()
    this.#pause()
  }

  #say(): void {
    // Refused for now is as good as lost; the next time may do.
    this.#endpoint.sendNow(this.#datagram, this.#datagram.length, this.#to)
  }
}
