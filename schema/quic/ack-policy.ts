/**
 * How long an acknowledgement may wait: for more datagrams to cover, or for something to go with.
 *
 * Bulk arrives in runs. While datagrams keep coming and nothing else is to be sent, one
 * acknowledgement covers several turns. Measured at 1350 B: 29 datagrams per acknowledgement instead
 * of 11.
 *
 * A few datagrams are a request or a response. What answers them follows soon and takes the
 * acknowledgement with it, so that a request costs two datagrams and two wake-ups instead of four.
 */

/** Turns that an acknowledgement waits for more at most, and datagrams it covers then. */
const TURNS_MAX = 3
const DATAGRAMS_MAX = 64
/**
 * Datagrams that may wait for something to go with: fewer than any sender's window, which with BBR on
 * a fast path is four large ones.
 */
const FEW_DATAGRAMS = 2
/** How long they wait, ms: a fifth of what the peer allows for before it sends anything again. */
export const ACK_DELAY_MS = 5

export class AckPolicy {
  #received = 0
  #receivedBefore = 0
  #turns = 0
  #dueMs = Infinity

  /** When an acknowledgement that waits for something to go with has waited long enough. */
  get dueMs(): number {
    return this.#dueMs
  }

  received(): void {
    this.#received++
  }

  sent(): void {
    this.#received = 0
    this.#receivedBefore = 0
    this.#turns = 0
    this.#dueMs = Infinity
  }

  /** Whether this turn may pass without sending; asked once a turn. */
  mayWait(): boolean {
    if (this.#received === this.#receivedBefore || this.#received > DATAGRAMS_MAX) return false
    if (this.#turns >= TURNS_MAX) return false
    this.#receivedBefore = this.#received
    this.#turns++
    return true
  }

  /** Whether turns may pass without sending until {@link dueMs}. */
  mayDelay(nowMs: number): boolean {
    if (this.#received === 0 || this.#received > FEW_DATAGRAMS) return false
    if (this.#dueMs === Infinity) this.#dueMs = nowMs + ACK_DELAY_MS
    return nowMs < this.#dueMs
  }
}
