/**
 * Fetches blocks into the cache; those who want the same block at the same time share one request.
 */
import type { Log } from '../../schema/rpc/api.ts'
import { invariant } from '../../schema/wire/invariant.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { ChunkClient } from '../client/api.ts'
import type { InodeKey } from '../crypto/inode-key.ts'
import { blockKey, type BlockCache } from './block-cache.ts'
import type { LocatedChunk } from './chunk-locations.ts'

/** Blocks that one request asks for: 1 MiB, large enough for the round trip not to count. */
export const BLOCKS_PER_REQUEST_MAX = 16
/** Bytes on the way for readers who have not asked for them yet. */
const AHEAD_BYTES_MAX = 64 * 1_024 * 1_024

/** Blocks of one chunk, to be fetched together. */
export interface WantedBlocks {
  readonly key: InodeKey
  readonly chunk: number
  readonly firstBlock: number
  readonly blockCount: number
}

/** The blocks that a fetch brought. */
export interface FetchedBlocks {
  readonly firstBlock: number
  readonly blocks: readonly Uint8Array[]
}

export class BlockFetcher {
  readonly #chunks: ChunkClient
  readonly #cache: BlockCache
  readonly #log: Log
  readonly #underWay = new Map<number, Promise<FetchedBlocks>>()
  #aheadBytes = 0

  constructor(chunks: ChunkClient, cache: BlockCache, log: Log) {
    this.#chunks = chunks
    this.#cache = cache
    this.#log = log
  }

  /** Whether something is on the way for readers who have not asked for it yet. */
  get isAhead(): boolean {
    return this.#aheadBytes > 0
  }

  /** The fetch that will bring a block, if one is under way. */
  underWay(chunk: number, block: number): Promise<FetchedBlocks> | undefined {
    return this.#underWay.get(blockKey(chunk, block))
  }

  /** Fetches blocks that somebody waits for. */
  async fetch(wanted: WantedBlocks, located: LocatedChunk): Promise<FetchedBlocks> {
    const fetching = this.#request(wanted, located)
    for (let block = 0; block < wanted.blockCount; block++) {
      this.#underWay.set(blockKey(wanted.chunk, wanted.firstBlock + block), fetching)
    }
    try {
      const fetched = await fetching
      for (const [index, bytes] of fetched.blocks.entries()) {
        this.#cache.put(wanted.chunk, wanted.firstBlock + index, bytes)
      }
      return fetched
    } finally {
      for (let block = 0; block < wanted.blockCount; block++) {
        const key = blockKey(wanted.chunk, wanted.firstBlock + block)
        if (this.#underWay.get(key) === fetching) this.#underWay.delete(key)
      }
    }
  }

  /**
   * Fetches blocks that somebody may want; does nothing when enough is on the way. A failure is left
   * to whoever really wants the block: that fetch will fail, too, and tell.
   */
  ahead(wanted: WantedBlocks, located: LocatedChunk): void {
    const bytes = wanted.blockCount * limits.blockBytes
    if (this.#aheadBytes + bytes > AHEAD_BYTES_MAX) return
    this.#aheadBytes += bytes
    this.fetch(wanted, located)
      .catch((error: unknown) => {
        this.#log.debug({ err: error, chunk: wanted.chunk }, 'reading ahead failed')
      })
      .finally(() => {
        this.#aheadBytes -= bytes
      })
  }

  async #request(wanted: WantedBlocks, located: LocatedChunk): Promise<FetchedBlocks> {
    const { key, chunk, firstBlock, blockCount } = wanted
    invariant(blockCount > 0, 'a fetch asks for at least one block')
    const { location, servers } = located
    const blocks = await this.#chunks.readBlocks(key, location, servers, firstBlock, blockCount)
    const bytes = blocks.reduce((sum, { length }) => sum + length, 0)
    const missing = location.length - firstBlock * limits.blockBytes
    if (bytes !== Math.min(blockCount * limits.blockBytes, missing)) {
      const detail = `chunk ${chunk}: ${bytes} bytes came for ${blockCount} blocks from ${firstBlock}`
      throw new DfsError('chunkTruncated', detail)
    }
    return { firstBlock, blocks }
  }
}
