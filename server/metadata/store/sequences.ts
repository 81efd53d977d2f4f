/**
 * Ids that are never given out twice, across kills: a block of them is reserved durably before the
 * first is used, so taking one costs nothing. Ids of a block that was not used up are lost, not
 * reused.
 */
import { invariant } from '../../../schema/wire/invariant.ts'
import type { Database } from './database.ts'
import { keys } from './keys.ts'
import { tables } from './tables.ts'

/** Ids reserved at once. */
const BLOCK = 10_000
/** The next block is reserved when fewer are left. */
const LEFT_MIN = 2_000

export class Sequence {
  readonly #database: Database
  readonly #name: string
  #next: number
  /** First id that is not reserved. */
  #end: number
  #reserving: Promise<void> | undefined

  private constructor(database: Database, name: string, next: number) {
    this.#database = database
    this.#name = name
    this.#next = next
    this.#end = next
  }

  /** Opens the sequence; it starts from 1. */
  static async open(database: Database, name: string): Promise<Sequence> {
    const stored = await database.read((txn) => txn.get(tables.numbers, keys.sequence(name)))
    const sequence = new Sequence(database, name, stored?.value ?? 1)
    await sequence.reserve()
    return sequence
  }

  /** All ids below have been given out, or never will be. */
  get next(): number {
    return this.#next
  }

  /** An id that nobody has had. */
  async take(): Promise<number> {
    for (;;) {
      const id = this.tryTake()
      if (id !== undefined) return id
      await this.reserve()
    }
  }

  /** The first of `count` ids in a row that nobody has had; at most as many as are reserved at once. */
  async takeRange(count: number): Promise<number> {
    invariant(count <= BLOCK, 'a range fits into what is reserved')
    while (this.#next + count > this.#end) await this.reserve()
    const first = this.#next
    this.#next += count
    return first
  }

  /** As {@link take}, at once; undefined when ids must be reserved first. */
  tryTake(): number | undefined {
    if (this.#next >= this.#end) return undefined
    const id = this.#next++
    // Ahead of need; when it fails, the one who finds the block used up tries again and is told.
    if (this.#end - this.#next < LEFT_MIN) this.reserve().catch(() => undefined)
    return id
  }

  /** Reserves a block durably. */
  reserve(): Promise<void> {
    this.#reserving ??= this.#write(this.#end + BLOCK).finally(() => {
      this.#reserving = undefined
    })
    return this.#reserving
  }

  async #write(end: number): Promise<void> {
    await this.#database.write({}, (txn) => {
      txn.put(tables.numbers, keys.sequence(this.#name), { value: end })
    })
    this.#end = end
  }
}
