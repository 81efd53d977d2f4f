/**
 * The extents of one 64 MiB window, kept normalised: sorted by offset, not overlapping, neighbours
 * that continue each other in the same chunk joined. Client and metadata server both apply changes
 * with these functions and must come to the same list, whose digest the client seals.
 */
import type { Extent } from '../generated/common.ts'

/** Lays `added` over `existing` (normalised), in order; later ones win. Returns a normalised list. */
export function overlay(existing: readonly Extent[], added: readonly Extent[]): Extent[] {
  let list: readonly Extent[] = existing
  for (const extent of added) list = overlayOne(list, extent)
  return joined(list)
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

function overlayOne(existing: readonly Extent[], added: Extent): Extent[] {
  const from = added.offset
  const to = end(added)
  const out: Extent[] = []
  let placed = false
  for (const extent of existing) {
    if (!placed && extent.offset >= from) {
      out.push(added)
      placed = true
    }
    if (end(extent) <= from || extent.offset >= to) {
      out.push(extent)
      continue
    }
    if (extent.offset < from) out.push(piece(extent, extent.offset, from))
    if (!placed) {
      out.push(added)
      placed = true
    }
    if (end(extent) > to) out.push(piece(extent, to, end(extent)))
  }
  if (!placed) out.push(added)
  return out
}

function joined(list: readonly Extent[]): Extent[] {
  const out: Extent[] = []
  for (const extent of list) {
    const last = out.at(-1)
    if (
      last !== undefined &&
      last.chunk === extent.chunk &&
      end(last) === extent.offset &&
      last.chunkOffset + last.length === extent.chunkOffset
    ) {
      out[out.length - 1] = { ...last, length: last.length + extent.length }
    } else {
      out.push(extent)
    }
  }
  return out
}
