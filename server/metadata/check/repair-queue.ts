/**
 * The queue for repair beside the records of chunks, which say where in it they stand: rows are walked
 * level by level, all levels at once, in the order of chunks.
 */
import type { PlacedChunkRecord } from '../../../schema/generated/records.ts'
import { prefixEnd, type OrderedStore } from '../../store/ordered-store.ts'
import { counterNames } from '../store/counters.ts'
import { keys, parts } from '../store/keys.ts'
import { layout } from '../store/layout.ts'
import { tables } from '../store/tables.ts'
import type { Context } from './context.ts'
import type { Cursor } from './cursor.ts'

/** Replicas left are one byte of a key. */
const LEVELS = 256

export class RepairQueueCheck {
  readonly #context: Context
  /** By how many replicas are left; levels without rows are left out. */
  readonly #levels: ReadonlyMap<number, Cursor<true>>
  /** Whether a chunk's record is damaged: what its row says is believed then. */
  readonly #believed: (chunk: number) => boolean

  private constructor(
    context: Context,
    levels: ReadonlyMap<number, Cursor<true>>,
    believed: (chunk: number) => boolean,
  ) {
    this.#context = context
    this.#levels = levels
    this.#believed = believed
  }

  static async open(
    context: Context,
    believed: (chunk: number) => boolean,
  ): Promise<RepairQueueCheck> {
    const levels = new Map<number, Cursor<true>>()
    for (let level = 0; level < LEVELS; level++) {
      const from = Buffer.from([...Buffer.from(layout.repairs.letter), level])
      const range = { from, to: prefixEnd(from) }
      if (!(await hasAny(context.store, range))) continue
      levels.set(level, await context.walk(layout.repairs, { range, mend: () => true }))
    }
    return new RepairQueueCheck(context, levels, believed)
  }

  /** A chunk, in their order: whether it stands where its record says, and nowhere else. */
  async check(chunk: number, { repair }: PlacedChunkRecord): Promise<void> {
    const { counters, findings } = this.#context
    for (const [level, rows] of this.#levels) await this.#passTo(rows, level, chunk, repair)
    if (repair === 0) return
    const level = repair - 1
    counters.add(counterNames.repairs(level))
    const rows = this.#levels.get(level)
    if (rows !== undefined && chunkAt(rows) === chunk) {
      await rows.advance()
      return
    }
    await findings.add(
      'index',
      `the queue for repair lacks chunk ${chunk} with ${level} replicas`,
      {
        always: true,
        changes: () => [{ key: keys.repair(level, chunk), value: tables.marks.encode(true) }],
      },
    )
  }

  /** The rest of all levels. */
  async finish(): Promise<void> {
    for (const [level, rows] of this.#levels) {
      await this.#passTo(rows, level, Number.MAX_SAFE_INTEGER, 0)
    }
  }

  /** Goes past all rows up to a chunk, but for the one of that chunk at its level. */
  async #passTo(rows: Cursor<true>, level: number, chunk: number, repair: number): Promise<void> {
    const { counters, findings } = this.#context
    for (let at = chunkAt(rows); at <= chunk; at = chunkAt(rows)) {
      if (at === chunk && repair === level + 1) return
      await rows.advance()
      if (this.#believed(at)) {
        counters.add(counterNames.repairs(level))
        continue
      }
      const detail = `the queue for repair has chunk ${at} with ${level} replicas, which is not so`
      await findings.add('index', detail, {
        changes: () => [{ key: keys.repair(level, at), value: undefined }],
      })
    }
  }
}

async function hasAny(
  store: OrderedStore,
  { from, to }: { readonly from: Buffer; readonly to: Buffer },
): Promise<boolean> {
  const damaged: Buffer[] = []
  const found = await store.range({ from, to, limit: 1, onCorrupt: (key) => damaged.push(key) })
  return damaged.length + found.length > 0
}

/** Infinity at the end of the level. */
const chunkAt = (rows: Cursor<true>): number =>
  rows.current === undefined ? Infinity : parts.repairsChunk(rows.current.key)
