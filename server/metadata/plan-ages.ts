/**
 * Tells chunk ids whose plan may still be alive from those whose plan is dead for sure.
 *
 * Why a chunk that no file names can be deleted without a race: a commit names a chunk only with an
 * unexpired write ticket, which was issued with the id and is never renewed. Ids are given out in
 * order. So with a mark (time, next id) set at time t, every id below that mark has had its ticket
 * before t, and from t + ticket life on no commit can name it any more, by the one clock that also
 * judges the tickets; chunkservers' clocks play no part. A restart forgets the marks and sets one at
 * its start, which only delays deletion.
 *
 * After a restore the argument does not hold for the chunks of the time that was lost: files named
 * them, and a newer backup may bring those back. Ids below `keepBelow` count as living until the
 * operator lets go of them; ids given out since the restore are above.
 */
import { TICKET_LIFE_MS } from './ticket-keys.ts'

/** Milliseconds between marks. */
const MARK_MS = 60_000

interface Mark {
  readonly atMs: number
  readonly nextChunk: number
}

export class PlanAges {
  #marks: Mark[] = []
  #deadBelow = 0
  #keepBelow: number

  /** `keepBelow`: first id that was not given out before the last restore; 0 without one. */
  constructor(keepBelow = 0) {
    this.#keepBelow = keepBelow
  }

  /** Nothing is kept for a newer backup any more; whether anything was. */
  letGo(): boolean {
    const kept = this.#keepBelow > 0
    this.#keepBelow = 0
    return kept
  }

  /** To be called before ids are given out and before {@link dead} is asked. */
  observe(nowMs: number, nextChunk: number): void {
    const last = this.#marks.at(-1)
    if (last === undefined || nowMs - last.atMs >= MARK_MS) {
      this.#marks.push({ atMs: nowMs, nextChunk })
    }
    let dead = 0
    for (const mark of this.#marks) {
      if (nowMs - mark.atMs <= TICKET_LIFE_MS) break
      this.#deadBelow = mark.nextChunk
      dead++
    }
    if (dead > 0) this.#marks = this.#marks.slice(dead)
  }

  /** Whether no commit can name this chunk for the first time any more. */
  dead(chunk: number): boolean {
    return chunk < this.#deadBelow && chunk >= this.#keepBelow
  }
}
