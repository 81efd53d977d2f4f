/**
 * Which inodes are held open, by session. In memory only: clients tell again after a restart, and
 * until all sessions of the process before us are back or over, any inode may be held.
 *
 * An inode without a name (an orphan) is kept for as long as somebody may hold it; `onFree` hears of
 * an orphan when its last hold goes.
 */
import { DfsError } from '../../schema/wire/status.ts'

/** Different inodes that one session may hold. */
export const HELD_INODES_MAX = 131_072

export class Holds {
  /** Holds by session and inode. */
  readonly #bySession = new Map<number, Map<number, number>>()
  /** Sessions that hold an inode. */
  readonly #holders = new Map<number, number>()
  readonly #orphans = new Set<number>()
  /** Sessions that have not said yet what they hold. */
  readonly #expected = new Set<number>()
  readonly #onFree: (inode: number) => void

  constructor(onFree: (inode: number) => void) {
    this.#onFree = onFree
  }

  mayBeHeld(inode: number): boolean {
    return this.#expected.size > 0 || this.#holders.has(inode)
  }

  /** A session from before the restart, which is going to {@link replace} its holds or to be dropped. */
  expect(session: number): void {
    this.#expected.add(session)
  }

  /** Throws `tooManyRequests` when the session may hold no more; call before {@link add}. */
  checkRoom(session: number): void {
    const held = this.#bySession.get(session)
    if (held !== undefined && held.size >= HELD_INODES_MAX) {
      throw new DfsError(
        'tooManyRequests',
        `this mount holds ${HELD_INODES_MAX} files open; close some`,
      )
    }
  }

  /** Counts one more hold. */
  add(session: number, inode: number): void {
    let held = this.#bySession.get(session)
    if (held === undefined) this.#bySession.set(session, (held = new Map<number, number>()))
    const count = held.get(inode) ?? 0
    held.set(inode, count + 1)
    if (count === 0) this.#holders.set(inode, (this.#holders.get(inode) ?? 0) + 1)
  }

  /** Undoes one hold; one that is not there is ignored. */
  release(session: number, inode: number): void {
    const held = this.#bySession.get(session)
    const count = held?.get(inode)
    if (held === undefined || count === undefined) return
    if (count > 1) {
      held.set(inode, count - 1)
      return
    }
    held.delete(inode)
    this.#leave(inode)
  }

  /** Replaces all holds of a session by one for each time that an inode is listed. */
  replace(session: number, inodes: readonly number[]): void {
    this.#expected.delete(session)
    const before = this.#bySession.get(session)
    this.#bySession.delete(session)
    for (const inode of inodes) this.add(session, inode)
    if (before !== undefined) for (const inode of before.keys()) this.#leave(inode)
  }

  /** Ends all holds of a session. */
  drop(session: number): void {
    this.replace(session, [])
  }

  /** An inode lost its last name while it was held, or is found so at start. */
  orphaned(inode: number): void {
    this.#orphans.add(inode)
  }

  /** An orphan is gone. */
  gone(inode: number): void {
    this.#orphans.delete(inode)
  }

  /** Orphans that nobody holds. */
  free(): number[] {
    if (this.#expected.size > 0) return []
    return [...this.#orphans].filter((inode) => !this.#holders.has(inode))
  }

  #leave(inode: number): void {
    const holders = (this.#holders.get(inode) ?? 0) - 1
    if (holders > 0) {
      this.#holders.set(inode, holders)
      return
    }
    this.#holders.delete(inode)
    if (this.#orphans.has(inode) && this.#expected.size === 0) this.#onFree(inode)
  }
}
