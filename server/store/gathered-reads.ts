/**
 * Point reads, handed to the engine some at a time: a call into its binding, a wake-up of a thread and the
 * way back cost more than finding a record that is in memory. What is asked for in one go of the event
 * loop, or while the engine has enough to do, goes together; a few reads get a thread each, since they may
 * wait for the disk.
 */

/** Calls to the engine under way: as many threads as the runtime has without being told. */
const CALLS_MAX = 4
/** Reads of one call, which are done one after the other. */
const READS_PER_CALL_MAX = 16

/** What the engine says of one key. */
export type Answered = (error: Error | undefined, stored?: Buffer) => void

/** The engine's own reads; values as they are stored, undefined for none. */
export interface PointReads {
  one(key: Buffer, answered: Answered): void
  /** At least two keys. When one of them cannot be read, all of them fail. */
  many(
    keys: readonly Buffer[],
    answered: (error: Error | undefined, stored?: readonly (Buffer | undefined)[]) => void,
  ): void
}

interface Read {
  readonly key: Buffer
  readonly answered: Answered
}

export class GatheredReads {
  readonly #engine: PointReads
  #asked: Read[] = []
  #handing = false
  /** Calls under way. */
  #calls = 0

  constructor(engine: PointReads) {
    this.#engine = engine
  }

  get(key: Buffer, answered: Answered): void {
    this.#asked.push({ key, answered })
    this.#plan()
  }

  #plan(): void {
    if (this.#handing || this.#calls >= CALLS_MAX) return
    this.#handing = true
    // After all that runs in this go, promises that were resolved in it included.
    process.nextTick(this.#hand)
  }

  readonly #hand = (): void => {
    this.#handing = false
    const asked = this.#asked
    const free = CALLS_MAX - this.#calls
    const perCall = Math.min(READS_PER_CALL_MAX, Math.ceil(asked.length / free))
    const taken = Math.min(asked.length, perCall * free)
    this.#asked = asked.slice(taken)
    for (let first = 0; first < taken; first += perCall) {
      this.#call(asked.slice(first, Math.min(taken, first + perCall)))
    }
  }

  #call(reads: readonly Read[]): void {
    this.#calls++
    const [first] = reads
    if (reads.length === 1 && first !== undefined) {
      this.#engine.one(first.key, (error, stored) => {
        this.#ended()
        first.answered(error, stored)
      })
      return
    }
    const keys = reads.map(({ key }) => key)
    this.#engine.many(keys, (error, stored = []) => {
      this.#ended()
      // Whose block is damaged is not told, and must not keep the others from theirs.
      if (error) for (const { key, answered } of reads) this.#engine.one(key, answered)
      else for (const [i, { answered }] of reads.entries()) answered(undefined, stored[i])
    })
  }

  #ended(): void {
    this.#calls--
    if (this.#asked.length > 0) this.#plan()
  }
}
