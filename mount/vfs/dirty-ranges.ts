/**
 * Bytes of one file that were written and not yet given to a chunk: sorted segments that do not
 * overlap, each at most 64 KiB and inside one window. Pure: no I/O, no clock.
 *
 * A segment that has been filled is exactly a block, so sequential writing needs one copy of its
 * bytes: the segment's buffer goes to the chunk and from there into the block cache.
 */
import { invariant } from '../../schema/wire/invariant.ts'
import { limits } from '../../schema/wire/limits.ts'

export const SEGMENT_BYTES = limits.blockBytes
/** Smallest buffer of a segment: below it, bookkeeping costs more than the bytes. */
const SEGMENT_BYTES_MIN = 4_096
/** Full buffers kept for the next segments of any file: 4 MiB. New memory costs as much as copying into it. */
const SPARE_MAX = 64
const spare: Buffer[] = []

export interface Segment {
  /** Byte position in the file. */
  readonly offset: number
  /** Bytes written, from the start of `buffer`. */
  length: number
  buffer: Buffer
}

export interface ByteRange {
  readonly from: number
  readonly to: number
}

export class DirtyRanges {
  readonly #segments: Segment[] = []
  #bytes = 0
  #capacity = 0
  /** The run that the last writes continued: where it began and where it ends. */
  #runFrom = 0
  #runTo = 0

  /** Bytes written. */
  get bytes(): number {
    return this.#bytes
  }

  /** Bytes of memory held. */
  get capacity(): number {
    return this.#capacity
  }

  /** Runs of at most 64 KiB that it consists of. */
  get segments(): number {
    return this.#segments.length
  }

  get first(): Segment | undefined {
    return this.#segments[0]
  }

  /** Bytes that were written one after the other, up to the last write. */
  get runBytes(): number {
    return this.#runTo - this.#runFrom
  }

