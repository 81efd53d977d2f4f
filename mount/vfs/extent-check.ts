/**
 * Checks extents that a server gave, before any arithmetic is done with them. Pure.
 */
import type { Extent } from '../../schema/generated/common.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { CHUNK_ID_MAX } from './block-cache.ts'

/** The extents, if they are a normalised list of one window; throws `notAuthentic` if not. */
export function checkedExtents(window: number, extents: Extent[]): Extent[] {
  let end = 0
  for (const { chunk, offset, length, chunkOffset } of extents) {
    const sound =
      offset >= end &&
      length > 0 &&
      offset + length <= limits.chunkBytesMax &&
      chunkOffset + length <= limits.chunkBytesMax &&
      chunk >= 1 &&
      chunk <= CHUNK_ID_MAX
    if (!sound) {
      const detail = `window ${window}: ${length} bytes at ${offset} in chunk ${chunk} cannot be`
      throw new DfsError('notAuthentic', detail)
    }
    end = offset + length
  }
  return extents
}
