/**
 * A connection's numbers, from quiche's view of it and of the path in use.
 */
import type { Connection as Native } from '@matrixai/quic/native/types.js'
import type { ConnectionStats } from '../rpc/api.ts'

/** Smoothed round-trip time of the path in use, ms; 0 before it is known. */
export function roundTripMs(native: Native): number {
  return native.pathStats().find(({ active }) => active)?.rtt ?? 0
}

export function readStats(
  native: Native,
  datagramBytes: number,
  requestsOpen: number,
): ConnectionStats {
  const path = native.pathStats().find(({ active }) => active)
  const all = native.stats()
  return {
    rttMs: path?.rtt ?? 0,
    cwndBytes: path?.cwnd ?? 0,
    datagramBytes,
    packetsSent: all.sent,
    packetsReceived: all.recv,
    packetsLost: all.lost,
    bytesSent: all.sentBytes,
    bytesReceived: all.recvBytes,
    bytesLost: all.lostBytes,
    bytesRetransmitted: all.streamRetransBytes,
    requestsOpen,
  }
}
