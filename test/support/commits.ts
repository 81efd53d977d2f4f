/**
 * Commits of content as a client would send them, for tests of the metadata server.
 */
import type { Extent } from '../../schema/generated/common.ts'
import type { CommitRequest, NewChunk } from '../../schema/generated/metadata.ts'
import { windowDigest } from '../../schema/wire/content.ts'
import { attributes, NO_BYTES } from './metadata.ts'

export const extent = (chunk: number, offset: number, length: number, chunkOffset = 0): Extent => ({
  chunk,
  offset,
  length,
  chunkOffset,
})

/** What a commit changes; `after` are a window's extents when they are others than those laid over it. */
export interface Change {
  readonly size: number
  readonly version: number
  readonly windows?: readonly {
    readonly index: number
    readonly extents: Extent[]
    readonly after?: Extent[]
    readonly patch?: Uint8Array
  }[]
  readonly chunks?: NewChunk[]
  readonly truncateTo?: number
  readonly more?: Partial<CommitRequest>
}

export function commitOf(inode: number, change: Change): Omit<CommitRequest, 'operation'> {
  const { size, version, windows = [], chunks = [], truncateTo, more } = change
  return {
    inode,
    attributes: attributes(1, { size, version }),
    truncates: truncateTo !== undefined,
    truncateTo: truncateTo ?? 0,
    windows: windows.map(({ index, extents, after, patch = NO_BYTES }) => ({
      index,
      extents,
      digest: windowDigest(after ?? extents, patch),
      patch,
    })),
    chunks,
    inline: NO_BYTES,
    ...more,
  }
}
