/**
 * Reading a file: at once from what is in memory, else from the chunkservers.
 *
 * A read sees every write that was done before it started, committed or not: bytes not yet in a
 * chunk are copied first, then only what lies between them is looked up.
 */
import type { Extent } from '../../schema/generated/common.ts'
import { firstExtentAt } from '../../schema/wire/extents.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { BLOCKS_PER_REQUEST_MAX } from './block-fetcher.ts'
import type { LocatedChunk } from './chunk-locations.ts'
import { copyPiece, type Piece } from './block-cache.ts'
import { eachPiece, fetchPieces } from './extent-reader.ts'
import { loadWindows, windowsIn } from './load-windows.ts'
import type { ReadAhead } from './read-ahead.ts'
import { AROUND_BYTES, ReadAround } from './read-around.ts'
import type { SharedFile } from './shared-file.ts'

const WINDOW_BYTES = limits.chunkBytesMax
/** How often a read looks at the extents again before it fails. */
const ATTEMPTS_MAX = 4
/** Blocks that a place brings along: some more than its bytes fill, for extents that share no block. */
const AROUND_BLOCKS_MAX = 2 * (AROUND_BYTES / limits.blockBytes)
/** How many of these may follow a failed fetch: tickets expire, replicas move. */
const FAILURES_MAX = 1

export class FileReader {
  readonly #file: SharedFile
  /** Makes written chunks part of the file, so that they can be read from their servers. */
  readonly #commit: () => Promise<void>
  readonly #around = new ReadAround()

  constructor(file: SharedFile, commit: () => Promise<void>) {
    this.#file = file
    this.#commit = commit
  }

  /** Fills `into` from `position`; bytes read, a number when all of them were in memory. */
  read(into: Uint8Array, position: number, ahead: ReadAhead): number | Promise<number> {
    const length = Math.min(into.length, this.#file.size - position)
    if (length <= 0) return 0
    const end = position + length
    const until = ahead.advance(position, end)
    const missing = this.#fill(into, position, length)
    if (missing?.length === 0) {
      if (until > end) this.#fetchAhead(end, until)
      if (ahead.isSequential) this.#passOn(position, end)
      return length
    }
    // Starting with the bytes asked for, so that they come with the first large request.
    if (until > end) this.#fetchAhead(position, until)
    const outcome = this.#readSlow(into, position, length, ahead.isSequential)
    if (!ahead.isSequential) this.#fetchAround(position)
    return outcome
  }

  /** Starts fetching all of a small file; resolves when it is known where it is. */
  async readAhead(): Promise<void> {
    const { size } = this.#file
    await loadWindows(this.#file, 0, size)
    this.#fetchAhead(0, size)
  }

  async #readSlow(
    into: Uint8Array,
    position: number,
    length: number,
    isSequential: boolean,
  ): Promise<number> {
    let failures = 0
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      await loadWindows(this.#file, position, length)
      const missing = this.#fill(into, position, length)
      if (missing === undefined) continue
      if (missing.length === 0) return length
      try {
        if (await this.#fetch(missing, into)) {
          if (isSequential) this.#passOn(position, position + length)
          return length
        }
      } catch (error) {
        if (!(error instanceof DfsError)) throw error
        if (++failures > FAILURES_MAX) throw this.#failed(error, missing)
        await this.#reloadWindows(position, length)
      }
    }
    throw this.#failed(new DfsError('versionConflict', 'the file changes too fast'), [])
  }

  /**
   * While nobody else can change the tree, the kernel keeps what a sequential reader was given and will not ask
   * for it again. So its memory is used for what comes next: a large file read once needs little, and leaves
   * the cache to those who jump about.
   */
  #passOn(from: number, to: number): void {
    const { context } = this.#file
    if (context.session.lease.term === undefined) return
    for (let at = from; at < to;) {
      const window = Math.floor(at / WINDOW_BYTES)
      const windowStart = window * WINDOW_BYTES
      const end = Math.min(to, windowStart + WINDOW_BYTES)
      const extents = this.#file.visibleExtents(window) ?? []
      eachPiece(extents, { from: at - windowStart, to: end - windowStart, at: 0 }, (piece) => {
        const isWhole = piece.from + piece.length === limits.blockBytes
        if (isWhole) context.cache.drop(piece.chunk, piece.block)
      })
      at = end
    }
  }

  /**
   * Copies what is in memory. Returns the pieces that are not, or undefined when not even the extents
   * are known.
   */
  #fill(into: Uint8Array, position: number, length: number): Piece[] | undefined {
    const { dirty } = this.#file
    const missing: Piece[] = []
    if (!dirty.touches(position, length)) {
      return this.#fillRange(into, position, position, position + length, missing)
        ? missing
        : undefined
    }
    for (const { from, to } of dirty.gaps(position, length)) {
      if (!this.#fillRange(into, position, from, to, missing)) return undefined
    }
    dirty.copyInto(into, 0, position, length)
    return missing
  }

