/**
 * How daemons listen and clients connect. Implemented by `listen` and `Dialer` in this folder.
 */
import type {
  Call,
  CallOptions,
  Connection,
  Log,
  Method,
  Service,
  TlsIdentity,
} from '../rpc/api.ts'

/** Settings of the transport itself; the defaults suit everyday use. */
export interface TransportSettings {
  /** Bytes of every datagram, 1200 to 16383; undefined: found out for each connection. */
  readonly datagramBytes?: number
  /** Congestion controller; `bbr` unless told otherwise: it keeps queues, and so waiting, short. */
  readonly congestion?: 'bbr' | 'cubic' | 'reno'
  /** Existing directory that gets the TLS keys of each connection, to read captured packets with. */
  readonly keylogDirectory?: string
  /** Milliseconds of silence after which a connection counts as lost. */
  readonly idleMs?: number
  /** Connections that a listener accepts, in all and from one address. */
  readonly connectionsMax?: number
  readonly connectionsPerAddressMax?: number
}

export interface ListenOptions {
  /** host:port, port 0 for a free one; IPv6 hosts in brackets. */
  readonly address: string
  readonly identity: TlsIdentity
  /** The cluster's CA: a certificate that a peer presents must be signed by it. */
  readonly caPem: string
  readonly service: Service
  readonly log: Log
  readonly onConnection?: (connection: Connection) => void
  readonly transport?: TransportSettings
}

/** A listener's numbers since it began, for metrics. */
export interface ListenerStats {
  /** Open now, and of those in their handshake. */
  readonly connections: number
  readonly handshakes: number
  readonly connectionsAccepted: number
  readonly connectionsRefused: number
  /** Newcomers asked to prove their address. */
  readonly retriesSent: number
  readonly versionsNegotiated: number
  /** Datagrams that belong to no connection and start none. */
  readonly ignoredDatagrams: number
  /** Clients told that their connection does not exist here. */
  readonly unknownAnswers: number
  /** Requests that the transport refused or ended, by status: malformed, too large, late, ... */
  readonly requestErrors: Readonly<Record<string, number>>
}

export interface Listener {
  /** host:port really bound. */
  readonly address: string
  readonly connections: ReadonlySet<Connection>
  stats(): ListenerStats
  /** New connections use the new certificate; existing ones keep theirs. */
  setIdentity(identity: TlsIdentity): void
  /** Refuses new requests with `shuttingDown`, waits for open ones at most `drainMs`, then closes. */
  close(drainMs?: number): Promise<void>
}

export interface PeerOptions {
  /** host:port, tried in order, then with back-off and jitter; a function is asked for each round. */
  readonly addresses: readonly string[] | (() => readonly string[])
  /** The DNS name that the server's certificate must carry; undefined: any signed by the CA. */
  readonly serverName: string | undefined
  readonly caPem: string
  /** Our certificate; a function is asked for each new connection, so that it can be renewed. */
  readonly identity?: TlsIdentity | (() => TlsIdentity | undefined)
  /** What we serve to the other side over this connection (lease recalls). */
  readonly service?: Service
  /** Runs on each new connection before other calls use it, e.g. to open a session. */
  readonly onConnected?: (connection: Connection) => Promise<void>
  readonly log: Log
}

/**
 * A server we talk to: one connection, made when first needed, made again when lost. A call waits
 * for the connection within its own deadline. A call in flight when the connection is lost rejects
 * with `connectionLost`; it is for the caller to know whether to repeat it.
 */
export interface Peer {
  call<Q, R>(method: Method<Q, R>, request: Q, options?: CallOptions): Promise<R>
  open<Q, R>(method: Method<Q, R>, request: Q, options?: CallOptions): Promise<Call<R>>
  /** The live connection, if there is one. */
  readonly connection: Connection | undefined
  close(): Promise<void>
}
