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

/** Memory of full blocks that fell out, kept for the next ones: 4 MiB. */
const SPARE_BLOCKS_MAX = 64

/** Bytes of one block that belong at one place of the reader's buffer. */
export interface Piece {
  readonly chunk: number
  readonly block: number
  /** Where they are in the block. */
  readonly from: number
  readonly length: number
  /** Where they go in the buffer. */
  readonly at: number
}

/** Copies a piece out of its block; false when the block is too short to have it. */
export function copyPiece(piece: Piece, block: Uint8Array, into: Uint8Array): boolean {
  if (piece.from + piece.length > block.length) return false
  into.set(block.subarray(piece.from, piece.from + piece.length), piece.at)
  return true
}

/**
 * Blocks are copied in and copied out, and the memory of full ones is used again: so nobody holds what is
 * overwritten, and V8 is not made to mark its heap for every few blocks that come and go.
 */
export class BlockCache {
  readonly #blocks: LRUCache<number, Uint8Array>
  readonly #spare: Uint8Array[] = []

  constructor(bytesMax: number) {
    this.#blocks = new LRUCache<number, Uint8Array>({
      maxSize: Math.max(1, bytesMax),
      sizeCalculation: (bytes) => bytes.length + BLOCK_OVERHEAD_BYTES,
      dispose: (bytes) => {
        const full = bytes.length === limits.blockBytes
        if (full && this.#spare.length < SPARE_BLOCKS_MAX) this.#spare.push(bytes)
      },
    })
  }

  /** The budget. */
  get bytesMax(): number {
    return this.#blocks.maxSize
  }

  /** Bytes held. */
  get bytes(): number {
    return this.#blocks.calculatedSize
  }

  /** Copies a piece of a block's plaintext, which counts as a use; false when it is not here. */
  copy(piece: Piece, into: Uint8Array): boolean {
    const block = this.#blocks.get(blockKey(piece.chunk, piece.block))
    return block !== undefined && copyPiece(piece, block, into)
  }

  has(chunk: number, block: number): boolean {
    return this.#blocks.has(blockKey(chunk, block))
  }

  /** Nobody will ask for this block again. */
  drop(chunk: number, block: number): void {
    this.#blocks.delete(blockKey(chunk, block))
  }

  /** Keeps a copy of a block's plaintext. */
  put(chunk: number, block: number, bytes: Uint8Array): void {
    invariant(bytes.length > 0 && bytes.length <= limits.blockBytes, 'the length of a block')
    const spare = bytes.length === limits.blockBytes ? this.#spare.pop() : undefined
    const kept = spare ?? Buffer.allocUnsafeSlow(bytes.length)
    kept.set(bytes)
    this.#blocks.set(blockKey(chunk, block), kept)
  }

  clear(): void {
    this.#blocks.clear()
    this.#spare.length = 0
  }
}
