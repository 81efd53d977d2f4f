/**
 * The serving end: accepts connections on one address and bounds what strangers can cost.
 *
 * A stranger's datagram costs a table look-up. A handshake starts only for a client of our QUIC
 * version with a full-size first datagram; above a number of handshakes in progress the client must
 * first prove its address; above the caps it is refused. Certificates can be replaced while serving.
 */
import { randomBytes } from 'node:crypto'
import quiche from '@matrixai/quic/native/quiche.js'
import type { Config, Header } from '@matrixai/quic/native/types.js'
import type { Connection, TlsIdentity } from '../rpc/api.ts'
import { MethodTable } from '../rpc/method-table.ts'
import { invariant } from '../wire/invariant.ts'
import { DfsError, STATUS } from '../wire/status.ts'
import { formatAddress, parseAddress, type HostPort } from './address.ts'
import type { Listener, ListenerStats, ListenOptions } from './api.ts'
import { Counters } from './counters.ts'
import { createConfig } from './config.ts'
import { QuicConnection } from './connection.ts'
import { Endpoint } from './endpoint.ts'
import { quicLimits } from './limits.ts'
import { RetryTokens } from './retry-token.ts'
import { Settings } from './settings.ts'
import {
  isSideMessage,
  SIDE_HEADER_BYTES,
  UNKNOWN_CONNECTION,
  writeSideMessage,
} from './side-channel.ts'

const LONG_HEADER = 0x80
/** Of a long header: zero for an Initial. */
const LONG_TYPE_BITS = 0x30
const VERSION_AT = 1
/** Milliseconds between looks whether a drain is complete. */
const DRAIN_POLL_MS = 5
const DRAIN_MS = 5_000
const SECOND_MS = 1_000

/** Listens for connections. Throws DfsError `invalidArgument` for a bad address or certificate. */
export async function listen(options: ListenOptions): Promise<Listener> {
  const endpoint = Endpoint.bind(parseAddress(options.address), options.log)
  try {
    return new QuicListener(endpoint, options)
  } catch (error) {
    endpoint.close()
    throw error
  }
}

class QuicListener implements Listener {
  readonly address: string
  readonly connections = new Set<Connection>()
  readonly #endpoint: Endpoint
  readonly #options: ListenOptions
  readonly #methods: MethodTable
  readonly #settings: Settings
  readonly #counters = new Counters()
  readonly #tokens = new RetryTokens(quicLimits.retryTokenMs)
  readonly #all = new Set<QuicConnection>()
  readonly #handshakes = new Set<QuicConnection>()
  readonly #perAddress = new Map<string, number>()
  /** By window and datagram size, whose sum tells both: windows are multiples of a MiB. */
  #configs = new Map<number, Config>()
  #identity: TlsIdentity
  #closing: Promise<void> | undefined
  #answersSinceMs = 0
  #answers = 0

  constructor(endpoint: Endpoint, options: ListenOptions) {
    invariant(options.service instanceof MethodTable, 'a service is a MethodTable')
    this.#methods = options.service
    this.#endpoint = endpoint
    this.#options = options
    this.#identity = options.identity
    this.#settings = new Settings(options.transport)
    // Fails now rather than at the first client.
    this.#config(quicLimits.datagramBytesMin, quicLimits.connectionWindowBytes)
    this.address = formatAddress(endpoint.local)
    endpoint.onStranger(this.#onStranger)
  }

  stats(): ListenerStats {
    return this.#counters.snapshot(this.#all.size, this.#handshakes.size)
  }

  setIdentity(identity: TlsIdentity): void {
    const before = this.#identity
    this.#identity = identity
    this.#configs = new Map()
    try {
      this.#config(quicLimits.datagramBytesMin, quicLimits.connectionWindowBytes)
    } catch (error) {
      this.#identity = before
      throw error
    }
  }

  async close(drainMs = DRAIN_MS): Promise<void> {
    this.#closing ??= this.#drain(drainMs)
    await this.#closing
  }

  async #drain(drainMs: number): Promise<void> {
    const endMs = performance.now() + drainMs
    for (const connection of this.#all) connection.session.draining = true
    while (performance.now() < endMs && this.#busy()) {
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS))
    }
    const { wire } = STATUS.shuttingDown
    for (const connection of this.#all) connection.closeWith(wire, 'the server is shutting down')
    this.#endpoint.close()
  }

