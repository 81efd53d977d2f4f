/**
 * When to ask a peer whether it is there, and when to believe that it is not. Times in, no I/O.
 *
 * A client asks after a silence, so that both ends and what lies between keep the connection.
 * Anybody can forge a hint that the peer is gone; so the peer is asked first, and only a second hint
 * after that, without a word from it in between, settles the matter.
 */
/** Milliseconds from a hint that the peer is gone to asking it. */
const ASK_AFTER_MS = 20

export class Liveness {
  /** When to ask; Infinity for never. */
  askAtMs = Infinity
  readonly #keepAliveMs: number
  #hinted = false
  #asked = false

  /** `keepAliveMs`: the silence after which to ask; Infinity to leave that to the other side. */
  constructor(keepAliveMs: number) {
    this.#keepAliveMs = keepAliveMs
  }

  heard(nowMs: number): void {
    this.#hinted = false
    this.#asked = false
    this.askAtMs = nowMs + this.#keepAliveMs
  }

  /** Whether to ask now. */
  ask(nowMs: number): boolean {
    if (nowMs < this.askAtMs) return false
    this.#asked = this.#hinted
    this.askAtMs = nowMs + (this.#hinted ? ASK_AFTER_MS : this.#keepAliveMs)
    return true
  }

  /** A hint that the peer is gone. True when it is to be believed. */
  hint(nowMs: number): boolean {
    if (this.#hinted) return this.#asked
    this.#hinted = true
    this.askAtMs = nowMs + ASK_AFTER_MS
    return false
  }
}
