/**
 * A window's patch: small writes that the metadata server keeps, sealed, with the window, so that an
 * `fsync` of a few bytes costs one request and no chunk. It lies over the window's extents. Pure.
 *
 * In memory its bytes are as good as a chunk that this mount is still writing: extents name it by a
 * negative number, which no chunk has, and reads find its bytes here. No such extent leaves the mount.
 *
 * Its plain form: u16 count, then for each run, in order, u32 offset in the window and u32 length, then
 * the bytes of all runs; little-endian.
 */
import type { Extent } from '../../schema/generated/common.ts'
import { NO_PATCH } from '../../schema/wire/content.ts'
import { coveredBytes, overlay, truncate } from '../../schema/wire/extents.ts'
import { invariant } from '../../schema/wire/invariant.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { InodeKey } from '../crypto/inode-key.ts'
import type { ChunkOutcome, PendingChunk } from './pending-chunk.ts'

const COUNT_BYTES = 2
const RUN_BYTES = 8

let lastId = 0

export class Patch implements PendingChunk {
  readonly id: number
  readonly closed = true
  /** A patch is no chunk: nobody stores it by itself. */
  readonly outcome: Promise<ChunkOutcome> | undefined = undefined
  /** Normalised; all of them name {@link id}. */
  readonly extents: readonly Extent[]
  readonly #bytes: Buffer

  private constructor(id: number, extents: readonly Extent[], bytes: Buffer) {
    this.id = id
    this.extents = extents
    this.#bytes = bytes
  }

  /** What `extents` show of `sources`, as a patch of its own; undefined when that is nothing. */
  static of(extents: readonly Extent[], sources: readonly Patch[]): Patch | undefined {
    const shown = extents.filter(({ chunk }) => sources.some(({ id }) => id === chunk))
    if (shown.length === 0) return undefined
    const id = --lastId
    const bytes = Buffer.allocUnsafe(coveredBytes(shown))
    const placed: Extent[] = []
    let at = 0
    for (const { chunk, offset, length, chunkOffset } of shown) {
      const source = sources.find((one) => one.id === chunk)
      invariant(source !== undefined, 'only what sources have is shown')
      source.#bytes.copy(bytes, at, chunkOffset, chunkOffset + length)
      placed.push({ chunk: id, offset, length, chunkOffset: at })
      at += length
    }
    return new Patch(id, overlay([], placed), bytes)
  }

  /** Bytes in hand, without places: for runs that are laid into layers. At most `patchBytesMax`. */
  static ofBytes(bytes: Buffer): Patch {
    return new Patch(--lastId, [], bytes)
  }

  /** Opens the patch of a window. Throws `notAuthentic`. */
  static open(key: InodeKey, window: number, sealed: Uint8Array): Patch | undefined {
    if (sealed.length === 0) return undefined
    const plain = key.openPatch(window, sealed)
    const count = plain.length < COUNT_BYTES ? 0 : plain.readUInt16LE(0)
    const start = COUNT_BYTES + count * RUN_BYTES
    if (count === 0 || start > plain.length) throw malformed(window)
    const id = --lastId
    const extents: Extent[] = []
    let end = 0
    let at = 0
    for (let run = COUNT_BYTES; run < start; run += RUN_BYTES) {
      const offset = plain.readUInt32LE(run)
      const length = plain.readUInt32LE(run + 4)
      if (offset < end || length === 0) throw malformed(window)
      extents.push({ chunk: id, offset, length, chunkOffset: at })
      end = offset + length
      at += length
    }
    if (end > limits.chunkBytesMax || start + at !== plain.length) throw malformed(window)
    return new Patch(id, extents, plain.subarray(start))
  }

  openBlock(block: number): Uint8Array | undefined {
    return block === 0 ? this.#bytes : undefined
  }

  /** The bytes of one of its extents. */
  bytesOf({ length, chunkOffset }: Extent): Buffer {
    return this.#bytes.subarray(chunkOffset, chunkOffset + length)
  }

  /** Bytes of its plain form. */
  get plainBytes(): number {
    return COUNT_BYTES + this.extents.length * RUN_BYTES + coveredBytes(this.extents)
  }

  seal(key: InodeKey, window: number): Buffer {
    invariant(this.plainBytes <= limits.patchBytesMax, 'a patch that is sealed is small')
    const plain = Buffer.allocUnsafe(this.plainBytes)
    let run = plain.writeUInt16LE(this.extents.length)
    let at = run + this.extents.length * RUN_BYTES
    for (const extent of this.extents) {
      run = plain.writeUInt32LE(extent.offset, run)
      run = plain.writeUInt32LE(extent.length, run)
      at += this.bytesOf(extent).copy(plain, at)
    }
    return key.sealPatch(window, plain)
  }
}

/** Bytes of the plain form of a patch of so many bytes in so many runs, at most. */
export function patchBytes(bytes: number, runs: number): number {
  return COUNT_BYTES + runs * RUN_BYTES + bytes
}

/**
 * A window's patch after a layer: what is left of `below` when the window is cut at `cut`, and what
 * `added` names of `own`, where it is not covered by other extents of `added`.
 */
export function patchAfter(
  below: Patch | undefined,
  cut: number,
  added: readonly Extent[],
  own: Patch | undefined,
): Patch | undefined {
  if (below === undefined && own === undefined) return undefined
  const sources = [below, own].filter((patch) => patch !== undefined)
  return Patch.of(overlay(truncate(below?.extents ?? [], cut), added), sources)
}

/** A patch as the server keeps it; nothing for none. */
export function sealedPatch(patch: Patch | undefined, key: InodeKey, window: number): Uint8Array {
  return patch?.seal(key, window) ?? NO_PATCH
}

function malformed(window: number): DfsError {
  return new DfsError('notAuthentic', `the patch of window ${window} is no list of runs`)
}
