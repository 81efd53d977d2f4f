/**
 * Bytes of a file in a model: pages of 4 KiB in a map, so that holes of gigabytes cost nothing.
 */
const PAGE_BYTES = 4_096

export class SparseBytes {
  readonly #pages = new Map<number, Buffer>()
  size = 0

  write(position: number, bytes: Uint8Array): void {
    this.#each(position, bytes.length, (page, from, to, at) => {
      const buffer = this.#pages.get(page) ?? Buffer.alloc(PAGE_BYTES)
      buffer.set(bytes.subarray(at, at + to - from), from)
      this.#pages.set(page, buffer)
    })
    this.size = Math.max(this.size, position + bytes.length)
  }

  /** Fewer bytes than asked for only at the end. */
  read(position: number, length: number): Buffer {
    const count = Math.max(0, Math.min(length, this.size - position))
    const read = Buffer.alloc(count)
    this.#each(position, count, (page, from, to, at) => {
      const buffer = this.#pages.get(page)
      if (buffer !== undefined) read.set(buffer.subarray(from, to), at)
    })
    return read
  }

  truncate(size: number): void {
    for (const page of this.#pages.keys()) if (page * PAGE_BYTES >= size) this.#pages.delete(page)
    const last = this.#pages.get(Math.floor(size / PAGE_BYTES))
    last?.fill(0, size % PAGE_BYTES)
    this.size = size
  }

  /** Ranges of pages that were written, for a comparison that skips the holes. */
  *written(): Iterable<{ from: number; to: number }> {
    for (const page of [...this.#pages.keys()].sort((a, b) => a - b)) {
      const from = page * PAGE_BYTES
      if (from < this.size) yield { from, to: Math.min(this.size, from + PAGE_BYTES) }
    }
  }

  #each(
    position: number,
    length: number,
    visit: (page: number, from: number, to: number, at: number) => void,
  ): void {
    for (let at = 0; at < length;) {
      const page = Math.floor((position + at) / PAGE_BYTES)
      const from = (position + at) % PAGE_BYTES
      const to = Math.min(PAGE_BYTES, from + length - at)
      visit(page, from, to, at)
      at += to - from
    }
  }
}
