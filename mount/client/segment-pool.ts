/**
 * Memory of sealed segments, used again by the next chunks: taken anew, each chunk would be garbage that
 * only a marking of V8's whole heap finds. Let go of when nobody has written for a while.
 */

/** Segments kept at most: those of a chunk, which come back together. 64 MiB. */
const SPARE_MAX = 64
/** Milliseconds without a new segment after which all are let go of. */
const IDLE_MS = 1_000

export class SegmentPool {
  readonly #bytes: number
  readonly #spare: Buffer[] = []
  #idle: NodeJS.Timeout | undefined

  constructor(bytes: number) {
    this.#bytes = bytes
  }

  /** Segments kept. */
  get kept(): number {
    return this.#spare.length
  }

  take(): Buffer {
    this.#idle?.refresh()
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(this.#bytes)
  }

  /** Nobody may use the segment any more. */
  give(segment: Buffer): void {
    if (this.#spare.length === SPARE_MAX) return
    this.#spare.push(segment)
    this.#idle ??= setTimeout(() => {
      this.#idle = undefined
      this.#spare.length = 0
    }, IDLE_MS).unref()
  }
}
