/**
 * Works off the queue of chunks that lack replicas, fewest replicas first: pass after pass over the
 * store, with a window of chunks in memory and a bounded number of copies on each server.
 *
 * What cannot be done just now (no living source, no server to put it, a failure a moment ago) is
 * passed over and met again in the next pass, so it holds nothing up. When a pass could do nothing the
 * next one waits longer; whatever changes the servers or the queue wakes it.
 */
import { LRUCache } from 'lru-cache'
import { DfsError } from '../../../schema/wire/status.ts'
import type { PlacedChunkRecord } from '../../../schema/generated/records.ts'
import type { Random } from '../placement.ts'
import { keys, parts, ranges } from '../store/keys.ts'
import { keysOf } from '../store/page.ts'
import { tables } from '../store/tables.ts'
import { FailedCopies } from './failed-copies.ts'
import { makeReplica, type CopyOutcome, type CopyParts } from './copy.ts'
import { replicasOf } from './chunk-repair.ts'
import { lookAt, LOOKED_AT_MAX } from './look.ts'
import { Streams } from './streams.ts'
import { chooseCopy, judge, type CopyChoice, type Target } from './verdict.ts'

/** Chunks read from the queue at once, and how few may be left in the window before. */
const PAGE = 256
const WINDOW_MIN = 64
/** Milliseconds between two passes, from the first to the last when nothing can be done. */
const PAUSE_MIN_MS = 1_000
const PAUSE_MAX_MS = 60_000
/** Milliseconds before a chunk is tried again after a failure; twice as long with each further one. */
const RETRY_MIN_MS = 2_000
const RETRY_MAX_MS = 300_000
/** Failures remembered; of more, the oldest are tried again early. */
const FAILURES_MAX = 10_000

interface Failure {
  readonly count: number
  readonly untilMs: number
  readonly avoid: ReadonlySet<number>
}

interface Waiting {
  readonly chunk: number
  readonly record: PlacedChunkRecord
}

export interface CopyQueueParts extends CopyParts {
  readonly random: Random
  /** A source could not give what it should have. */
  readonly onBadSource: (server: number, chunk: number) => void
}

export class CopyQueue {
  readonly #parts: CopyQueueParts
  readonly #streams = new Streams()
  readonly #copying = new Map<number, Promise<void>>()
  readonly #failed: FailedCopies
  readonly #failures = new LRUCache<number, Failure>({ max: FAILURES_MAX })
  readonly done = { copied: 0, copiedBytes: 0, failed: 0 }
  #work: Promise<void> | undefined
  #wake: () => void = () => undefined
  #restart = false
  #pauseMs = PAUSE_MIN_MS
  #stopped = false

  constructor(queueParts: CopyQueueParts) {
    this.#parts = queueParts
    this.#failed = new FailedCopies(queueParts.clock, queueParts.log)
  }

  /** Copies under way. */
  get copying(): number {
    return this.#copying.size
  }

  start(): void {
    this.#work = this.#run()
  }

  /** There is something new to do, or a new server to do it with. */
  wake(): void {
    this.#restart = true
    this.#pauseMs = PAUSE_MIN_MS
    this.#wake()
  }

