/**
 * Checks extents that a server gave, before any arithmetic is done with them. Pure.
 */
import type { Extent } from '../../schema/generated/common.ts'
import type { ReadWindowsResponse, Window } from '../../schema/generated/metadata.ts'
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

/** The windows of an answer by index, if all are of [first, first + count); throws `notAuthentic` if not. */
export function checkedWindows(
  response: ReadWindowsResponse,
  first: number,
  count: number,
): Map<number, Window> {
  const windows = new Map<number, Window>()
  for (const { index, extents, patch } of response.windows) {
    if (index < first || index >= first + count || windows.has(index)) {
      throw new DfsError('notAuthentic', `window ${index} was not asked for`)
    }
    if (extents.length + patch.length === 0) continue
    windows.set(index, { index, extents: checkedExtents(index, extents), patch })
  }
  return windows
}
