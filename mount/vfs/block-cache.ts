/**
 * Opened blocks of chunks, with a budget in bytes. A chunk never changes, so what is here is right
 * for ever, whatever happens to the file.
 *
 * Blocks come in runs, as they were fetched, and a run is kept or evicted as a whole: its blocks
 * share one buffer, which no single block could free.
 */
import { LRUCache } from 'lru-cache'
import { invariant } from '../../schema/wire/invariant.ts'
import { limits } from '../../schema/wire/limits.ts'

const BLOCK_BYTES = limits.blockBytes
/** What a run costs beside its bytes: its records in two maps. */
const RUN_OVERHEAD_BYTES = 256

/** Chunk ids from here on would make two blocks share a key: refused when extents are read. */
export const CHUNK_ID_MAX = 2 ** 43 - 1

export interface BlockRun {
  readonly chunk: number
  readonly firstBlock: number
  readonly bytes: Uint8Array
}

/** One number for a block of a chunk. */
export function blockKey(chunk: number, block: number): number {
  return chunk * limits.chunkBlocksMax + block
}

/** A block's plaintext in its run. */
export function blockOf(run: BlockRun, block: number): Uint8Array {
  const start = (block - run.firstBlock) * BLOCK_BYTES
  return run.bytes.subarray(start, Math.min(start + BLOCK_BYTES, run.bytes.length))
}

export class BlockCache {
  readonly #runByBlock = new Map<number, BlockRun>()
  readonly #runs: LRUCache<BlockRun, BlockRun>

  constructor(bytesMax: number) {
    this.#runs = new LRUCache<BlockRun, BlockRun>({
      maxSize: Math.max(1, bytesMax),
      sizeCalculation: (run) => run.bytes.length + RUN_OVERHEAD_BYTES,
      dispose: (run) => {
        this.#forget(run)
      },
    })
  }

  /** Bytes held. */
  get bytes(): number {
    return this.#runs.calculatedSize
  }

  /** The run that holds a block; counts as a use. */
  get(chunk: number, block: number): BlockRun | undefined {
    const run = this.#runByBlock.get(blockKey(chunk, block))
    if (run !== undefined) this.#runs.get(run)
    return run
  }

  has(chunk: number, block: number): boolean {
    return this.#runByBlock.has(blockKey(chunk, block))
  }

  /** `run.bytes` must be whole blocks, the last one possibly short, and never change. */
  put(run: BlockRun): void {
    invariant(run.bytes.length > 0, 'a run holds at least one block')
    const end = run.firstBlock + Math.ceil(run.bytes.length / BLOCK_BYTES)
    for (let block = run.firstBlock; block < end; block++) {
      this.#runByBlock.set(blockKey(run.chunk, block), run)
    }
    this.#runs.set(run, run)
    // A run larger than the whole budget is not kept, and dispose is not told of it.
    if (!this.#runs.has(run)) this.#forget(run)
  }

  clear(): void {
    this.#runs.clear()
    this.#runByBlock.clear()
  }

  #forget(run: BlockRun): void {
    const end = run.firstBlock + Math.ceil(run.bytes.length / BLOCK_BYTES)
    for (let block = run.firstBlock; block < end; block++) {
      const key = blockKey(run.chunk, block)
      if (this.#runByBlock.get(key) === run) this.#runByBlock.delete(key)
    }
  }
}
