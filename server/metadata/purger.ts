/**
 * Takes apart, in the background, what no name leads to any more: orphans that nobody holds, and the
 * windows and chunks of content that was deleted or replaced.
 *
 * What is to be done stands in the store (keys `o` and `p`), so a kill at any moment costs nothing:
 * each step is a transaction that leaves the mark until all is gone. Steps are bounded, however
 * large the file is.
 *
 * The next contents are in memory as well, and with how many windows: those of a file that is not huge are
 * read by their keys. A scan would walk over all that was deleted behind them, as the engine's
 * binding gives it no end. The store is looked through at the start and when memory had no room.
 */
import type { Log } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { BackgroundTurns } from './background-turns.ts'
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
/** Records changed for a window: itself, its content's mark, its chunk, and two for each replica. */
const RECORDS_PER_WINDOW = 9
/** Marks read at once. */
const PAGE = 256
/** Contents in memory: some 40 bytes each. */
const KNOWN_MAX = 65_536

/** Content to purge: its id, and how many windows it has at most, 0 when that is not known. */
type Content = readonly [id: number, windows: number]

export class Purger {
  readonly #database: Database
  readonly #background: BackgroundTurns
  readonly #log: Log
  #holds: Holds | undefined
  readonly #reaping = new Set<Promise<void>>()
  /** By content: its windows at most. */
  readonly #known = new Map<number, number>()
  /** The store may have marks that are not known. */
  #unknown = true
  #work: Promise<void> | undefined
  #again = false
  #stopped = false

  constructor(database: Database, background: BackgroundTurns, log: Log) {
    this.#database = database
    this.#background = background
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
    this.#wake()
  }

  /** There is content to purge, with so many windows at most. */
  add(content: number, windows: number): void {
    if (this.#known.size < KNOWN_MAX) this.#known.set(content, windows)
    else this.#unknown = true
    this.#wake()
  }

  #wake(): void {
    this.#again = true
    this.#work ??= this.#run().finally(() => {
      this.#work = undefined
      if (this.#again && !this.#stopped) this.#wake()
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
      await this.#purgeKnown()
      if (!this.#unknown || this.#stopped) return
      this.#unknown = false
      // Who was not taken into memory may not be on disk yet.
      await this.#database.settle()
      await this.#purgeStored()
    })
  }

  async #purgeKnown(): Promise<void> {
    while (this.#known.size > 0 && !this.#stopped) {
      const contents: Content[] = []
      for (const content of this.#known) {
        contents.push(content)
        this.#known.delete(content[0])
        if (contents.length === STEPS_AT_ONCE * CONTENTS_PER_STEP) break
      }
      await this.#purgeAll(contents)
    }
  }

  async #purgeStored(): Promise<void> {
    let after: Buffer | undefined
    for (;;) {
      const page = await this.#database.durablePage(ranges.purges, PAGE, after)
      const windows = new Map(
        page.entries.map(({ key, value }) => [parts.id(key), tables.purges.decode(value)]),
      )
      const contents = keysOf(page).map((key): Content => {
        const id = parts.id(key)
        this.#known.delete(id)
        return [id, windows.get(id) ?? 0]
      })
      await this.#purgeAll(contents)
      after = page.last
      if (after === undefined || !page.more || this.#stopped) return
      await this.#purgeKnown()
    }
  }

  async #purgeAll(contents: readonly Content[]): Promise<void> {
    const steps = inSteps(contents.filter(isSmall))
    const large = contents.filter((content) => !isSmall(content))
    const worker = async (): Promise<void> => {
      for (;;) {
        const step = steps.pop()
        if (this.#stopped) return
        if (step !== undefined) await this.#purge(step, (some) => this.#purgeSmall(some))
        else if (large.length > 0) {
          const some = large.splice(0, CONTENTS_PER_STEP)
          await this.#purge(some, (those) => this.#purgeLarge(those))
        } else return
      }
    }
    await Promise.all(Array.from({ length: STEPS_AT_ONCE }, worker))
  }

  /** Takes contents apart together; when one is damaged, each by itself, so that it keeps no others. */
  async #purge(
    contents: readonly Content[],
    work: (some: readonly Content[]) => Promise<void>,
  ): Promise<void> {
    try {
      await work(contents)
    } catch (error) {
      if (!(error instanceof DfsError)) throw error
      for (const content of contents) {
        await this.#attempt(`purge content ${content[0]}`, () => work([content]))
      }
    }
  }

  /** Takes contents apart whose windows are few enough to ask for each. */
  async #purgeSmall(contents: readonly Content[]): Promise<void> {
    const names: Buffer[] = []
    for (const [content, windows] of contents) {
      for (let index = 0; index < windows; index++) names.push(keys.window(content, index))
    }
    await this.#background.next(names.length * RECORDS_PER_WINDOW)
    await this.#database.write({}, async (txn) => {
      const windows = await txn.getAll(tables.scannedWindows, names)
      const chunks: number[] = []
      for (const [i, key] of names.entries()) {
        const window = windows[i]
        if (window === undefined) continue
        chunks.push(...new Set(window.extents.map(({ chunk }) => chunk)))
        txn.delete(tables.windows, key)
      }
      for (const [content] of contents) txn.delete(tables.purges, keys.purge(content))
      await releaseChunks(txn, chunks)
    })
  }

  async #purgeLarge(contents: readonly Content[]): Promise<void> {
    await this.#database.settle()
    let left = contents.map(([id]) => id)
    while (left.length > 0 && !this.#stopped) left = await this.#step(left)
  }

  /** Takes some windows apart; returns the contents that have more. */
  async #step(contents: readonly number[]): Promise<number[]> {
    await this.#background.next(WINDOWS_PER_STEP * RECORDS_PER_WINDOW)
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
        if (whole) txn.delete(tables.purges, keys.purge(content))
        else left.push(content)
      }
      await releaseChunks(txn, chunks)
      return left
    })
  }

  /** Background work that fails is logged and tried again with the next; it is never lost. */
  async #attempt(what: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (!(error instanceof DfsError)) throw error
      this.#unknown = true
      this.#log.error(
        { code: error.code, err: error.message },
        `could not ${what}; it stays queued`,
      )
    }
  }
}

const isSmall = ([, windows]: Content): boolean => windows > 0 && windows <= WINDOWS_PER_STEP

/** Contents in groups with few enough windows for one transaction each. */
function inSteps(contents: readonly Content[]): Content[][] {
  const steps: Content[][] = []
  let room = 0
  for (const content of contents) {
    if (content[1] > room || steps.at(-1)?.length === CONTENTS_PER_STEP) {
      steps.push([])
      room = WINDOWS_PER_STEP
    }
    steps.at(-1)?.push(content)
    room -= content[1]
  }
  return steps
}
