/**
 * Attempts at a change of an inode that others keep overtaking. Bounded by time, not by number: of two
 * mounts that change one file without a pause, the slower may lose dozens of times in a row.
 */
import { setTimeout as pause } from 'node:timers/promises'

/** How long an attempt follows another, ms. */
const TRYING_MS_MAX = 20_000
/** Longest pause before an attempt, ms; random, so that two who disturb each other do not stay in step. */
const PAUSE_MS_MAX = 16

export class Conflicts {
  readonly #now: () => number
  #sinceMs: number | undefined
  #count = 0

  constructor(now = (): number => performance.now()) {
    this.#now = now
  }

  /** To be awaited after an attempt that came too late: whether to make another. */
  async again(): Promise<boolean> {
    const nowMs = this.#now()
    this.#sinceMs ??= nowMs
    if (nowMs - this.#sinceMs > TRYING_MS_MAX) return false
    const longestMs = Math.min(PAUSE_MS_MAX, this.#count++)
    if (longestMs > 0) await pause(Math.random() * longestMs)
    return true
  }
}
