/**
 * One chunk being filled with written data: gives the bytes to the chunk's writer, keeps what it
 * wrote in the block cache, so that reading it back asks no server, unless the kernel has it, and reports
 * how it ends.
 */
import { invariant } from '../../schema/wire/invariant.ts'
import { limits } from '../../schema/wire/limits.ts'
import type { ChunkWriter } from '../client/api.ts'
import type { InodeKey } from '../crypto/inode-key.ts'
import type { Context } from './context.ts'
import type { ChunkOutcome, PendingChunk } from './pending-chunk.ts'

const BLOCK_BYTES = limits.blockBytes

export class ChunkPacker implements PendingChunk {
  readonly #writer: ChunkWriter
  readonly #context: Pick<Context, 'cache' | 'session'>
  /** The block that is being filled, for the cache; and how far. */
  #partial: Buffer | undefined
  #partialBytes = 0
  #outcome: Promise<ChunkOutcome> | undefined
  /** Window that sequential data in this chunk belongs to; undefined for scattered data. */
  window: number | undefined

  private constructor(writer: ChunkWriter, context: Pick<Context, 'cache' | 'session'>) {
    this.#writer = writer
    this.#context = context
  }

  /** `onPressure` asks for the chunk to be closed soon, to free memory. */
  static async begin(
    context: Context,
    key: InodeKey,
    onPressure: () => void,
  ): Promise<ChunkPacker> {
    return new ChunkPacker(await context.chunks.begin(key, { onPressure }), context)
  }

  get id(): number {
    return this.#writer.chunk
  }

  get length(): number {
    return this.#writer.length
  }

  get room(): number {
    return limits.chunkBytesMax - this.#writer.length
  }

  get closed(): boolean {
    return this.#outcome !== undefined
  }

  get outcome(): Promise<ChunkOutcome> | undefined {
    return this.#outcome
  }

  /** Takes a copy of `bytes`. A promise must be waited for before the next call. */
  append(bytes: Buffer): Promise<void> | undefined {
    invariant(bytes.length <= this.room, 'a chunk is not overfilled')
    const sent = this.#writer.append(bytes)
    this.#remember(bytes)
    return sent
  }

  /** No more bytes; {@link outcome} tells how it ends. */
  close(): void {
    if (this.#outcome !== undefined) return
    this.#outcome = this.#writer.finish().then(
      (stored) => ({ stored }),
      (error: unknown) => ({ stored: undefined, error }),
    )
    const rest = this.openBlock(this.#lastBlock)
    if (rest !== undefined) this.#put(this.#lastBlock, rest)
    this.#partial = undefined
    this.#partialBytes = 0
  }

  /** Gives the chunk up because it cannot be written any further. */
  fail(error: unknown): void {
    if (this.#outcome !== undefined) return
    this.#writer.abort()
    this.#partial = undefined
    this.#partialBytes = 0
    this.#outcome = failedWith(error)
  }

  openBlock(block: number): Uint8Array | undefined {
    if (this.#partialBytes === 0 || block !== this.#lastBlock) return undefined
    return this.#partial?.subarray(0, this.#partialBytes)
  }

  get #lastBlock(): number {
    return Math.floor((this.#writer.length - 1) / BLOCK_BYTES)
  }

  #remember(bytes: Buffer): void {
    let block = Math.floor((this.#writer.length - bytes.length) / BLOCK_BYTES)
    for (let at = 0; at < bytes.length; block++) {
      const count = Math.min(BLOCK_BYTES - this.#partialBytes, bytes.length - at)
      if (count === BLOCK_BYTES) {
        if (!this.#isElsewhere) this.#put(block, bytes.subarray(at, at + count))
      } else {
        const partial = (this.#partial ??= Buffer.allocUnsafeSlow(BLOCK_BYTES))
        partial.set(bytes.subarray(at, at + count), this.#partialBytes)
        this.#partialBytes += count
        if (this.#partialBytes < BLOCK_BYTES) return
        this.#put(block, partial)
        this.#partialBytes = 0
      }
      at += count
    }
  }

  /**
   * What a sequential writer gave the kernel keeps while nobody else can change the tree; a second copy of it
   * would cost as much as sealing it.
   */
  get #isElsewhere(): boolean {
    return this.window !== undefined && this.#context.session.lease.term !== undefined
  }

  #put(block: number, bytes: Uint8Array): void {
    this.#context.cache.put(this.#writer.chunk, block, bytes)
  }
}

async function failedWith(error: unknown): Promise<ChunkOutcome> {
  return Promise.resolve({ stored: undefined, error })
}
