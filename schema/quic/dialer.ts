/**
 * The connecting end: one UDP socket per address family, shared by all peers of the process.
 */
import { randomBytes } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { isIP, isIPv6 } from 'node:net'
import quiche from '@matrixai/quic/native/quiche.js'
import type { Log, TlsIdentity } from '../rpc/api.ts'
import type { MethodTable } from '../rpc/method-table.ts'
import { DfsError } from '../wire/status.ts'
import { formatAddress, parseAddress, type HostPort } from './address.ts'
import type { Peer, PeerOptions } from './api.ts'
import { createConfig } from './config.ts'
import { QuicConnection } from './connection.ts'
import { interfaceDatagramBytes } from './datagram-size.ts'
import { Endpoint } from './endpoint.ts'
import { quicLimits } from './limits.ts'
import { QuicPeer } from './peer.ts'

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
  readonly #log: Log
  readonly #endpoints = new Map<4 | 6, Promise<Endpoint>>()
  readonly #peers = new Set<QuicPeer>()
  #closed = false

  constructor(options: { log: Log }) {
    this.#log = options.log
  }

  /** A peer; nothing is sent before it is used. */
  peer(options: PeerOptions): Peer {
    const peer = new QuicPeer(this, options, () => this.#peers.delete(peer))
    this.#peers.add(peer)
    return peer
  }

  /** Closes all peers and the sockets. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await Promise.all([...this.#peers].map(async (peer) => peer.close()))
    for (const endpoint of this.#endpoints.values()) await (await endpoint).close()
  }

  /**
   * Connects to one address. Rejects with a DfsError: `connectionRefused` (nobody answered in time,
   * no such name, no route), `serverUntrusted`, `versionMismatch`, `forbidden`, `cancelled`.
   */
  async connect(address: string, options: DialOptions): Promise<QuicConnection> {
    const started = performance.now()
    const remote = await resolveAddress(parseAddress(address))
    const endpoint = await this.#endpoint(isIPv6(remote.host) ? 6 : 4)
    options.signal.throwIfAborted()
    const left = options.timeoutMs - (performance.now() - started)
    return this.#handshake(endpoint, remote, options, Math.max(1, left))
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
          `nobody answered at ${formatAddress(remote)} within ${Math.round(options.timeoutMs)} ms${why}: ` +
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
    const datagramBytes = interfaceDatagramBytes(remote.host)
    const config = createConfig({
      role: 'client',
      identity: options.identity,
      caPem: options.caPem,
      datagramBytesMax: datagramBytes,
      keylog: false,
      congestion: 'cubic',
      ...(options.alpn === undefined ? {} : { alpn: options.alpn }),
    })
    const id = randomBytes(quicLimits.connectionIdBytes)
    const native = quiche.Connection.connect(
      options.serverName ?? null,
      id,
      endpoint.local,
      remote,
      config,
    )
    return new QuicConnection({
      native,
      endpoint,
      role: 'client',
      remote,
      ids: [id],
      methods: options.methods,
      log: options.log,
      counted: () => undefined,
      datagramBytes,
      expectedName: options.serverName,
      onEstablished,
      onOver: () => undefined,
    })
  }

  async #endpoint(family: 4 | 6): Promise<Endpoint> {
    if (this.#closed) throw new DfsError('shuttingDown', 'the dialer was closed')
    let endpoint = this.#endpoints.get(family)
    if (endpoint === undefined) {
      const any = { host: family === 4 ? '0.0.0.0' : '::', port: 0 }
      endpoint = Endpoint.bind(any, this.#log)
      this.#endpoints.set(family, endpoint)
      endpoint.catch(() => this.#endpoints.delete(family))
    }
    return endpoint
  }
}

/** Looks a host name up; numeric addresses pass. */
async function resolveAddress({ host, port }: HostPort): Promise<HostPort> {
  if (isIP(host) !== 0) return { host, port }
  try {
    return { host: (await lookup(host)).address, port }
  } catch (error) {
    throw new DfsError(
      'connectionRefused',
      `no address for the host name ${host}: ${String(error)}`,
      {
        cause: error,
      },
    )
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
