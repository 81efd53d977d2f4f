/**
 * One timer that may only be moved forward in time: setting it anew each turn would cost more than
 * the idle wake-up when it fires before it had to.
 */

/** A timer is not set anew to gain less than this, ms. */
const SLACK_MS = 1

export class WakeTimer {
  /** When the timer fires; Infinity while it is not set. */
  atMs = Infinity
  readonly #fire: () => void
  #timer: NodeJS.Timeout | undefined

  constructor(wake: () => void) {
    this.#fire = () => {
      this.atMs = Infinity
      wake()
    }
  }

  /** Wakes at `dueMs` at the latest; Infinity asks for nothing. */
  plan(dueMs: number, nowMs: number): void {
    if (dueMs >= this.atMs - SLACK_MS || dueMs === Infinity) return
    clearTimeout(this.#timer)
    this.atMs = dueMs
    this.#timer = setTimeout(this.#fire, Math.max(1, Math.ceil(dueMs - nowMs)))
    // The socket keeps the process alive while it is open.
    this.#timer.unref()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.atMs = Infinity
  }
}
