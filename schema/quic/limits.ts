/**
 * Every bound of the transport, with its unit and its reason. docs/transport.md lists them.
 */
import { invariant } from '../wire/invariant.ts'

const MIB = 1_048_576

export const quicLimits = {
  /**
   * Bytes a peer may send on one stream before somebody reads them. A whole sealed chunk and its frame
   * fit: quiche starts a stream's real window at 32 KiB when this is used up, and whoever sends more
   * is slowed down there, over 20 ms for half a second.
   */
  streamWindowBytes: 66 * MIB,
  /** Bytes a peer may send on all streams of a connection before somebody reads them. */
  connectionWindowBytes: 256 * MIB,
  /** Bytes that peers may send to one listener unread, as a target: more connections, smaller windows. */
  receiveBudgetBytes: 1_024 * MIB,
  /** Smallest connection window that the budget leads to, bytes. */
  connectionWindowBytesMin: MIB,
  /** Streams of ours after which a peer makes a new connection: quiche remembers each for ever. */
  streamsPerConnectionMax: 1_048_576,
  /** Estimated flow-control bytes lost to broken-off streams after which a new one is made too. */
  lostCreditBytesMax: 128 * MIB,
  /** Answers of a listener in one second to datagrams of no connection, retry tokens apart. */
  strangerAnswersPerSecondMax: 1_000,
  /** Requests that each side may have open on a connection; more wait at their caller. */
  streamsMax: 1_024,
  /** Bytes of a datagram before the path is known to carry more: QUIC's minimum. */
  datagramBytesMin: 1_200,
  /**
   * Bytes that congestion control counts as one datagram at least, whatever their real size: ten of
   * them may be under way before the first answer, 111 Ethernet packets.
   */
  congestionUnitBytes: 16_383,
  /** Largest datagram that quiche builds. */
  datagramBytesMax: 16_383,
  /** Bytes asked of the kernel for each socket buffer. */
  socketBufferBytes: 4 * MIB,
  /** Datagrams that one connection sends before the others get their turn. */
  burstDatagrams: 64,
  /** Bytes that one connection sends before the others get their turn. */
  burstBytes: 262_144,
  /** The same two on a long path (long-path.ts): as much as a few acknowledgements make room for. */
  longBurstDatagrams: 256,
  longBurstBytes: MIB,
  /** Milliseconds of silence after which a connection counts as lost. */
  idleMs: 20_000,
  /** Milliseconds of silence after which a client asks whether the server is there. */
  keepAliveMs: 5_000,
  /** Milliseconds without an answer, while requests are under way, until the peer is asked. */
  missedMs: 1_000,
  /** Questions without an answer, while requests are under way, after which the peer counts as gone. */
  unansweredMax: 4,
  /** Milliseconds a handshake may take. */
  handshakeMs: 10_000,
  /** Bytes of our connection ids. */
  connectionIdBytes: 8,
  /** Connections of one listener. */
  connectionsMax: 8_192,
  /** Connections of one listener from one address: many users can sit behind one. */
  connectionsPerAddressMax: 4_096,
  /** Handshakes in progress at one listener. */
  handshakesMax: 1_024,
  /** Handshakes in progress above which a newcomer must prove its address by a retry token. */
  handshakesBeforeRetry: 64,
  /** Milliseconds a retry token is good for. */
  retryTokenMs: 10_000,
} as const

invariant(quicLimits.keepAliveMs * 3 < quicLimits.idleMs, 'three keep-alives may be lost')
