/**
 * Why a QUIC connection ended, as the error that its requests get.
 */
import type { ConnectionError } from '@matrixai/quic/native/types.js'
import { DfsError, STATUS, statusFromWire } from '../wire/status.ts'

const TLS_ALERTS = 0x100
const TLS_ALERTS_END = 0x200
const ALERT_NO_PROTOCOL = TLS_ALERTS + 120
/** bad, unsupported, revoked, expired, unknown certificate; unknown CA, access denied. */
const CERTIFICATE_ALERTS = new Set([42, 43, 44, 45, 46, 48, 49, 51].map((n) => TLS_ALERTS + n))
const TRANSPORT_REFUSED = 2

export interface EndOfConnection {
  /** `host:port` and, if asked for, the name that the certificate had to carry. */
  readonly peer: string
  readonly role: 'client' | 'server'
  readonly established: boolean
  readonly timedOut: boolean
  readonly localError: ConnectionError | null
  readonly peerError: ConnectionError | null
}

/** What to tell the requests of a connection that ended. */
export function describeEnd(end: EndOfConnection): DfsError {
  const { peer, localError, peerError } = end
  if (localError !== null && !localError.isApp) return describeLocal(end, localError.errorCode)
  if (peerError !== null) return describePeer(end, peerError)
  if (end.timedOut && !end.established) {
    return new DfsError(
      'connectionRefused',
      `nobody answered at ${peer}: is the server running and reachable by UDP?`,
    )
  }
  if (end.timedOut) {
    return new DfsError('connectionLost', `${peer} fell silent; it may have died or been cut off`)
  }
  return new DfsError('connectionLost', `the connection with ${peer} was closed`)
}

function describeLocal({ peer, role }: EndOfConnection, code: number): DfsError {
  if (role === 'client' && CERTIFICATE_ALERTS.has(code)) {
    return new DfsError(
      'serverUntrusted',
      `the certificate of ${peer} is not the expected server's, signed by this cluster's authority, ` +
        `and valid now (TLS alert ${code - TLS_ALERTS}); check the address, the pinned CA and the clock`,
    )
  }
  if (code === ALERT_NO_PROTOCOL) return versionMismatch(peer)
  return new DfsError('connectionLost', `${peer} broke the protocol (QUIC error ${code})`)
}

function describePeer(end: EndOfConnection, error: ConnectionError): DfsError {
  const { peer } = end
  const code = error.errorCode
  const reason = Buffer.from(error.reason).toString('utf8')
  if (error.isApp) {
    if (code === STATUS.shuttingDown.wire) {
      return new DfsError('shuttingDown', `${peer} is shutting down; try another server or later`)
    }
    if (code === 0) return new DfsError('connectionLost', `${peer} closed the connection`)
    return new DfsError(statusFromWire(code), `${peer} closed the connection: ${reason}`)
  }
  if (code === ALERT_NO_PROTOCOL) return versionMismatch(peer)
  if (code === TRANSPORT_REFUSED) {
    return new DfsError('connectionRefused', `${peer} refuses connections now: ${reason}`)
  }
  if (code >= TLS_ALERTS && code < TLS_ALERTS_END) {
    return new DfsError(
      'forbidden',
      `${peer} refused our certificate (TLS alert ${code - TLS_ALERTS}): it must be signed by the ` +
        "cluster's authority and valid now",
    )
  }
  return new DfsError('connectionLost', `${peer} ended the connection (QUIC error ${code})`)
}

function versionMismatch(peer: string): DfsError {
  return new DfsError(
    'versionMismatch',
    `${peer} speaks another version of the protocol; upgrade the older side`,
  )
}
