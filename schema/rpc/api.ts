/**
 * The request layer that everything above the transport is written against.
 *
 * One request is one bidirectional QUIC stream. Each way: a frame (length, method or status,
 * FlatBuffers message), then raw payload bytes until the end of the stream. Either side of a
 * connection may call the other. Every call ends: with its response, or with a DfsError at its
 * deadline at the latest.
 */
import type { Codec } from '../wire/codec.ts'

/**
 * One row of the protocol. `replay` says what a repeated request does after a lost answer:
 * `harmless` (reads, or repeating has the same effect) or `logged` (the server remembers the answer
 * by operation id).
 */
export interface Method<Request, Response> {
  readonly id: number
  readonly name: string
  readonly request: Codec<Request>
  readonly response: Codec<Response>
  /** FlatBuffers bytes accepted, by way; checked before anything is allocated. */
  readonly requestBytesMax: number
  readonly responseBytesMax: number
  /** Raw payload bytes accepted after the message, by way; 0 for none. */
  readonly uploadBytesMax: number
  readonly downloadBytesMax: number
  /** Milliseconds from the call to its end, unless the caller sets less or more. */
  readonly deadlineMs: number
  /** `control` is served before `bulk` on a busy connection. */
  readonly urgency: 'control' | 'bulk'
  readonly replay: 'harmless' | 'logged'
}

export interface CallOptions {
  readonly deadlineMs?: number
  readonly signal?: AbortSignal
}

/** A request under way, for methods with payload. */
export interface Call<Response> {
  /**
   * Queues payload for the peer. Returns undefined when the transport took all of it at once, else
   * a promise for when it has; the bytes must not change before that. At most one write at a time.
   * The last byte written travels with the next write or with the end.
   */
  write(bytes: Uint8Array): Promise<void> | undefined
  /** Ends the payload. Must be called once, also when there is none. */
  end(): void
  /** The response message. Rejects with a DfsError carrying the peer's status. */
  readonly response: Promise<Response>
  /**
   * Copies received payload into `into`: at least one byte, 0 at its end. Valid once `response`
   * resolved. A number when bytes were there already, else a promise.
   */
  read(into: Uint8Array): number | Promise<number>
  /** Gives the call up: resets the stream both ways; `response` and `read` reject `cancelled`. */
  cancel(): void
}

/** Who is at the other end, by its verified certificate; undefined for a client without one. */
export interface PeerIdentity {
  /** DNS name in the certificate, e.g. `chunkserver-3.dfs`, `admin.dfs`. */
  readonly name: string | undefined
  /** host:port as seen now. */
  readonly address: string
}

/** A connection's numbers so far, for logs and metrics. */
export interface ConnectionStats {
  /** Smoothed round-trip time, whole milliseconds. */
  readonly rttMs: number
  /** Bytes that congestion control allows under way. */
  readonly cwndBytes: number
  /** Bytes of the datagrams sent now. */
  readonly datagramBytes: number
  readonly packetsSent: number
  readonly packetsReceived: number
  readonly packetsLost: number
  /** Datagrams received that were lost and made good on the way, and so not lost to the peer. */
  readonly datagramsRepaired: number
  readonly bytesSent: number
  readonly bytesReceived: number
  readonly bytesLost: number
  /** Bytes of streams that were sent again. */
  readonly bytesRetransmitted: number
  /** Requests under way, both ways. */
  readonly requestsOpen: number
}

export interface Connection {
  readonly peer: PeerIdentity
  /** Free for the application: who logged in on this connection, and the like. */
  state: unknown
  /** Unary call: message out, message back, no payload. */
  call<Q, R>(method: Method<Q, R>, request: Q, options?: CallOptions): Promise<R>
  /** A call with payload one way or both. */
  open<Q, R>(method: Method<Q, R>, request: Q, options?: CallOptions): Call<R>
  /** Resolves when the connection is over, with the reason. */
  readonly closed: Promise<Error | undefined>
  close(): Promise<void>
  /** Costs some microseconds; the last known numbers once the connection is over. */
  stats(): ConnectionStats
}

/** The serving side of one request. */
export interface ServerCall {
  readonly connection: Connection
  /** Aborted when the caller cancels, its deadline passes, or the connection ends. */
  readonly signal: AbortSignal
  /** Bytes of the request's message, without payload. */
  readonly messageBytes: number
  /** Request payload; as {@link Call.read}. */
  read(into: Uint8Array): number | Promise<number>
  /** Response payload, after the response message was sent with `respond`; as {@link Call.write}. */
  write(bytes: Uint8Array): Promise<void> | undefined
}

/**
 * Serves one method. A unary handler returns the response. A handler with response payload calls
 * `respond` first, then `write`, and returns undefined. A thrown DfsError goes to the caller as its
 * status and message; anything else as `internal`, with the cause in this side's log only.
 */
export type Handler<Q, R> = (
  request: Q,
  call: ServerCall & { respond(response: R): void },
) => Promise<R | undefined> | R | undefined

/** The methods that one side of a connection serves. */
export interface Service {
  /** Registers a handler; a method is registered once. */
  handle<Q, R>(method: Method<Q, R>, handler: Handler<Q, R>): void
}

/** What a connection is authenticated with; PEM texts. */
export interface TlsIdentity {
  readonly certificatePem: string
  readonly privateKeyPem: string
}

/** `path` one log line with structured fields; pino fits. */
export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}
