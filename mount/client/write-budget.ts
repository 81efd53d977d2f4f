/**
 * The bound on sealed bytes that all chunk writers of a client hold until servers have them.
 *
 * A writer that goes over it waits. Memory comes back only when a chunk is durable, so somebody must
 * finish one: chunks being finished are waited for; otherwise the largest chunk whose owner can be
 * asked to finish is; otherwise one writer at a time gets a pass to go on to its end, so that total
 * never exceeds the budget by more than the chunks that went idle with a pass. Every wait ends: with
 * memory, or with `deadlineExceeded`.
 */
import { performance } from 'node:perf_hooks'
import { DfsError } from '../../schema/wire/status.ts'

/** Milliseconds after which a wait for memory fails; and without an append, until a pass moves on. */
const WAIT_MAX_MS = 60_000
const PASS_IDLE_MS = 1_000
/** Milliseconds that an owner gets to finish a chunk before another one is asked. */
const PRESSED_MS = 1_000
/** Milliseconds between looks while somebody waits. */
const LOOK_MS = 250

/** What the budget knows of a writer. */
export interface BudgetHolder {
  /** Bytes it holds. */
  readonly heldBytes: number
  /** Its owner has finished it: its memory comes back by itself. */
  readonly finishing: boolean
  /** When bytes were appended last, by performance.now(). */
  readonly appendedMs: number
  /** Asks its owner to finish it; false when that cannot be, or was done already. */
  press(): boolean
}

interface Waiter {
  readonly holder: BudgetHolder
  readonly sinceMs: number
  readonly resolve: () => void
  readonly reject: (error: DfsError) => void
}

export class WriteBudget {
  readonly #bytesMax: number
  readonly #holders = new Set<BudgetHolder>()
  #waiters: Waiter[] = []
  #pass: BudgetHolder | undefined
  #usedBytes = 0
  #pressedMs = -Infinity
  #timer: NodeJS.Timeout | undefined

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Bytes held by all writers. */
  get usedBytes(): number {
    return this.#usedBytes
  }

  enter(holder: BudgetHolder): void {
    this.#holders.add(holder)
  }

  /** A holder's memory grew (or, negative, shrank) by this. */
  grew(bytes: number): void {
    this.#usedBytes += bytes
    if (bytes < 0) this.#look()
  }

  /** The holder is done; what it held has been given back by `grew`. */
  leave(holder: BudgetHolder): void {
    this.#holders.delete(holder)
    if (this.#pass === holder) this.#pass = undefined
    const gone = this.#waiters.filter((waiter) => waiter.holder === holder)
    this.#waiters = this.#waiters.filter((waiter) => waiter.holder !== holder)
    for (const { resolve } of gone) resolve()
    this.#look()
  }

  /** Undefined when `holder` may go on at once, else a promise for when it may. */
  wait(holder: BudgetHolder): Promise<void> | undefined {
    if (this.#usedBytes <= this.#bytesMax || this.#pass === holder) return undefined
    return new Promise((resolve, reject) => {
      this.#waiters.push({ holder, sinceMs: performance.now(), resolve, reject })
      this.#timer ??= setInterval(() => this.#look(), LOOK_MS)
      this.#look()
    })
  }

  /** Lets everybody go who can go, and sees to it that memory comes back for the others. */
  #look(): void {
    while (this.#usedBytes <= this.#bytesMax) {
      const first = this.#waiters.shift()
      if (first === undefined) break
      first.resolve()
    }
    this.#expire()
    if (this.#waiters.length === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
      return
    }
    const asked = performance.now() - this.#pressedMs < PRESSED_MS
    if (!asked && !this.#someoneFinishes() && !this.#pressLargest()) this.#givePass()
  }

  #expire(): void {
    const nowMs = performance.now()
    for (;;) {
      const first = this.#waiters[0]
      if (first === undefined || nowMs - first.sinceMs < WAIT_MAX_MS) return
      this.#waiters.shift()
      const detail = `no memory for written data within ${WAIT_MAX_MS} ms: the chunkservers are too slow or away, or the write buffer of ${this.#bytesMax} bytes is too small for so many open files`
      first.reject(new DfsError('deadlineExceeded', detail))
    }
  }

  #someoneFinishes(): boolean {
    for (const holder of this.#holders) if (holder.finishing) return true
    return false
  }

  #pressLargest(): boolean {
    const largestFirst = [...this.#holders].sort((a, b) => b.heldBytes - a.heldBytes)
    const pressed = largestFirst.some((holder) => holder.press())
    if (pressed) this.#pressedMs = performance.now()
    return pressed
  }

  #givePass(): void {
    const inUse =
      this.#pass !== undefined && performance.now() - this.#pass.appendedMs < PASS_IDLE_MS
    if (inUse) return
    const next = this.#waiters.shift()
    this.#pass = next?.holder
    next?.resolve()
  }
}
