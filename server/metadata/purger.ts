/**
 * Takes apart, in the background, what no name leads to any more: orphans that nobody holds, and the
 * windows and chunks of content that was deleted or replaced.
 *
 * What is to be done stands in the store (keys `o` and `p`), so a kill at any moment costs nothing:
 * each step is a transaction that leaves the mark until all is gone. Steps are bounded, however
 * large the file is.
 */
import type { Log } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { releaseChunks } from './chunk-references.ts'
import type { Holds } from './holds.ts'
import { removeInode } from './inode-removal.ts'
import type { Database } from './store/database.ts'
import { keys, parts, ranges } from './store/keys.ts'
import { keysOf } from './store/page.ts'
import { tables } from './store/tables.ts'

/** Windows taken apart in one transaction: some milliseconds at most. */
const WINDOWS_PER_STEP = 32
/** Contents looked at in one transaction: most have one window. */
const CONTENTS_PER_STEP = 32
/** Transactions under way, which one sync takes together. */
const STEPS_AT_ONCE = 8
/** Marks read at once. */
const PAGE = 256

export class Purger {
  readonly #database: Database
  readonly #log: Log
  #holds: Holds | undefined
  readonly #reaping = new Set<Promise<void>>()
  #work: Promise<void> | undefined
  #again = false
  #stopped = false

  constructor(database: Database, log: Log) {
    this.#database = database
    this.#log = log
  }

  /** Starts with what an earlier process left; orphans stay until `reap` is called for them. */
  async start(holds: Holds): Promise<void> {
    this.#holds = holds
    let after: Buffer | undefined
    for (;;) {
      const page = await this.#database.durablePage(ranges.orphans, PAGE, after)
      for (const key of keysOf(page)) holds.orphaned(parts.id(key))
      after = page.last
      if (after === undefined || !page.more) break
    }
    this.wake()
  }

  /** There is something to purge. */
  wake(): void {
    this.#again = true
    this.#work ??= this.#run().finally(() => {
      this.#work = undefined
      if (this.#again && !this.#stopped) this.wake()
    })
  }

  /** Removes an orphan unless somebody holds it by now. */
  async reap(inode: number): Promise<void> {
    const holds = this.#holds
    if (holds === undefined || this.#stopped) return
    const reaping = this.#reap(inode, holds)
    this.#reaping.add(reaping)
    try {
      await reaping
    } finally {
      this.#reaping.delete(reaping)
    }
  }

  async #reap(inode: number, holds: Holds): Promise<void> {
    await this.#attempt(`remove orphaned inode ${inode}`, () =>
      this.#database.write({ queues: [inode] }, async (txn) => {
        if (holds.mayBeHeld(inode)) return
        txn.guard(() => !holds.mayBeHeld(inode))
        const record = await txn.get(tables.inodes, keys.inode(inode))
        if (record !== undefined) removeInode(txn, record, this)
        txn.delete(tables.marks, keys.orphan(inode))
        txn.afterDecision(() => holds.gone(inode))
      }),
    )
  }

  /** Waits for what is under way. */
  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all([this.#work, ...this.#reaping])
  }

  async #run(): Promise<void> {
    if (this.#stopped) return
    this.#again = false
    await this.#attempt('look for deleted content', async () => {
      // Whoever woke us has only just been decided.
      await this.#database.settle()
      let after: Buffer | undefined
      for (;;) {
        const page = await this.#database.durablePage(ranges.purges, PAGE, after)
        await this.#purgeAll(keysOf(page).map((key) => parts.id(key)))
        after = page.last
        if (after === undefined || this.#stopped) return
      }
    })
  }

  async #purgeAll(contents: number[]): Promise<void> {
    const worker = async (): Promise<void> => {
      while (contents.length > 0) await this.#purge(contents.splice(0, CONTENTS_PER_STEP))
    }
    await Promise.all(Array.from({ length: STEPS_AT_ONCE }, worker))
  }

  async #purge(contents: readonly number[]): Promise<void> {
    try {
      await this.#purgeTogether(contents)
    } catch (error) {
      if (!(error instanceof DfsError)) throw error
      // One that is damaged must not keep the others.
      for (const content of contents) {
        await this.#attempt(`purge content ${content}`, () => this.#purgeTogether([content]))
      }
    }
  }

  async #purgeTogether(contents: readonly number[]): Promise<void> {
    for (let left = contents; left.length > 0 && !this.#stopped;) left = await this.#step(left)
  }

  /** Takes some windows apart; returns the contents that have more. */
  #step(contents: readonly number[]): Promise<number[]> {
    return this.#database.write({}, async (txn) => {
      const found = await Promise.all(
        contents.map((content) => txn.durableRange(ranges.windows(content), WINDOWS_PER_STEP)),
      )
      const left: number[] = []
      const chunks: number[] = []
      let room = WINDOWS_PER_STEP
      for (const [i, content] of contents.entries()) {
        const windows = (found[i] ?? []).slice(0, room)
        room -= windows.length
        for (const { key, value } of windows) {
          chunks.push(...new Set(tables.windows.decode(value).extents.map(({ chunk }) => chunk)))
          txn.delete(tables.windows, key)
        }
        const whole = windows.length === found[i]?.length && windows.length < WINDOWS_PER_STEP
        if (whole) txn.delete(tables.marks, keys.purge(content))
        else left.push(content)
      }
      await releaseChunks(txn, chunks)
      return left
    })
  }

  /** Background work that fails is logged and left for the next start; it is never lost. */
  async #attempt(what: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (!(error instanceof DfsError)) throw error
      this.#log.error(
        { code: error.code, err: error.message },
        `could not ${what}; it stays queued`,
      )
    }
  }
}
