/**
 * What a connection is made of; given by the listener or the dialer.
 */
import type { Connection as Native } from '@matrixai/quic/native/types.js'
import type { Log } from '../rpc/api.ts'
import type { MethodTable } from '../rpc/method-table.ts'
import type { DfsError } from '../wire/status.ts'
import type { HostPort } from './address.ts'
import type { QuicConnection } from './connection.ts'
import type { Endpoint } from './endpoint.ts'

export interface ConnectionOptions {
  readonly native: Native
  readonly endpoint: Endpoint
  readonly role: 'client' | 'server'
  readonly remote: HostPort
  /** Ids under which datagrams find this connection. */
  readonly ids: readonly Uint8Array[]
  readonly methods: MethodTable
  readonly log: Log
  readonly counted: (error: DfsError) => void
  /** Bytes of the largest datagram that our interface takes. */
  readonly datagramBytesMax: number
  /** Whether that size may be used without asking the path. */
  readonly sizeKnown: boolean
  /** Silence after which to ask whether the peer is there, ms; Infinity: never. */
  readonly keepAliveMs: number
  readonly expectedName?: string | undefined
  readonly onEstablished: (connection: QuicConnection) => void
  /** `farewell`, of a client that closed: the datagram that said so, for when it got lost. */
  readonly onOver: (connection: QuicConnection, farewell: Buffer | undefined) => void
}
