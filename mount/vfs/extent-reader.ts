/**
 * From extents to bytes: which pieces of which blocks a range of a window consists of, what of it the
 * cache has, and fetching the rest.
 */
import type { Extent } from '../../schema/generated/common.ts'
import { firstExtentAt } from '../../schema/wire/extents.ts'
import { limits } from '../../schema/wire/limits.ts'
import { copyPiece, type Piece } from './block-cache.ts'
import { BLOCKS_PER_REQUEST_MAX, type BlockFetcher, type FetchedBlocks } from './block-fetcher.ts'
import type { LocatedChunk } from './chunk-locations.ts'
import type { InodeKey } from '../crypto/inode-key.ts'

const BLOCK_BYTES = limits.blockBytes

/**
 * Calls `onPiece` for each piece that the extents have of [from, to) of their window, in order.
 * `at` is where byte `from` goes in the buffer.
 */
export function eachPiece(
  extents: readonly Extent[],
  { from, to, at }: { from: number; to: number; at: number },
  onPiece: (piece: Piece) => void,
): void {
  for (let index = firstExtentAt(extents, from); index < extents.length; index++) {
    const extent = extents[index]
    if (extent === undefined || extent.offset >= to) return
    let offset = Math.max(from, extent.offset)
    const end = Math.min(to, extent.offset + extent.length)
    while (offset < end) {
      const inChunk = extent.chunkOffset + offset - extent.offset
      const inBlock = inChunk % BLOCK_BYTES
      const length = Math.min(BLOCK_BYTES - inBlock, end - offset)
      const block = (inChunk - inBlock) / BLOCK_BYTES
      onPiece({ chunk: extent.chunk, block, from: inBlock, length, at: at + offset - from })
      offset += length
    }
  }
}

export interface PieceSource {
  readonly fetcher: BlockFetcher
  readonly key: InodeKey
  /** Where a chunk is, or undefined when the extents are out of date and must be asked for again. */
  locate(chunk: number): Promise<LocatedChunk | undefined>
}

/**
 * Fetches pieces and copies them in. False when a chunk could not be located or was shorter than its
 * extents say: then the extents must be asked for again. Throws what the fetches throw.
 */
export async function fetchPieces(
  source: PieceSource,
  pieces: readonly Piece[],
  into: Uint8Array,
): Promise<boolean> {
  const fetches: Promise<FetchedBlocks>[] = []
  for (let index = 0; index < pieces.length; index = fetches.length) {
    const piece = pieces[index]
    if (piece === undefined) break
    const shared = source.fetcher.underWay(piece.chunk, piece.block)
    if (shared !== undefined) {
      fetches.push(shared)
      continue
    }
    const located = await source.locate(piece.chunk)
    if (located === undefined) return false
    const count = fetchable(source.fetcher, pieces, index)
    const last = pieces[index + count - 1] ?? piece
    const fetching = source.fetcher.fetch(
      {
        key: source.key,
        chunk: piece.chunk,
        firstBlock: piece.block,
        blockCount: last.block - piece.block + 1,
      },
      located,
    )
    // Awaited below; another one may fail first, and then nobody asks how this one ended.
    fetching.catch(() => undefined)
    for (let repeat = 0; repeat < count; repeat++) fetches.push(fetching)
  }
  for (const [index, fetching] of fetches.entries()) {
    const { firstBlock, blocks } = await fetching
    const piece = pieces[index]
    const block = piece === undefined ? undefined : blocks[piece.block - firstBlock]
    if (piece === undefined || block === undefined || !copyPiece(piece, block, into)) return false
  }
  return true
}

/** How many pieces from `start` on one request can bring: neighbours that nobody fetches yet. */
function fetchable(fetcher: BlockFetcher, pieces: readonly Piece[], start: number): number {
  const first = pieces[start]
  if (first === undefined) return 0
  let last = first
  let count = 1
  for (let index = start + 1; index < pieces.length; index++) {
    const next = pieces[index]
    if (next === undefined || next.chunk !== first.chunk) break
    if (next.block < last.block || next.block > last.block + 1) break
    if (next.block - first.block >= BLOCKS_PER_REQUEST_MAX) break
    if (next.block !== last.block && fetcher.underWay(next.chunk, next.block) !== undefined) break
    last = next
    count++
  }
  return count
}
