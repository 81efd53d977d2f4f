/**
 * The extents of one 64 MiB window, kept normalised: sorted by offset, not overlapping, neighbours
 * that continue each other in the same chunk joined. Client and metadata server both apply changes
 * with these functions and must come to the same list, whose digest the client seals.
 */
import type { Extent } from '../generated/common.ts'
import { invariant } from './invariant.ts'

/**
 * Lays `added` over `existing` (normalised), in order; later ones win. Returns a normalised list of
 * its own.
 */
export function overlay(existing: readonly Extent[], added: readonly Extent[]): Extent[] {
  const list = [...existing]
  for (const extent of added) overlayInPlace(list, extent)
  return list
}

/** Lays one extent over `list` (normalised), which it changes. */
export function overlayInPlace(list: Extent[], added: Extent): void {
  let from = firstExtentAt(list, added.offset)
  let to = from
  while (to < list.length && at(list, to).offset < end(added)) to++
  const pieces: Extent[] = []
  if (to > from) {
    const first = at(list, from)
    const last = at(list, to - 1)
    if (first.offset < added.offset) pieces.push(piece(first, first.offset, added.offset))
    pieces.push(added)
    if (end(last) > end(added)) pieces.push(piece(last, end(added), end(last)))
  } else {
    pieces.push(added)
  }
  const before = list[from - 1]
  if (before !== undefined && continues(before, at(pieces, 0))) {
    pieces.unshift(before)
    from--
  }
  const after = list[to]
  if (after !== undefined && continues(at(pieces, pieces.length - 1), after)) {
    pieces.push(after)
    to++
  }
  joinNeighbours(pieces)
  if (from === list.length) for (const extent of pieces) list.push(extent)
  else list.splice(from, to - from, ...pieces)
}

/** Index of the first extent that ends behind `offset`. */
export function firstExtentAt(extents: readonly Extent[], offset: number): number {
  let low = 0
  let high = extents.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (end(at(extents, middle)) > offset) high = middle
    else low = middle + 1
  }
  return low
}

/** Drops every byte of the window from `length` on (bytes from the window's start). */
export function truncate(existing: readonly Extent[], length: number): Extent[] {
  const kept: Extent[] = []
  for (const extent of existing) {
    if (extent.offset >= length) break
    kept.push(piece(extent, extent.offset, Math.min(end(extent), length)))
  }
  return kept
}

/** Bytes that extents cover. */
export function coveredBytes(extents: readonly Extent[]): number {
  let sum = 0
  for (const extent of extents) sum += extent.length
  return sum
}

const end = (extent: Extent): number => extent.offset + extent.length

function piece(extent: Extent, from: number, to: number): Extent {
  return {
    chunk: extent.chunk,
    offset: from,
    length: to - from,
    chunkOffset: extent.chunkOffset + (from - extent.offset),
  }
}

function at(list: readonly Extent[], index: number): Extent {
  const extent = list[index]
  invariant(extent !== undefined, 'an index of the list')
  return extent
}

/** Whether `next` goes on where `extent` ends, in the window and in the chunk. */
function continues(extent: Extent, next: Extent): boolean {
  return (
    extent.chunk === next.chunk &&
    end(extent) === next.offset &&
    extent.chunkOffset + extent.length === next.chunkOffset
  )
}

function joinNeighbours(list: Extent[]): void {
  for (let index = list.length - 1; index > 0; index--) {
    const extent = at(list, index - 1)
    const next = at(list, index)
    if (!continues(extent, next)) continue
    list.splice(index - 1, 2, { ...extent, length: extent.length + next.length })
  }
}