  /** Waits for copies under way, which end with the connections of their servers. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#wake()
    await Promise.all([this.#work, ...this.#copying.values()])
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      this.#restart = false
      const begun = await this.#attempt()
      this.#failed.tell()
      if (begun > 0) this.#pauseMs = PAUSE_MIN_MS
      if (!this.#woken) await this.#rest(this.#pauseMs)
      this.#pauseMs = Math.min(2 * this.#pauseMs, PAUSE_MAX_MS)
    }
  }

  get #woken(): boolean {
    return this.#restart
  }

  async #attempt(): Promise<number> {
    // The standby is away: no new replica could be written down.
    if (this.#parts.database.log.writeRefusal() !== undefined) return 0
    try {
      return await this.#pass()
    } catch (error) {
      if (!(error instanceof DfsError)) throw error
      const { code, message } = error
      this.#parts.log.warn({ code, err: message }, 'could not go through the queue for repair')
      return 0
    }
  }

  /** Goes through the queue once, or until it is woken; returns how many copies it began. */
  async #pass(): Promise<number> {
    let window: Waiting[] = []
    let after: Buffer | undefined
    let more = true
    let begun = 0
    while (!this.#stopped && !this.#restart && (more || window.length > 0)) {
      if (more && window.length < WINDOW_MIN) {
        const page = await this.#parts.database.durablePage(ranges.repairs, PAGE, after)
        after = page.last
        more = page.more
        window.push(...(await this.#read(keysOf(page).map((key) => parts.repairsChunk(key)))))
      }
      const swept = await this.#sweep(window)
      window = swept.left
      begun += swept.begun
      // Those left wait for a server to be done with something.
      if (window.length >= WINDOW_MIN || (window.length > 0 && !more)) {
        await this.#rest(PAUSE_MIN_MS)
      }
    }
    return begun
  }

  async #read(chunks: readonly number[]): Promise<Waiting[]> {
    const nowMs = this.#parts.clock.nowMs()
    const due = chunks.filter(
      (chunk) => !this.#copying.has(chunk) && (this.#failures.get(chunk)?.untilMs ?? 0) <= nowMs,
    )
    if (due.length === 0) return []
    const records = await readRecords(due, this.#parts)
    const waiting: Waiting[] = []
    for (const [i, chunk] of due.entries()) {
      const record = records[i]
      if (record !== undefined && record.repair > 0) waiting.push({ chunk, record })
    }
    return waiting
  }

  /** Begins what can be begun; what is left waits for a server that is busy. */
  async #sweep(window: readonly Waiting[]): Promise<{ left: Waiting[]; begun: number }> {
    const left: Waiting[] = []
    const changed: number[] = []
    let begun = 0
    const targets = this.#targets()
    for (const waiting of window) {
      const choice = this.#choose(waiting, targets)
      if (choice === 'busy') left.push(waiting)
      else if (choice === 'changed') changed.push(waiting.chunk)
      else if (choice !== undefined) {
        this.#begin(waiting.chunk, choice)
        begun++
      }
    }
    if (changed.length > 0) await lookAt(changed.slice(0, LOOKED_AT_MAX), this.#parts)
    return { left, begun }
  }

  #choose(
    { chunk, record }: Waiting,
    targets: readonly Target[],
  ): CopyChoice | 'busy' | 'changed' | undefined {
    const { view, random } = this.#parts
    if (this.#copying.has(chunk)) return undefined
    const replicas = replicasOf(record, view)
    // A server came back, or the record was read before another change: its place is elsewhere.
    if (!judge(replicas, view.wanted).wanting) return 'changed'
    const question = {
      replicas,
      targets,
      given: (server: number) => this.#streams.given(server),
      givenMax: Streams.givenMax,
    }
    const avoid = this.#failures.get(chunk)?.avoid ?? NONE
    const choice = chooseCopy({ ...question, avoid }, random)
    // Who failed may be well by now, and is better than nobody.
    return choice === undefined && avoid.size > 0
      ? chooseCopy({ ...question, avoid: NONE }, random)
      : choice
  }

  /** Whether one is busy is asked each time: a sweep makes them so. */
  #targets(): Target[] {
    const { topology } = this.#parts.view
    const streams = this.#streams
    const targets: Target[] = []
    for (const state of topology.all()) {
      const { id, rack, draining } = state.record
      if (!topology.alive(state) || state.full || draining) continue
      const { freeBytes, load } = state
      targets.push({
        id,
        rack,
        freeBytes,
        load,
        get busy() {
          return !streams.mayTake(id)
        },
      })
    }
    return targets
  }

  #begin(chunk: number, choice: CopyChoice): void {
    const release = this.#streams.begin(choice.source, choice.target)
    const copy = makeReplica(chunk, choice, this.#parts)
      .then((outcome) => this.#ended(chunk, choice, outcome))
      .finally(() => {
        release()
        this.#copying.delete(chunk)
        this.#wake()
      })
    this.#copying.set(chunk, copy)
  }

  #ended(chunk: number, choice: CopyChoice, outcome: CopyOutcome): void {
    if (outcome.end === 'void') return
    if (outcome.end === 'made') {
      this.#failures.delete(chunk)
      this.done.copied++
      this.done.copiedBytes += outcome.bytes
      this.#parts.log.info({ chunk, ...choice, bytes: outcome.bytes }, 'made a new replica')
      return
    }
    this.done.failed++
    const server = choice[outcome.end]
    this.#tryLater(chunk, server)
    this.#failed.add({ chunk, server, error: outcome.error })
    if (outcome.end === 'source' && BAD_SOURCE.has(outcome.error.code)) {
      this.#parts.onBadSource(server, chunk)
    }
  }

  #tryLater(chunk: number, server: number): void {
    const before = this.#failures.get(chunk)
    const count = (before?.count ?? 0) + 1
    const waitMs = Math.min(RETRY_MIN_MS * 2 ** (count - 1), RETRY_MAX_MS)
    const avoid = new Set([...(before?.avoid ?? NONE), server])
    this.#failures.set(chunk, { count, untilMs: this.#parts.clock.nowMs() + waitMs, avoid })
  }

  /** Waits `ms`, or until something changes. */
  #rest(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer)
        this.#wake = () => undefined
        resolve()
      }
      const timer = setTimeout(end, ms)
      timer.unref()
      this.#wake = end
      if (this.#stopped) end()
    })
  }
}

/** The records of chunks; a damaged one is left out, so that it does not hold up the others. */
function readRecords(
  chunks: readonly number[],
  { database }: CopyQueueParts,
): Promise<(PlacedChunkRecord | undefined)[]> {
  const names = chunks.map((chunk) => keys.chunk(chunk))
  return database.read((txn) => txn.peekAll(tables.scannedChunks, names, () => undefined))
}

const BAD_SOURCE: ReadonlySet<string> = new Set(['chunkCorrupt', 'chunkMissing', 'chunkTruncated'])
const NONE: ReadonlySet<number> = new Set()