  /** [from, to) of the file, below what is dirty; `start` is the position of `into`'s first byte. */
  #fillRange(into: Uint8Array, start: number, from: number, to: number, missing: Piece[]): boolean {
    for (let at = from; at < to;) {
      const window = Math.floor(at / WINDOW_BYTES)
      const windowStart = window * WINDOW_BYTES
      const end = Math.min(to, windowStart + WINDOW_BYTES)
      const extents = this.#file.visibleExtents(window)
      if (extents === undefined) return false
      const range = { from: at - windowStart, to: end - windowStart, at: at - start }
      if (!coversAll(extents, range.from, range.to)) this.#fillHoles(into, start, at, end)
      eachPiece(extents, range, (piece) => {
        if (!this.#copyCached(piece, into)) missing.push(piece)
      })
      at = end
    }
    return true
  }

  /** What no extent covers: zeros, or the bytes of a small file. */
  #fillHoles(into: Uint8Array, start: number, from: number, to: number): void {
    into.fill(0, from - start, to - start)
    const { bytes, length } = this.#file.visibleInline()
    if (from < length) into.set(bytes.subarray(from, Math.min(to, length)), from - start)
  }

  #copyCached(piece: Piece, into: Uint8Array): boolean {
    if (this.#file.context.cache.copy(piece, into)) return true
    const open = this.#file.pendingChunk(piece.chunk)?.openBlock(piece.block)
    return open !== undefined && copyPiece(piece, open, into)
  }

  async #fetch(missing: readonly Piece[], into: Uint8Array): Promise<boolean> {
    const { context, committed } = this.#file
    const source = {
      fetcher: context.fetcher,
      key: committed.key,
      locate: async (chunk: number) => this.#locate(chunk),
    }
    return fetchPieces(source, missing, into)
  }

  async #locate(chunk: number): Promise<LocatedChunk | undefined> {
    const { locations } = this.#file.context
    const known = locations.get(chunk)
    if (known !== undefined) return known
    if (this.#file.pendingChunk(chunk) !== undefined) {
      await this.#commit()
      return locations.get(chunk)
    }
    const window = this.#file.committed.windowNaming(chunk)
    if (window !== undefined) await this.#file.committed.reload(window)
    return locations.get(chunk)
  }

  async #reloadWindows(position: number, length: number): Promise<void> {
    for (const window of windowsIn(position, length)) {
      if (!this.#file.changes.hidesBase(window)) await this.#file.committed.reload(window)
    }
  }

  /** Starts fetching what lies around a place that was missing, one after the other in the whole mount. */
  #fetchAround(position: number): void {
    const { context, size } = this.#file
    if (context.fetcher.isAhead) return
    const from = this.#around.missed(position, size, context.cache.bytesMax)
    if (from !== undefined) this.#fetchAhead(from, from + AROUND_BYTES, AROUND_BLOCKS_MAX)
  }

  /**
   * Starts fetching what is missing of [from, to), as far as its extents and places are known; at most
   * `blocksMax`, many more than the bytes would need where the file is in small pieces.
   */
  #fetchAhead(from: number, to: number, blocksMax = Infinity): void {
    const { context, committed } = this.#file
    let left = blocksMax
    const end = Math.min(to, this.#file.size)
    for (let at = from; at < end;) {
      const window = Math.floor(at / WINDOW_BYTES)
      const windowStart = window * WINDOW_BYTES
      const stop = Math.min(end, windowStart + WINDOW_BYTES)
      const extents = this.#file.visibleExtents(window)
      if (extents === undefined) return
      let first = -1
      let count = 0
      let chunk = 0
      const send = (): void => {
        const located = count > 0 ? context.locations.get(chunk) : undefined
        if (located === undefined || count > left) return
        left -= count
        const wanted = { key: committed.key, chunk, firstBlock: first, blockCount: count }
        context.fetcher.ahead(wanted, located)
      }
      eachPiece(extents, { from: at - windowStart, to: stop - windowStart, at: 0 }, (piece) => {
        if (piece.chunk === chunk && piece.block === first + count - 1) return
        const continues = piece.chunk === chunk && piece.block === first + count
        const idle =
          !context.cache.has(piece.chunk, piece.block) &&
          context.fetcher.underWay(piece.chunk, piece.block) === undefined &&
          this.#file.pendingChunk(piece.chunk) === undefined
        if (continues && idle && count < BLOCKS_PER_REQUEST_MAX) {
          count++
          return
        }
        send()
        chunk = piece.chunk
        first = piece.block
        count = idle ? 1 : 0
      })
      send()
      at = stop
    }
  }

  #failed(error: DfsError, missing: readonly Piece[]): DfsError {
    const chunks = [...new Set(missing.map((piece) => piece.chunk))]
    const { id, path } = this.#file
    this.#file.context.log.error(
      { inode: id, path, chunks, code: error.code, cause: error.message },
      'file content cannot be read',
    )
    // Whatever the servers said, to the application the content is out of reach.
    const code = error.errno === 'EIO' ? error.code : 'chunkMissing'
    return new DfsError(code, `${path} (inode ${id}): ${error.message}`, { cause: error })
  }
}

/** Whether the extents leave no hole in [from, to). */
function coversAll(extents: readonly Extent[], from: number, to: number): boolean {
  let at = from
  for (let index = firstExtentAt(extents, from); at < to; index++) {
    const extent = extents[index]
    if (extent === undefined || extent.offset > at) return false
    at = extent.offset + extent.length
  }
  return true
}
