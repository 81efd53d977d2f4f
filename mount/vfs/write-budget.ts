/**
 * How many bytes of written and not yet sealed data all files of a mount hold together. Writers that
 * go over wait until some of it has gone to chunks.
 */

/** Bytes that files hold before writers wait. */
export const DIRTY_BYTES_MAX = 32 * 1_024 * 1_024

export class WriteBudget {
  readonly bytesMax: number
  #bytes = 0

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  get isOver(): boolean {
    return this.#bytes > this.bytesMax
  }

  /** A file's buffers grew by `bytes`, or shrank when negative. */
  changed(bytes: number): void {
    this.#bytes += bytes
  }
}
