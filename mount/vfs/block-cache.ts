/**
 * Opened blocks of chunks, with a budget in bytes. A chunk never changes, so what is here is right
 * for ever, whatever happens to the file.
 */
import { LRUCache } from 'lru-cache'
import { invariant } from '../../schema/wire/invariant.ts'
import { limits } from '../../schema/wire/limits.ts'

/** What a block costs beside its bytes: its place in a map and a list. */
const BLOCK_OVERHEAD_BYTES = 256

/** Chunk ids from here on would make two blocks share a key: refused when extents are read. */
export const CHUNK_ID_MAX = 2 ** 43 - 1

/** One number for a block of a chunk. */
export function blockKey(chunk: number, block: number): number {
  return chunk * limits.chunkBlocksMax + block
}

export class BlockCache {
  readonly #blocks: LRUCache<number, Uint8Array>

  constructor(bytesMax: number) {
    this.#blocks = new LRUCache<number, Uint8Array>({
      maxSize: Math.max(1, bytesMax),
      sizeCalculation: (bytes) => bytes.length + BLOCK_OVERHEAD_BYTES,
    })
  }

  /** Bytes held. */
  get bytes(): number {
    return this.#blocks.calculatedSize
  }

  /** A block's plaintext; counts as a use. */
  get(chunk: number, block: number): Uint8Array | undefined {
    return this.#blocks.get(blockKey(chunk, block))
  }

  has(chunk: number, block: number): boolean {
    return this.#blocks.has(blockKey(chunk, block))
  }

  /** Keeps `bytes`, which never change from now on; their memory must hold nothing else. */
  put(chunk: number, block: number, bytes: Uint8Array): void {
    invariant(bytes.length > 0 && bytes.length <= limits.blockBytes, 'the length of a block')
    this.#blocks.set(blockKey(chunk, block), bytes)
  }

  clear(): void {
    this.#blocks.clear()
  }
}
