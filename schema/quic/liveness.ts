/**
 * When to ask a peer whether it is there, and when to believe that it is not. Times in, no I/O.
 *
 * A client asks after a silence, so that both ends and what lies between keep the connection. While
 * requests are under way either end asks, and soon: a peer that leaves several questions in a row
 * without an answer is gone, or as good as gone to those who wait for it.
 *
 * Anybody can forge a hint that the peer is gone; so the peer is asked first, and only a second hint
 * after that, without a word from it in between, settles the matter.
 */
import { quicLimits } from './limits.ts'

/** Milliseconds from a hint that the peer is gone to asking it. */
const ASK_AFTER_MS = 20
/** Round trips that an answer may take before the next question. */
const ROUND_TRIPS = 3

/** Why a connection with a peer that is gone ends. */
export const SILENT = 'silent while requests were under way; it may be stopped, or cut off'

export type Question = 'none' | 'ask' | 'gone'

export class Liveness {
  /** When to ask; Infinity for never. */
  askAtMs = Infinity
  readonly #keepAliveMs: number
  readonly #rttMs: () => number
  #busy = false
  /** Since when, in this silence, an answer is missed; Infinity while nobody has wanted any. */
  #missedSinceMs = Infinity
  /** Since when the peer was neither heard nor asked. */
  #silentSinceMs = Infinity
  #unanswered = 0
  #hinted = false
  #asked = false

  /**
   * `keepAliveMs`: the silence after which to ask; Infinity to leave that to the other side.
   * `rttMs` tells the round-trip time.
   */
  constructor(keepAliveMs: number, rttMs: () => number) {
    this.#keepAliveMs = keepAliveMs
    this.#rttMs = rttMs
  }

  heard(nowMs: number): void {
    this.#hinted = false
    this.#asked = false
    this.#unanswered = 0
    this.#startSilence(nowMs)
  }

  /** Whether requests are under way, of either side; told in every turn. */
  busy(busy: boolean, nowMs: number): void {
    if (busy === this.#busy) return
    this.#busy = busy
    if (busy) this.#missedSinceMs = Math.min(this.#missedSinceMs, nowMs)
    if (!this.#hinted || this.#asked) this.#plan()
  }

  /** What to do now. */
  ask(nowMs: number): Question {
    if (nowMs < this.askAtMs) return 'none'
    if (this.#busy && this.#unanswered >= quicLimits.unansweredMax) return 'gone'
    this.#asked = this.#hinted
    if (this.#busy) this.#unanswered++
    this.#startSilence(nowMs)
    if (this.#busy) this.askAtMs = Math.max(this.askAtMs, nowMs + ROUND_TRIPS * this.#rttMs())
    return 'ask'
  }

  /** A hint that the peer is gone. True when it is to be believed. */
  hint(nowMs: number): boolean {
    if (this.#hinted) return this.#asked
    this.#hinted = true
    this.askAtMs = nowMs + ASK_AFTER_MS
    return false
  }

  #startSilence(nowMs: number): void {
    this.#silentSinceMs = nowMs
    this.#missedSinceMs = this.#busy ? nowMs : Infinity
    this.#plan()
  }

  #plan(): void {
    this.askAtMs = this.#silentSinceMs + this.#keepAliveMs
    if (this.#busy) this.askAtMs = Math.min(this.askAtMs, this.#missedSinceMs + quicLimits.missedMs)
  }
}
