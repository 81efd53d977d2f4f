/**
 * What kind of path a connection has, as far as it changes how to send. Numbers in, no I/O.
 *
 * Long: when quiche's BBR learns of a loss it shrinks its window to what is under way just then. Between
 * the acknowledgement that makes room and the datagrams that use it, that is less than the path carries:
 * after a few acknowledgements in one turn, much less, and each round trip may have a loss. So on a long
 * path the room is used before the next acknowledgement is looked at, in one larger burst. On short
 * ones there is nothing to gain, and others on the same socket get their turn sooner.
 *
 * Lossy: long, and single datagrams get lost now and then. In a round trip with a loss that window does
 * not grow; so losses are repaired on the way (parity.ts). Where much is lost, or round trips take longer
 * than they did, a queue stands on the path, which is full then: repairs would only take from it.
 */
import { quicLimits } from './limits.ts'
import type { PathCounts } from './stats.ts'

/** Smoothed round trip from which a path is long, ms; loopback stays below it under load. */
const LONG_MS = 5
/** Milliseconds between looks: each costs microseconds. */
const LOOK_MS = 20
/** Datagrams that the share of lost ones is judged by. */
const JUDGED_BY = 100
/** Shares lost between which repairs pay. */
const LOSSY_MIN = 0.002
const LOSSY_MAX = 0.1
/** Milliseconds without any loss, repaired ones apart, until a path is not lossy any more. */
const LOSSY_MS = 10_000
/** Round trips in proportion to the shortest from which a queue stands on the path. */
const QUEUED = 1.8
/** Growth of the shortest with each look, for paths that become longer: a fifth in ten seconds. */
const FORGET = 1.0004

export class LongPath {
  long = false
  lossy = false
  readonly #counts: () => PathCounts
  #lookAtMs = 0
  #sent = 0
  #lost = 0
  #lossyUntilMs = 0
  #shortestMs = Infinity

  constructor(counts: () => PathCounts) {
    this.#counts = counts
  }

  /** To be called once a turn. */
  look(nowMs: number): void {
    if (nowMs < this.#lookAtMs) return
    this.#lookAtMs = nowMs + LOOK_MS
    const { rttMs, sent, lost } = this.#counts()
    this.long = rttMs >= LONG_MS
    // Whole milliseconds: 0 is less than one, and would never grow.
    this.#shortestMs = Math.min(Math.max(1, rttMs), this.#shortestMs * FORGET)
    const newlySent = sent - this.#sent
    if (newlySent >= JUDGED_BY) this.#judge((lost - this.#lost) / newlySent, nowMs)
    // Fewer than before: the connection has moved to another path.
    if (newlySent >= JUDGED_BY || newlySent < 0) {
      this.#sent = sent
      this.#lost = lost
    }
    const queued = rttMs >= QUEUED * this.#shortestMs
    this.lossy = this.long && !queued && nowMs < this.#lossyUntilMs
  }

  /** Datagrams of `bytes` that the connection may send before others get their turn. */
  burst(bytes: number): number {
    const { burstDatagrams, burstBytes, longBurstDatagrams, longBurstBytes } = quicLimits
    return this.long
      ? Math.min(longBurstDatagrams, Math.ceil(longBurstBytes / bytes))
      : Math.min(burstDatagrams, Math.ceil(burstBytes / bytes))
  }

  #judge(share: number, nowMs: number): void {
    if (share > LOSSY_MAX) this.#lossyUntilMs = 0
    else if (share >= LOSSY_MIN || (share > 0 && nowMs < this.#lossyUntilMs))
      this.#lossyUntilMs = nowMs + LOSSY_MS
  }
}
