/**
 * What to rewrite of a window that consists of too many pieces. Pure.
 */
import type { Extent } from '../../schema/generated/common.ts'
import { coveredBytes, firstExtentAt, overlay } from '../../schema/wire/extents.ts'
import { invariant } from '../../schema/wire/invariant.ts'

/** Fewer extents than this are no burden. */
const WORTH_EXTENTS_MIN = 512
/** Bytes of a window that cost as much to rewrite as one extent costs in a commit, by CPU time. */
const BYTES_PER_EXTENT = 100

/**
 * Whether what a window's extents have cost so far pays for rewriting it. `handled` counts the extents
 * that commits went through since it was rewritten last, so all rewriting together costs no more than
 * what it saves: a short log is rewritten soon, a large window of a database rarely.
 */
export function isWorthRewriting(extents: readonly Extent[], handled: number): boolean {
  const last = extents.at(-1)
  if (last === undefined || extents.length < WORTH_EXTENTS_MIN) return false
  return handled * BYTES_PER_EXTENT >= last.offset + last.length
}

/** Bytes [from, to) of a window. */
export interface Run {
  from: number
  to: number
}

/**
 * At most `runsMax` runs, in order, that hold every byte of the extents. Neighbours are joined first;
 * when that is not enough, the smallest holes are filled with zeros.
 */
export function runsToRewrite(extents: readonly Extent[], runsMax: number): Run[] {
  invariant(runsMax >= 1, 'a window can be rewritten as one run at best')
  const runs: Run[] = []
  for (const { offset, length } of extents) {
    const last = runs.at(-1)
    if (last?.to === offset) last.to = offset + length
    else runs.push({ from: offset, to: offset + length })
  }
  if (runs.length <= runsMax) return runs
  const limit = holeLimit(runs, runs.length - runsMax)
  const joined: Run[] = []
  let toFill = runs.length - runsMax - limit.smaller
  for (const run of runs) {
    const last = joined.at(-1)
    const hole = last === undefined ? Infinity : run.from - last.to
    const fill = hole < limit.bytes || (hole === limit.bytes && toFill-- > 0)
    if (last !== undefined && fill) last.to = run.to
    else joined.push({ ...run })
  }
  return joined
}

/** Whether every byte of `before` still has an extent in `now`. */
export function covers(now: readonly Extent[], before: readonly Extent[]): boolean {
  return coveredBytes(overlay(before, now)) === coveredBytes(now)
}

/** The extents of `now` that are not, or not only, what is left of those of `before`. */
export function addedSince(before: readonly Extent[], now: readonly Extent[]): Extent[] {
  return now.filter((extent) => {
    const old = before[firstExtentAt(before, extent.offset)]
    return (
      old === undefined ||
      old.chunk !== extent.chunk ||
      old.offset - old.chunkOffset !== extent.offset - extent.chunkOffset ||
      old.offset > extent.offset ||
      old.offset + old.length < extent.offset + extent.length
    )
  })
}

/** The size of the `count`-th smallest hole, and how many are smaller than it. */
function holeLimit(runs: readonly Run[], count: number): { bytes: number; smaller: number } {
  const holes: number[] = []
  for (let index = 1; index < runs.length; index++) {
    holes.push((runs[index]?.from ?? 0) - (runs[index - 1]?.to ?? 0))
  }
  holes.sort((a, b) => a - b)
  const bytes = holes[count - 1]
  invariant(bytes !== undefined, 'as many holes as are to be filled')
  return { bytes, smaller: holes.findIndex((hole) => hole === bytes) }
}
