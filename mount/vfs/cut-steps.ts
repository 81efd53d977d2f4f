/**
 * A cut that takes more windows off a file than one commit may goes in steps, from the file's end.
 * Pure.
 */
import { limits } from '../../schema/wire/limits.ts'
import type { Manifest } from './manifest.ts'

/**
 * Where to cut first on the way to `truncateTo`, in bytes, a bound of windows; undefined when one
 * commit can cut at once. The manifest is that of the content before the cut.
 */
export function firstCut(manifest: Manifest, truncateTo: number): number | undefined {
  // Content that is cut to nothing is taken apart by the server.
  if (truncateTo === 0) return undefined
  const kept = Math.ceil(truncateTo / limits.chunkBytesMax)
  const cut = [...manifest.keys()].filter((window) => window >= kept)
  if (cut.length <= limits.windowsCutMax) return undefined
  const [first] = cut.sort((a, b) => a - b).slice(-limits.windowsCutMax)
  return first === undefined ? undefined : first * limits.chunkBytesMax
}
