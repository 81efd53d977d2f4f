/**
 * Makes the extents of a part of a file known.
 */
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { SharedFile } from './shared-file.ts'

const WINDOW_BYTES = limits.chunkBytesMax

/** The windows that [position, position + length) lies in, in order. */
export function windowsIn(position: number, length: number): number[] {
  const windows: number[] = []
  const last = Math.floor((position + length - 1) / WINDOW_BYTES)
  for (let window = Math.floor(position / WINDOW_BYTES); window <= last; window++) {
    windows.push(window)
  }
  return windows
}

/** Asks for what is not known. Throws `notAuthentic` for what was not sealed so, and why it cannot be had. */
export async function loadWindows(
  file: SharedFile,
  position: number,
  length: number,
): Promise<void> {
  const { committed, context, path } = file
  try {
    for (const window of windowsIn(position, length)) {
      if (file.visibleExtents(window) === undefined) await committed.load(window)
    }
  } catch (error) {
    if (error instanceof DfsError && error.code === 'notAuthentic') {
      context.verifier.refused(path, error)
    }
    throw error
  }
}
