/**
 * A connection's numbers, from quiche's view of it and of the path in use.
 */
import type { Connection as Native } from '@matrixai/quic/native/types.js'
import type { ConnectionStats } from '../rpc/api.ts'

/** What the path in use has done so far, in packets. */
export interface PathCounts {
  readonly rttMs: number
  readonly sent: number
  readonly lost: number
}

export function pathCounts(native: Native): PathCounts {
  const path = native.pathStats().find(({ active }) => active)
  return { rttMs: path?.rtt ?? 0, sent: path?.sent ?? 0, lost: path?.lost ?? 0 }
}

/** Smoothed round-trip time of the path in use, ms; 0 before it is known. */
export function roundTripMs(native: Native): number {
  return pathCounts(native).rttMs
}

/** What quiche does not count. */
type OwnStats = Pick<ConnectionStats, 'datagramBytes' | 'datagramsRepaired' | 'requestsOpen'>

export function readStats(native: Native, own: OwnStats): ConnectionStats {
  const path = native.pathStats().find(({ active }) => active)
  const all = native.stats()
  return {
    rttMs: path?.rtt ?? 0,
    cwndBytes: path?.cwnd ?? 0,
    packetsSent: all.sent,
    packetsReceived: all.recv,
    packetsLost: all.lost,
    bytesSent: all.sentBytes,
    bytesReceived: all.recvBytes,
    bytesLost: all.lostBytes,
    bytesRetransmitted: all.streamRetransBytes,
    ...own,
  }
}
