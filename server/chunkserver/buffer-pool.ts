/**
 * Buffers of one size, used again instead of made anew: allocating half a megabyte for each piece
 * costs page faults and garbage collections. How many are out at once is bounded by the budgets of
 * those who take them (admission.ts); how many are kept, here.
 */
export class BufferPool {
  readonly bytes: number
  readonly #keepMax: number
  readonly #kept: Buffer[] = []

  constructor(bytes: number, keepMax: number) {
    this.bytes = bytes
    this.#keepMax = keepMax
  }

  take(): Buffer {
    return this.#kept.pop() ?? Buffer.allocUnsafeSlow(this.bytes)
  }

  /** Nobody may use the buffer any more. */
  give(buffer: Buffer): void {
    if (this.#kept.length < this.#keepMax) this.#kept.push(buffer)
  }
}