  #busy(): boolean {
    for (const connection of this.#all) if (connection.serving) return true
    return false
  }

  /** The budget shared by the connections, in powers of two so that few configurations do. */
  #windowBytes(): number {
    const { receiveBudgetBytes, connectionWindowBytes, connectionWindowBytesMin } = quicLimits
    let bytes: number = connectionWindowBytes
    while (bytes > connectionWindowBytesMin && bytes * this.#all.size > receiveBudgetBytes)
      bytes /= 2
    return bytes
  }

  /** Cheapest refusals first: nothing is parsed or answered that need not be. */
  readonly #onStranger = (datagram: Buffer, remote: HostPort): void => {
    const long = ((datagram[0] ?? 0) & LONG_HEADER) !== 0
    if (!long) {
      this.#tellUnknown(datagram, remote)
    } else if (datagram.length < quicLimits.datagramBytesMin) {
      this.#counters.ignoredDatagrams++
    } else if (datagram.readUInt32BE(VERSION_AT) === quiche.PROTOCOL_VERSION) {
      this.#meet(datagram, remote)
    } else {
      this.#negotiateVersion(datagram, remote)
    }
  }

  #meet(datagram: Buffer, remote: HostPort): void {
    const initial = ((datagram[0] ?? 0) & LONG_TYPE_BITS) === 0
    const header = initial ? parseHeader(datagram) : undefined
    // Our clients have no id of their own; who has one could make quiche 0.18 spin (see dialer.ts).
    if (header === undefined || header.scid.length > 0) this.#counters.ignoredDatagrams++
    else this.#welcome(datagram, header, remote)
  }

  #negotiateVersion(datagram: Buffer, remote: HostPort): void {
    const offered = datagram.readUInt32BE(VERSION_AT)
    const header = offered === 0 || !this.#mayAnswer() ? undefined : parseHeader(datagram)
    if (header === undefined) {
      this.#counters.ignoredDatagrams++
      return
    }
    this.#counters.versionsNegotiated++
    this.#reply(remote, (out) => quiche.negotiateVersion(header.scid, header.dcid, out))
  }

  /** Strangers get so many answers a second together, whoever they are or pretend to be. */
  #mayAnswer(): boolean {
    const nowMs = performance.now()
    if (nowMs - this.#answersSinceMs >= SECOND_MS) {
      this.#answersSinceMs = nowMs
      this.#answers = 0
    }
    return ++this.#answers <= quicLimits.strangerAnswersPerSecondMax
  }

  #welcome(datagram: Buffer, header: Header, remote: HostPort): void {
    const token = header.token ?? new Uint8Array(0)
    let originalId: Buffer | undefined
    if (token.length > 0) {
      originalId = this.#tokens.verify(token, remote, Date.now())
      if (originalId === undefined) {
        this.#counters.ignoredDatagrams++
        return
      }
    } else if (this.#handshakes.size >= quicLimits.handshakesBeforeRetry) {
      this.#counters.retriesSent++
      const retryId = randomBytes(quicLimits.connectionIdBytes)
      const fresh = this.#tokens.issue(header.dcid, remote, Date.now())
      this.#reply(remote, (out) =>
        quiche.retry(header.scid, header.dcid, retryId, fresh, header.version, out),
      )
      return
    }
    // With a token the client addresses us by the id that the retry gave it; we keep that.
    const id =
      originalId === undefined
        ? randomBytes(quicLimits.connectionIdBytes)
        : Buffer.from(header.dcid)
    const connection = this.#accept(id, originalId, Buffer.from(header.dcid), remote)
    if (connection === undefined) return
    connection.receive(datagram, remote)
    const reason = this.#refusal(remote)
    if (reason === undefined) return
    this.#counters.connectionsRefused++
    connection.refuse(reason)
  }

  #accept(
    id: Buffer,
    originalId: Buffer | undefined,
    firstId: Buffer,
    remote: HostPort,
  ): QuicConnection | undefined {
    // Beyond the caps a few are still answered, to be told so; beyond those, silence.
    if (this.#handshakes.size >= quicLimits.handshakesMax) {
      this.#counters.connectionsRefused++
      return undefined
    }
    const datagramBytesMax = this.#settings.datagramBytesMax(remote.host)
    const native = quiche.Connection.accept(
      id,
      originalId,
      this.#endpoint.local,
      remote,
      this.#config(datagramBytesMax, this.#windowBytes()),
    )
    const keylog = this.#settings.nextKeylog('server')
    if (keylog !== undefined) native.setKeylog(keylog)
    const connection = new QuicConnection({
      native,
      endpoint: this.#endpoint,
      role: 'server',
      remote,
      ids: id.equals(firstId) ? [id] : [id, firstId],
      methods: this.#methods,
      log: this.#options.log,
      counted: (error) => this.#counters.count(error.code),
      datagramBytesMax,
      // Clients keep their connections; a server has too many to ask.
      keepAliveMs: Infinity,
      sizeKnown: this.#settings.sizeKnown(remote.host),
      onEstablished: this.#onEstablished,
      onOver: (ended) => this.#onOver(ended, remote.host),
    })
    this.#all.add(connection)
    this.#handshakes.add(connection)
    this.#perAddress.set(remote.host, (this.#perAddress.get(remote.host) ?? 0) + 1)
    return connection
  }

  #refusal(remote: HostPort): string | undefined {
    if (this.#closing !== undefined) return 'shutting down'
    const { connectionsMax, connectionsPerAddressMax } = this.#settings
    if (this.#all.size > connectionsMax) return `${connectionsMax} connections are open already`
    if ((this.#perAddress.get(remote.host) ?? 0) > connectionsPerAddressMax) {
      return `${connectionsPerAddressMax} connections from your address already`
    }
    return undefined
  }

  readonly #onEstablished = (connection: QuicConnection): void => {
    this.#handshakes.delete(connection)
    this.#counters.connectionsAccepted++
    if (this.#closing !== undefined) connection.session.draining = true
    this.connections.add(connection)
    this.#options.onConnection?.(connection)
  }

  #onOver(connection: QuicConnection, host: string): void {
    this.#handshakes.delete(connection)
    this.#all.delete(connection)
    this.connections.delete(connection)
    const count = (this.#perAddress.get(host) ?? 1) - 1
    if (count === 0) this.#perAddress.delete(host)
    else this.#perAddress.set(host, count)
  }

  #config(datagramBytesMax: number, windowBytes: number): Config {
    const key = windowBytes + datagramBytesMax
    let config = this.#configs.get(key)
    if (config === undefined) {
      config = createConfig({
        role: 'server',
        identity: this.#identity,
        caPem: this.#options.caPem,
        datagramBytesMax,
        settings: this.#settings,
        windowBytes,
      })
      this.#configs.set(key, config)
    }
    return config
  }

  /** Tells the client of an earlier process here that its connection is gone. */
  #tellUnknown(datagram: Buffer, remote: HostPort): void {
    // Never an answer to an answer, nor one larger than the question.
    const answerable = !isSideMessage(datagram) && datagram.length > SIDE_HEADER_BYTES
    if (!answerable || !this.#mayAnswer()) {
      this.#counters.ignoredDatagrams++
      return
    }
    this.#counters.unknownAnswers++
    const id = datagram.subarray(1, 1 + quicLimits.connectionIdBytes)
    this.#reply(remote, (out) => {
      writeSideMessage(out, id, { kind: UNKNOWN_CONNECTION, nonce: 0, size: 0 })
      return SIDE_HEADER_BYTES
    })
  }

  #reply(to: HostPort, write: (out: Buffer) => number): void {
    const buffer = this.#endpoint.borrow(quicLimits.datagramBytesMin)
    try {
      this.#endpoint.send(write(buffer), to)
    } catch (error) {
      const reason = error instanceof DfsError ? error.message : String(error)
      this.#options.log.debug({ to, reason }, 'no answer to a malformed first datagram')
    }
    this.#endpoint.settleBurst()
  }
}

function parseHeader(datagram: Buffer): Header | undefined {
  try {
    return quiche.Header.fromSlice(datagram, quicLimits.connectionIdBytes)
  } catch {
    return undefined
  }
}
