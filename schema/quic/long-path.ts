/**
 * Whether a connection's path is long, so that it pays to keep it full at every moment.
 *
 * When quiche's BBR learns of a loss it shrinks its window to what is under way just then. Between the
 * acknowledgement that makes room and the datagrams that use it, that is less than the path carries:
 * after a few acknowledgements in one turn, much less, and each round trip may have a loss. So on a long
 * path the room is used before the next acknowledgement is looked at, in one larger burst. On short
 * ones there is nothing to gain, and others on the same socket get their turn sooner.
 */
import { quicLimits } from './limits.ts'

/** Smoothed round trip from which a path is long, ms; loopback stays below it under load. */
const LONG_MS = 5
/** Milliseconds between looks: each costs microseconds. */
const LOOK_MS = 50

export class LongPath {
  long = false
  readonly #rttMs: () => number
  #lookAtMs = 0

  constructor(rttMs: () => number) {
    this.#rttMs = rttMs
  }

  /** To be called once a turn. */
  look(nowMs: number): void {
    if (nowMs < this.#lookAtMs) return
    this.#lookAtMs = nowMs + LOOK_MS
    this.long = this.#rttMs() >= LONG_MS
  }

  /** Datagrams of `bytes` that the connection may send before others get their turn. */
  burst(bytes: number): number {
    const { burstDatagrams, burstBytes, longBurstDatagrams, longBurstBytes } = quicLimits
    return this.long
      ? Math.min(longBurstDatagrams, Math.ceil(longBurstBytes / bytes))
      : Math.min(burstDatagrams, Math.ceil(burstBytes / bytes))
  }
}
