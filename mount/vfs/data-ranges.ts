/**
 * Where a file has data and where it has none, for SEEK_DATA and SEEK_HOLE of lseek(2). What was written is
 * data, saved or not, to the byte; all else up to the end is a hole, and so is the end itself.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { firstExtentAt } from '../../schema/wire/extents.ts'
import { limits } from '../../schema/wire/limits.ts'
import type { ByteRange } from './dirty-ranges.ts'
import { loadWindows } from './load-windows.ts'
import type { SharedFile } from './shared-file.ts'

const WINDOW_BYTES = limits.chunkBytesMax
/** Windows without data that are passed before others have their turn: a sparse file may have 262,144. */
const EMPTY_WINDOWS_IN_A_ROW = 8_192

/** The first byte of data at `position` or behind it; undefined when there is none up to the end. */
export async function seekData(file: SharedFile, position: number): Promise<number | undefined> {
  const data = await dataFrom(file, position)
  return data?.from
}

/** The first byte of a hole at `position` or behind it; undefined for a position at the end or behind. */
export async function seekHole(file: SharedFile, position: number): Promise<number | undefined> {
  if (position >= file.size) return undefined
  for (let at = position; at < file.size;) {
    const data = await dataFrom(file, at)
    if (data === undefined || data.from > at) return at
    at = data.to
  }
  return file.size
}

/** A run of data at `position`, or the first one behind it; more may follow without a gap. */
async function dataFrom(file: SharedFile, position: number): Promise<ByteRange | undefined> {
  let passed = 0
  for (let at = position; at < file.size; at = windowEnd(at)) {
    if (file.visibleExtents(Math.floor(at / WINDOW_BYTES)) === undefined) {
      await loadWindows(file, at, 1)
    }
    const data = dataInWindow(file, at)
    if (data !== undefined) return data.from < file.size ? data : undefined
    if (++passed % EMPTY_WINDOWS_IN_A_ROW === 0) await turn()
  }
  return undefined
}

/** The same within the window of `position`, whose extents are known. */
function dataInWindow(file: SharedFile, position: number): ByteRange | undefined {
  const window = Math.floor(position / WINDOW_BYTES)
  const start = window * WINDOW_BYTES
  const end = windowEnd(position)
  const extents = file.visibleExtents(window) ?? []
  const extent = extents[firstExtentAt(extents, position - start)]
  const inline = file.visibleInline().length
  let found: ByteRange | undefined
  const consider = (from: number, to: number): void => {
    const clipped = { from: Math.max(from, position), to: Math.min(to, end) }
    if (clipped.from >= clipped.to) return
    if (found === undefined || clipped.from < found.from) found = clipped
  }
  const dirty = file.dirty.from(position)
  if (dirty !== undefined) consider(dirty.from, dirty.to)
  if (extent !== undefined) consider(start + extent.offset, start + extent.offset + extent.length)
  consider(0, inline)
  return found
}

function windowEnd(position: number): number {
  return (Math.floor(position / WINDOW_BYTES) + 1) * WINDOW_BYTES
}