  /** Copies `bytes` in at `position`; what was there is overwritten. */
  write(position: number, bytes: Uint8Array): void {
    if (position !== this.#runTo) this.#runFrom = position
    this.#runTo = position + bytes.length
    this.#put(position, bytes, true)
  }

  /** Copies the parts of `bytes` in that nothing was written over. */
  fillGaps(position: number, bytes: Uint8Array): void {
    this.#put(position, bytes, false)
  }

  /** Copies what is dirty in [position, position + length) to `into` at `at`. */
  copyInto(into: Uint8Array, at: number, position: number, length: number): void {
    const end = position + length
    for (let index = this.#indexAt(position); index < this.#segments.length; index++) {
      const segment = this.#segment(index)
      if (segment.offset >= end) return
      const from = Math.max(position, segment.offset)
      const to = Math.min(end, segment.offset + segment.length)
      const source = segment.buffer.subarray(from - segment.offset, to - segment.offset)
      into.set(source, at + from - position)
    }
  }

  /** The parts of [position, position + length) that are not dirty, in order. */
  gaps(position: number, length: number): ByteRange[] {
    const end = position + length
    const found: ByteRange[] = []
    let at = position
    for (let index = this.#indexAt(position); index < this.#segments.length; index++) {
      const segment = this.#segment(index)
      if (segment.offset >= end) break
      if (segment.offset > at) found.push({ from: at, to: segment.offset })
      at = segment.offset + segment.length
    }
    if (at < end) found.push({ from: at, to: end })
    return found
  }

  /** The first segment that has bytes at `position` or behind it. */
  from(position: number): ByteRange | undefined {
    const segment = this.#segments[this.#indexAt(position)]
    return segment && { from: segment.offset, to: segment.offset + segment.length }
  }

  /** Whether any byte of [position, position + length) is dirty. */
  touches(position: number, length: number): boolean {
    const segment = this.#segments[this.#indexAt(position)]
    return segment !== undefined && segment.offset < position + length
  }

  /**
   * The next segment of the current run that no further write can lengthen, if the run has at least
   * `bytesMin`, or if it continues at `continuing`.
   */
  nextOfRun(bytesMin: number, continuing: number | undefined): Segment | undefined {
    if (this.#segments.length === 0) return undefined
    const index = this.#indexAt(this.#runFrom)
    const segment = this.#segments[index]
    if (segment === undefined || segment.offset >= this.#runTo) return undefined
    if (segment.offset !== continuing && this.runBytes < bytesMin) return undefined
    const end = segment.offset + segment.length
    const complete = segment.length === SEGMENT_BYTES || end % limits.chunkBytesMax === 0
    return complete || this.#segments[index + 1]?.offset === end ? segment : undefined
  }

  /** Takes a segment out. The buffer is the caller's from now on. */
  remove(segment: Segment): void {
    const index = this.#indexAt(segment.offset)
    invariant(this.#segments[index] === segment, 'only a segment that is here can be removed')
    this.#segments.splice(index, 1)
    this.#account(-segment.length, -segment.buffer.length)
  }

  /** Takes back the buffer of a segment that was removed; the caller has no more use for it. */
  giveBack(buffer: Buffer): void {
    if (buffer.length === SEGMENT_BYTES && spare.length < SPARE_MAX) spare.push(buffer)
  }

  /** Forgets what lies at `size` and behind. */
  truncate(size: number): void {
    this.#runTo = Math.min(this.#runTo, size)
    this.#runFrom = Math.min(this.#runFrom, this.#runTo)
    const index = this.#indexAt(size)
    const cut = this.#segments[index]
    let keep = index
    if (cut !== undefined && cut.offset < size) {
      this.#account(size - cut.offset - cut.length, 0)
      cut.length = size - cut.offset
      keep++
    }
    for (const dropped of this.#segments.splice(keep)) {
      this.#account(-dropped.length, -dropped.buffer.length)
    }
  }

  clear(): void {
    this.truncate(0)
  }

  #put(position: number, bytes: Uint8Array, overwrite: boolean): void {
    const end = position + bytes.length
    let at = position
    let index = this.#indexAt(at)
    while (at < end) {
      const next = this.#segments[index]
      if (next !== undefined && next.offset <= at) {
        const to = Math.min(end, next.offset + next.length)
        if (overwrite) {
          next.buffer.set(bytes.subarray(at - position, to - position), at - next.offset)
        }
        at = to
        index++
        continue
      }
      const to = Math.min(end, next?.offset ?? end, windowEnd(at))
      if (this.#lengthen(index - 1, at, bytes.subarray(at - position, to - position))) {
        const before = this.#segment(index - 1)
        at = before.offset + before.length
        continue
      }
      const length = Math.min(to - at, SEGMENT_BYTES)
      this.#insert(index, at, bytes.subarray(at - position, at - position + length))
      at += length
      index++
    }
  }

  /** Appends as much of `bytes` as fits to the segment at `index`, if it ends at `at`. */
  #lengthen(index: number, at: number, bytes: Uint8Array): boolean {
    const segment = this.#segments[index]
    if (segment === undefined || segment.offset + segment.length !== at) return false
    const room = SEGMENT_BYTES - segment.length
    if (room === 0 || at % limits.chunkBytesMax === 0) return false
    const added = bytes.length > room ? bytes.subarray(0, room) : bytes
    const needed = segment.length + added.length
    if (needed > segment.buffer.length) {
      const larger = bufferFor(needed)
      larger.set(segment.buffer.subarray(0, segment.length))
      this.#account(0, larger.length - segment.buffer.length)
      segment.buffer = larger
    }
    segment.buffer.set(added, segment.length)
    segment.length = needed
    this.#account(added.length, 0)
    return true
  }

  #insert(index: number, offset: number, bytes: Uint8Array): void {
    const buffer = bufferFor(bytes.length)
    buffer.set(bytes)
    const segment = { offset, length: bytes.length, buffer }
    // A sequential writer appends; splice costs only those who write in between.
    if (index === this.#segments.length) this.#segments.push(segment)
    else this.#segments.splice(index, 0, segment)
    this.#account(bytes.length, buffer.length)
  }

  /** Index of the first segment that ends behind `position`. */
  #indexAt(position: number): number {
    let low = 0
    let high = this.#segments.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const segment = this.#segment(middle)
      if (segment.offset + segment.length > position) high = middle
      else low = middle + 1
    }
    return low
  }

  #segment(index: number): Segment {
    const segment = this.#segments[index]
    invariant(segment !== undefined, 'a segment index in range')
    return segment
  }

  #account(bytes: number, capacity: number): void {
    this.#bytes += bytes
    this.#capacity += capacity
  }
}

function windowEnd(position: number): number {
  return (Math.floor(position / limits.chunkBytesMax) + 1) * limits.chunkBytesMax
}

function bufferFor(bytes: number): Buffer {
  const capacity = capacityFor(bytes)
  return (capacity === SEGMENT_BYTES ? spare.pop() : undefined) ?? Buffer.allocUnsafe(capacity)
}

function capacityFor(bytes: number): number {
  let capacity = SEGMENT_BYTES_MIN
  while (capacity < bytes) capacity *= 2
  return capacity
}
