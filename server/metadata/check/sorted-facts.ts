/**
 * Sorting more than fits into memory: facts, each a few whole numbers, are put in any order and come
 * back sorted. Runs of a bounded size are sorted in memory and kept in one file, then merged.
 *
 * For programs that have a store to themselves: files are read and written synchronously. Memory is
 * `runBytes`, and 64 KiB for each run while the facts are read.
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import { invariant } from '../../../schema/wire/invariant.ts'

/** Bytes of facts that are sorted in memory at once. */
const RUN_BYTES = 16 * 1_048_576
/** Bytes of a run that are in memory while runs are merged. */
const BLOCK_BYTES = 65_536
const NUMBER_BYTES = 8

type Compare = (a: Float64Array, at: number, b: Float64Array, bt: number) => number

/** Facts of `width` numbers, ordered by the first, then by the second, and so on. */
export class SortedFacts {
  readonly #path: string
  readonly #width: number
  readonly #run: Float64Array
  #used = 0
  #file: number | undefined
  /** Positions in the file, in numbers, at which runs end. */
  readonly #ends: number[] = []

  /** `path`: where its file goes if it needs one; it is the caller's to delete. */
  constructor(path: string, width: number, runBytes = RUN_BYTES) {
    this.#path = path
    this.#width = width
    this.#run = new Float64Array(Math.floor(runBytes / NUMBER_BYTES / width) * width)
    invariant(this.#run.length > 0, 'a run holds a fact')
  }

  add(...fact: readonly number[]): void {
    invariant(fact.length === this.#width, 'all facts have the same width')
    if (this.#used === this.#run.length) this.#spill()
    this.#run.set(fact, this.#used)
    this.#used += this.#width
  }

  /** The facts in order. Nothing may be added any more. */
  sorted(): FactReader {
    if (this.#file === undefined) {
      return new FactReader(this.#width, [new Run(this.#inOrder(), undefined, 0, 0)])
    }
    if (this.#used > 0) this.#spill()
    const { length } = this.#run
    const blockNumbers = Math.min(
      length,
      Math.max(1, Math.floor(BLOCK_BYTES / NUMBER_BYTES / this.#width)) * this.#width,
    )
    const runs = this.#ends.map((end, i) => {
      const block = new Float64Array(blockNumbers)
      return new Run(block, this.#file, this.#ends[i - 1] ?? 0, end)
    })
    return new FactReader(this.#width, runs)
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file)
    this.#file = undefined
  }

  #inOrder(): Float64Array {
    const [width, run] = [this.#width, this.#run]
    const count = this.#used / width
    const order = new Uint32Array(count)
    for (let i = 0; i < count; i++) order[i] = i * width
    const compare = comparing(width)
    order.sort((a, b) => compare(run, a, run, b))
    const sorted = new Float64Array(this.#used)
    for (const [i, at] of order.entries()) sorted.set(run.subarray(at, at + width), i * width)
    return sorted
  }

  #spill(): void {
    this.#file ??= openSync(this.#path, 'w+', 0o600)
    const sorted = this.#inOrder()
    const start = this.#ends.at(-1) ?? 0
    const bytes = new Uint8Array(sorted.buffer)
    for (let done = 0; done < bytes.length;) {
      done += writeSync(this.#file, bytes, done, bytes.length - done, start * NUMBER_BYTES + done)
    }
    this.#ends.push(start + sorted.length)
    this.#used = 0
  }
}

function comparing(width: number): Compare {
  return (a, at, b, bt) => {
    for (let i = 0; i < width; i++) {
      const difference = (a[at + i] ?? 0) - (b[bt + i] ?? 0)
      if (difference !== 0) return difference
    }
    return 0
  }
}

/** One sorted run, a block of it in memory. */
class Run {
  readonly block: Float64Array
  /** Position of the current fact in the block. */
  at = 0
  #filled: number
  readonly #file: number | undefined
  #position: number
  readonly #end: number

  constructor(block: Float64Array, file: number | undefined, position: number, end: number) {
    this.block = block
    this.#file = file
    this.#position = position
    this.#end = end
    this.#filled = file === undefined ? block.length : 0
    if (file !== undefined) this.#fill()
  }

  get over(): boolean {
    return this.at >= this.#filled
  }

  step(width: number): void {
    this.at += width
    if (this.at >= this.#filled && this.#position < this.#end) this.#fill()
  }

  #fill(): void {
    const count = Math.min(this.block.length, this.#end - this.#position)
    const bytes = new Uint8Array(this.block.buffer, 0, count * NUMBER_BYTES)
    invariant(this.#file !== undefined, 'a run in memory is not filled')
    for (let done = 0; done < bytes.length;) {
      const position = this.#position * NUMBER_BYTES + done
      const read = readSync(this.#file, bytes, done, bytes.length - done, position)
      invariant(read > 0, 'a run ends where it was written to')
      done += read
    }
    this.#position += count
    this.#filled = count
    this.at = 0
  }
}

/** Reads facts in order; the current one is looked at field by field. */
export class FactReader {
  readonly #width: number
  readonly #compare: Compare
  /** A heap: the run with the lowest fact is first. */
  readonly #heap: Run[]

  constructor(width: number, runs: readonly Run[]) {
    this.#width = width
    this.#compare = comparing(width)
    this.#heap = runs.filter((run) => !run.over)
    for (let i = this.#heap.length >> 1; i-- > 0;) this.#sink(i)
  }

  /** The first number of the current fact; Infinity when there are no more. */
  get id(): number {
    return this.#heap.length === 0 ? Infinity : this.field(0)
  }

  /** A number of the current fact. */
  field(index: number): number {
    const run = this.#heap[0]
    invariant(run !== undefined && index < this.#width, 'there is a current fact')
    return run.block[run.at + index] ?? 0
  }

  advance(): void {
    const run = this.#heap[0]
    invariant(run !== undefined, 'there is a current fact')
    run.step(this.#width)
    if (run.over) {
      const last = this.#heap.pop()
      if (last === undefined || last === run) return
      this.#heap[0] = last
    }
    this.#sink(0)
  }

  #sink(from: number): void {
    const heap = this.#heap
    let at = from
    for (;;) {
      let least = at
      for (const child of [2 * at + 1, 2 * at + 2]) if (this.#before(child, least)) least = child
      const [above, below] = [heap[at], heap[least]]
      if (least === at || above === undefined || below === undefined) return
      heap[at] = below
      heap[least] = above
      at = least
    }
  }

  #before(index: number, other: number): boolean {
    const [a, b] = [this.#heap[index], this.#heap[other]]
    if (a === undefined || b === undefined) return false
    return this.#compare(a.block, a.at, b.block, b.at) < 0
  }
}
