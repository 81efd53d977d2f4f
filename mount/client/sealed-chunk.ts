/**
 * A chunk's sealed blocks in memory, growing while the application writes, kept until servers have
 * them so that they can be sent again. Sealed once: sending again sends the same bytes.
 *
 * Blocks stand in segments that can be sent as they are. The newest plaintext waits in a block of its
 * own, because whether a block is the last one is part of its seal.
 */
import { invariant } from '../../schema/wire/invariant.ts'
import { limits } from '../../schema/wire/limits.ts'
import { ChunkSealer } from '../crypto/chunk-cipher.ts'
import type { InodeKey } from '../crypto/inode-key.ts'
import { SegmentPool } from './segment-pool.ts'

/** Blocks in a segment at most: 1 MiB goes to the transport at a time. */
const SEGMENT_BLOCKS_MAX = 16

const SEGMENT_BYTES = SEGMENT_BLOCKS_MAX * limits.sealedBlockBytes
const segmentPool = new SegmentPool(SEGMENT_BYTES)

export interface Segment {
  readonly bytes: Buffer
  /** Sealed bytes in it; never fewer than before. */
  filled: number
}

export class SealedChunk {
  readonly #sealer: ChunkSealer
  #segments: Segment[] = []
  #staging: Buffer | undefined
  #staged = 0
  #length = 0
  #sealedBytes = 0
  #blocks = 0
  #heldBytes = 0
  #ended = false

  constructor(key: InodeKey, chunk: number) {
    this.#sealer = new ChunkSealer(key, chunk)
  }

  get header(): Uint8Array {
    return this.#sealer.header
  }

  /** Plaintext bytes appended. */
  get length(): number {
    return this.#length
  }

  /** Sealed bytes that can be sent. */
  get sealedBytes(): number {
    return this.#sealedBytes
  }

  /** Bytes of memory. */
  get heldBytes(): number {
    return this.#heldBytes
  }

  /** No more bytes will come. */
  get ended(): boolean {
    return this.#ended
  }

  /** Segments in order; undefined behind the last one. */
  segment(index: number): Segment | undefined {
    return this.#segments[index]
  }

  /** Takes a copy of `plain`. */
  append(plain: Uint8Array): void {
    invariant(!this.#ended, 'nothing is appended to a finished chunk')
    invariant(this.#length + plain.length <= limits.chunkBytesMax, 'a chunk has its largest size')
    if (plain.length === 0) return
    this.#length += plain.length
    if (this.#staging === undefined) {
      this.#staging = Buffer.allocUnsafeSlow(limits.blockBytes)
      this.#heldBytes += limits.blockBytes
    }
    const staging = this.#staging
    let from = Math.min(staging.length - this.#staged, plain.length)
    if (this.#staged > 0) {
      staging.set(from === plain.length ? plain : plain.subarray(0, from), this.#staged)
      this.#staged += from
      if (from === plain.length) return
      this.#seal(staging, false)
    } else {
      from = 0
    }
    for (; plain.length - from > limits.blockBytes; from += limits.blockBytes) {
      this.#seal(plain.subarray(from, from + limits.blockBytes), false)
    }
    staging.set(from === 0 ? plain : plain.subarray(from))
    this.#staged = plain.length - from
  }

  /** Seals the last block. */
  end(): void {
    invariant(!this.#ended, 'a chunk ends once')
    invariant(this.#length > 0 && this.#staging !== undefined, 'an empty chunk does not exist')
    this.#seal(this.#staging.subarray(0, this.#staged), true)
    this.#ended = true
    this.#dropStaging()
  }

  /**
   * Lets go of everything; the chunk is durable or given up. `sent`: nobody sends any of it any more,
   * so its memory may be used again.
   */
  drop(sent: boolean): void {
    for (const { bytes } of sent ? this.#segments : []) {
      if (bytes.length === SEGMENT_BYTES) segmentPool.give(bytes)
    }
    this.#ended = true
    this.#sealer.erase()
    this.#dropStaging()
    this.#segments = []
    this.#heldBytes = 0
  }

  #seal(plain: Uint8Array, last: boolean): void {
    const sealed = plain.length + limits.tagBytes
    let segment = this.#segments.at(-1)
    if (segment === undefined || segment.bytes.length - segment.filled < sealed) {
      // Small chunks take little memory, large ones few segments.
      const blocks = last ? 1 : Math.min(SEGMENT_BLOCKS_MAX, Math.max(1, this.#blocks))
      const bytes = last ? sealed : blocks * limits.sealedBlockBytes
      const whole = bytes === SEGMENT_BYTES
      segment = { bytes: whole ? segmentPool.take() : Buffer.allocUnsafeSlow(bytes), filled: 0 }
      this.#segments.push(segment)
      this.#heldBytes += bytes
    }
    segment.filled = this.#sealer.seal(plain, last, segment.bytes, segment.filled)
    this.#sealedBytes += sealed
    this.#blocks++
  }

  #dropStaging(): void {
    if (this.#staging === undefined) return
    this.#staging.fill(0)
    this.#staging = undefined
    this.#heldBytes -= limits.blockBytes
  }
}
