/**
 * What heartbeats report in portions, pass after pass: chunks that nobody has confirmed, and damaged
 * copies. A portion is offered again until a heartbeat that carried it was answered.
 */
import { bounds } from './bounds.ts'
import type { ChunkStore } from './chunk-store.ts'

/**
 * Chunks older than a plan. A commit that would still name one of them is refused by the metadata
 * server, because its plan has expired; so what it does not know by now it never will.
 */
export class UnconfirmedReport {
  readonly #store: ChunkStore
  #after: Buffer | undefined
  #offered: Buffer | undefined
  #restUntilMs = 0

  constructor(store: ChunkStore) {
    this.#store = store
  }

  /** The next portion. */
  async portion(nowMs: number): Promise<number[]> {
    if (nowMs < this.#restUntilMs) return []
    const limit = bounds.heartbeatUnconfirmedMax
    const beforeMs = nowMs - bounds.planLifeMs - bounds.planMarginMs
    const { chunks, last } = await this.#store.unconfirmed({ beforeMs, limit, after: this.#after })
    this.#offered = last
    if (last === undefined) {
      this.#restUntilMs = nowMs + bounds.reportPauseMs
      this.#after = undefined
    }
    return chunks
  }

  /** The portion arrived. */
  answered(): void {
    if (this.#offered !== undefined) this.#after = this.#offered
    this.#offered = undefined
  }
}

/** Damaged copies, until they are deleted; new ones at once. */
export class DamagedReport {
  readonly #store: ChunkStore
  #after = 0
  #offered: number | undefined
  #restUntilMs = 0
  #foundBefore = 0

  constructor(store: ChunkStore) {
    this.#store = store
  }

  /** The next portion. */
  async portion(nowMs: number): Promise<number[]> {
    const found = this.#store.damageFound
    if (nowMs < this.#restUntilMs && found === this.#foundBefore) return []
    const chunks = await this.#store.damaged(this.#after, bounds.heartbeatDamagedMax)
    this.#offered = chunks.at(-1)
    if (this.#offered === undefined) {
      this.#after = 0
      this.#foundBefore = found
      this.#restUntilMs = nowMs + bounds.reportPauseMs
    }
    return chunks
  }

  /** The portion arrived. */
  answered(): void {
    if (this.#offered !== undefined) this.#after = this.#offered
    this.#offered = undefined
  }
}
