/**
 * The connecting end. Each connection has a UDP socket of its own, connected to the server's address:
 * the kernel then routes once, drops what others send, and says when nobody listens there.
 */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import quiche from '@matrixai/quic/native/quiche.js'
import type { Log, TlsIdentity } from '../rpc/api.ts'
import type { MethodTable } from '../rpc/method-table.ts'
import { DfsError } from '../wire/status.ts'
import { formatAddress, parseAddress, type HostPort } from './address.ts'
import type { Peer, PeerOptions, TransportSettings } from './api.ts'
import { createConfig } from './config.ts'
import { QuicConnection } from './connection.ts'
import { Endpoint } from './endpoint.ts'
import { repeatFarewell } from './farewell.ts'
import { quicLimits } from './limits.ts'
import { QuicPeer } from './peer.ts'
import { Settings } from './settings.ts'

/**
 * A client needs no connection id, its socket tells. Without one there is nothing to exchange for
 * others either: a listener refuses clients that have one, and is safe from what quiche 0.18 gets
 * wrong about retiring ids (CVE-2024-1410, CVE-2025-7054).
 */
const NO_ID = new Uint8Array(0)

/** What one attempt to connect needs. */
export interface DialOptions {
  readonly serverName: string | undefined
  readonly caPem: string
  readonly identity: TlsIdentity | undefined
  readonly methods: MethodTable
  readonly log: Log
  /** Milliseconds for name look-up and handshake. */
  readonly timeoutMs: number
  /** Ends the attempt early. */
  readonly signal: AbortSignal
  /** For tests of negotiation only. */
  readonly alpn?: string | undefined
}

export class Dialer {
  readonly #settings: Settings
  readonly #peers = new Set<QuicPeer>()
  #closed = false

  /** Throws DfsError `invalidArgument` for a setting out of range. */
  constructor(options: { log: Log; transport?: TransportSettings }) {
    this.#settings = new Settings(options.transport)
  }

  /** A peer; nothing is sent before it is used. Throws DfsError `shuttingDown` once closed. */
  peer(options: PeerOptions): Peer {
    if (this.#closed) throw new DfsError('shuttingDown', 'connections are being closed for good')
    const peer = new QuicPeer(this, options, () => this.#peers.delete(peer))
    this.#peers.add(peer)
    return peer
  }

  /** Closes all peers. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await Promise.all([...this.#peers].map(async (peer) => peer.close()))
  }

  /**
   * Connects to `host:port`; of a name with several addresses, to the first that answers. Rejects
   * with a DfsError: `connectionRefused` (nobody answered in time, no such name, no route),
   * `serverUntrusted`, `versionMismatch`, `forbidden`, `cancelled`.
   */
  async connect(address: string, options: DialOptions): Promise<QuicConnection> {
    const endMs = performance.now() + options.timeoutMs
    const remotes = await resolveAddress(parseAddress(address))
    let failure: unknown
    for (const [index, remote] of remotes.entries()) {
      const shareMs = (endMs - performance.now()) / (remotes.length - index)
      try {
        return await this.#attempt(remote, options, Math.max(1, shareMs))
      } catch (error) {
        failure = error
        if (!(error instanceof DfsError) || error.code !== 'connectionRefused') throw error
      }
    }
    throw failure
  }

  async #attempt(
    remote: HostPort,
    options: DialOptions,
    timeoutMs: number,
  ): Promise<QuicConnection> {
    if (options.signal.aborted) {
      throw new DfsError('cancelled', `the attempt to reach ${remote.host} was given up`)
    }
    const endpoint = Endpoint.connect(remote, options.log)
    return this.#handshake(endpoint, remote, options, timeoutMs)
  }

  async #handshake(
    endpoint: Endpoint,
    remote: HostPort,
    options: DialOptions,
    timeoutMs: number,
  ): Promise<QuicConnection> {
    const { promise, resolve, reject } = withResolvers<QuicConnection>()
    const connection = this.#start(endpoint, remote, options, resolve)
    const timer = setTimeout(() => {
      const { sendError } = connection
      const why = sendError === undefined ? '' : ` (${sendError.message})`
      reject(
        new DfsError(
          'connectionRefused',
          `nobody answered at ${formatAddress(remote)} within ${Math.round(timeoutMs)} ms${why}: ` +
            'is the server running, and reachable by UDP?',
        ),
      )
      connection.closeWith(0, '')
    }, timeoutMs)
    const onAbort = (): void => {
      reject(
        new DfsError('cancelled', `the attempt to reach ${formatAddress(remote)} was given up`),
      )
      connection.closeWith(0, '')
    }
    options.signal.addEventListener('abort', onAbort, { once: true })
    void connection.closed.then((reason) =>
      reject(reason ?? new DfsError('connectionRefused', `closed by ${formatAddress(remote)}`)),
    )
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      options.signal.removeEventListener('abort', onAbort)
    }
  }

  #start(
    endpoint: Endpoint,
    remote: HostPort,
    options: DialOptions,
    onEstablished: (connection: QuicConnection) => void,
  ): QuicConnection {
    const datagramBytesMax = this.#settings.datagramBytesMax(remote.host)
    const config = createConfig({
      role: 'client',
      identity: options.identity,
      caPem: options.caPem,
      datagramBytesMax,
      settings: this.#settings,
      windowBytes: quicLimits.connectionWindowBytes,
      ...(options.alpn === undefined ? {} : { alpn: options.alpn }),
    })
    const native = quiche.Connection.connect(
      options.serverName ?? null,
      NO_ID,
      endpoint.local,
      remote,
      config,
    )
    const keylog = this.#settings.nextKeylog('client')
    if (keylog !== undefined) native.setKeylog(keylog)
    return new QuicConnection({
      native,
      endpoint,
      role: 'client',
      remote,
      ids: [],
      methods: options.methods,
      log: options.log,
      counted: () => undefined,
      datagramBytesMax,
      keepAliveMs: this.#settings.keepAliveMs,
      sizeKnown: this.#settings.sizeKnown(remote.host),
      expectedName: options.serverName,
      onEstablished,
      onOver: (_, farewell) => {
        if (farewell === undefined) endpoint.close()
        else repeatFarewell(endpoint, farewell, remote)
      },
    })
  }
}

/** Looks a host name up, all of its addresses; a numeric address is itself. */
async function resolveAddress({ host, port }: HostPort): Promise<HostPort[]> {
  if (isIP(host) !== 0) return [{ host, port }]
  try {
    const found = await lookup(host, { all: true })
    return found.map(({ address }) => ({ host: address, port }))
  } catch (error) {
    const why = `no address for the host name ${host}: ${String(error)}; check the name`
    throw new DfsError('connectionRefused', why, { cause: error })
  }
}

function withResolvers<T>(): {
  promise: Promise<T>
  resolve: (value: T) => void
  reject: (error: Error) => void
} {
  let resolve!: (value: T) => void
  let reject!: (error: Error) => void
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}
