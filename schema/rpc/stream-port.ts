/**
 * What the request layer needs from a transport with streams; implemented by the QUIC connection.
 *
 * All methods are synchronous and do no I/O of their own: the transport moves bytes to and from the
 * network when its driver takes a turn, which `wake` asks for.
 */

/** `recv`: nothing to read now. */
export const NOTHING = -1
/** `recv`: the peer reset the stream. `send`: the peer wants no more of it. */
export const STOPPED = -2

export interface StreamPort {
  /** The id of a new stream of ours, or {@link NOTHING} while the peer allows no more. */
  open(): number
  /** Serves the stream after all that were not marked so. */
  markBulk(id: number): void
  /**
   * Queues bytes, of which the transport keeps a copy. Returns how many it took, 0 when blocked, or
   * {@link STOPPED}. `fin` ends the direction if all bytes were taken.
   */
  send(id: number, bytes: Uint8Array, fin: boolean): number
  /** Copies received bytes: their number, {@link NOTHING} or {@link STOPPED}; then see `ended`. */
  recv(id: number, into: Uint8Array): number
  /** Whether the last `recv` reached the end of the stream. */
  readonly ended: boolean
  /** Whether the peer asked us to stop sending on the stream. */
  peerStopped(id: number): boolean
  /** Whether the peer's direction is over and read, or broken off by it. */
  peerFinished(id: number): boolean
  /** Asks the peer to stop sending; what it sends still is thrown away. */
  stopReceiving(id: number, code: number): void
  /** Breaks off our direction. */
  reset(id: number, code: number): void
  /** Asks the driver for a turn soon. */
  wake(): void
}
