/**
 * What was done to a file's content since its last commit, in layers over the committed content.
 * Pure: the arithmetic of truncation, extension and extents; no I/O.
 *
 * The last layer takes new changes; those below are frozen, each one commit under way or waiting.
 * Within a layer the order is that of a commit: truncate, then extents, then the size.
 */
import type { Extent } from '../../schema/generated/common.ts'
import { invariant } from '../../schema/wire/invariant.ts'
import { coveredBytes, overlay, overlayInPlace, truncate } from '../../schema/wire/extents.ts'
import { limits } from '../../schema/wire/limits.ts'
import type { Patch } from './patch.ts'
import type { PendingChunk } from './pending-chunk.ts'

const WINDOW_BYTES = limits.chunkBytesMax
const NO_EXTENTS: readonly Extent[] = []
/** Windows whose folded extents are kept. */
const VISIBLE_WINDOWS_MAX = 256

export interface Layer {
  /** Everything below this layer ends here at the latest; undefined when nothing was cut. */
  truncateTo: number | undefined
  /** The file is at least this long. */
  extendTo: number
  /** What of `extendTo` was asked for by a change of size, not by writing. */
  sizedTo: number
  /** Whole new content of a small file: replaces all that is below. */
  inline: Buffer | undefined
  /** One of `chunks` whose bytes go with the windows' patches and not to servers. */
  patch: Patch | undefined
  /** Milliseconds since 1970 of the last change of content; 0 when there was none. */
  changedAtMs: number
  /** Nanoseconds: an mtime that was set after the last change of content. */
  mtimeSet: bigint | undefined
  /** Normalised extents by window. */
  readonly extents: Map<number, Extent[]>
  /** Chunks that `extents` name and that no commit has named yet. */
  readonly chunks: Map<number, PendingChunk>
}

/** Bytes of a small file that a read finds below all extents. */
export interface VisibleInline {
  readonly bytes: Uint8Array
  /** Only this many of them are part of the file. */
  readonly length: number
}

function emptyLayer(): Layer {
  return {
    truncateTo: undefined,
    extendTo: 0,
    sizedTo: 0,
    inline: undefined,
    patch: undefined,
    changedAtMs: 0,
    mtimeSet: undefined,
    extents: new Map(),
    chunks: new Map(),
  }
}

function layerIsEmpty(layer: Layer): boolean {
  return layer.changedAtMs === 0
}

export class ChangeStack {
  readonly #frozen: Layer[] = []
  #current = emptyLayer()
  /** Folded extents of windows that were asked for, while base and layers stay as they are. */
  readonly #visible = new Map<number, Extent[]>()
  #currentExtents = 0

  /** The oldest frozen layer: the next to be committed. */
  get oldest(): Layer | undefined {
    return this.#frozen[0]
  }

  get frozenCount(): number {
    return this.#frozen.length
  }

  get current(): Layer {
    return this.#current
  }

  get isEmpty(): boolean {
    return this.#frozen.length === 0 && layerIsEmpty(this.#current)
  }

  /** Chunks of the current layer. */
  get currentChunks(): number {
    return this.#current.chunks.size
  }

  /** Extents that were added to the current layer. */
  get currentExtents(): number {
    return this.#currentExtents
  }

  sizeOver(baseSize: number): number {
    let size = baseSize
    for (const layer of this.#frozen) size = sizeAfter(layer, size)
    return sizeAfter(this.#current, size)
  }

  /** Nanoseconds; undefined when no layer changes it. */
  get mtime(): bigint | undefined {
    for (let index = this.#frozen.length; index >= 0; index--) {
      const layer = index === this.#frozen.length ? this.#current : this.#frozen[index]
      if (layer !== undefined && !layerIsEmpty(layer)) return mtimeOf(layer)
    }
    return undefined
  }

  /** Content was written up to `end`. */
  wrote(end: number, nowMs: number): void {
    const layer = this.#current
    if (end > layer.extendTo) layer.extendTo = end
    layer.changedAtMs = nowMs
    layer.mtimeSet = undefined
  }

  /** The file's size becomes `size`. */
  resize(size: number, nowMs: number): void {
    const layer = this.#current
    // Also when it grows: another mount may have made it longer than we know.
    layer.truncateTo = Math.min(layer.truncateTo ?? size, size)
    for (const [window, extents] of layer.extents) {
      const cut = truncate(extents, size - window * WINDOW_BYTES)
      if (cut.length === 0) layer.extents.delete(window)
      else layer.extents.set(window, cut)
    }
    dropUnnamedChunks(layer)
    this.#visible.clear()
    layer.extendTo = size
    layer.sizedTo = size
    layer.changedAtMs = nowMs
    layer.mtimeSet = undefined
  }

  /** An mtime set by the user wins over those of the changes so far. */
  setMtime(mtime: bigint): void {
    for (const layer of [...this.#frozen, this.#current]) layer.mtimeSet = mtime
  }

  /** Lays a run of `chunk`'s bytes over the file; it must lie in one window. */
  addExtent(
    position: number,
    length: number,
    chunk: PendingChunk,
    chunkOffset: number,
    nowMs: number,
  ): void {
    const window = Math.floor(position / WINDOW_BYTES)
    const offset = position - window * WINDOW_BYTES
    invariant(offset + length <= WINDOW_BYTES, 'an extent lies in one window')
    const added = { chunk: chunk.id, offset, length, chunkOffset }
    const layer = this.#current
    const extents = layer.extents.get(window)
    if (extents === undefined) layer.extents.set(window, [added])
    else overlayInPlace(extents, added)
    layer.chunks.set(chunk.id, chunk)
    this.#currentExtents++
    layer.extendTo = Math.max(layer.extendTo, position + length)
    if (layer.changedAtMs === 0) layer.changedAtMs = nowMs
    const visible = this.#visible.get(window)
    if (visible !== undefined) overlayInPlace(visible, added)
  }

  /** Whether the committed extents of `window` cannot be seen any more. */
  hidesBase(window: number): boolean {
    for (const layer of this.#frozen) if (hidesBelow(layer, window)) return true
    return hidesBelow(this.#current, window)
  }

  /** The extents of `window` as reads see them, over the committed ones. */
  visible(window: number, base: readonly Extent[]): readonly Extent[] {
    if (this.isEmpty) return base
    const known = this.#visible.get(window)
    if (known !== undefined) return known
    let list = base
    for (const layer of this.#frozen) list = extentsAfter(layer, window, list)
    // A list of its own: it grows with the current layer, and so does the layer's.
    const folded = [...extentsAfter(this.#current, window, list)]
    if (this.#visible.size >= VISIBLE_WINDOWS_MAX) this.#visible.clear()
    this.#visible.set(window, folded)
    return folded
  }

  /** To be called when the committed content changed under the layers. */
  forgetVisible(): void {
    this.#visible.clear()
  }

  /** The inline bytes that reads see where no extent is, over the committed ones. */
  visibleInline(base: Uint8Array): VisibleInline {
    let bytes = base
    let { length } = base
    for (const layer of this.#frozen) {
      if (layer.truncateTo !== undefined) length = Math.min(length, layer.truncateTo)
      if (layer.inline !== undefined) ({ length } = bytes = layer.inline)
    }
    length = Math.min(length, this.#current.truncateTo ?? length)
    return { bytes, length }
  }

  /** Whether any layer has extents: then the content cannot become inline. */
  get hasExtents(): boolean {
    if (this.#current.extents.size > 0) return true
    return this.#frozen.some((layer) => layer.extents.size > 0)
  }

  /** Closes the current layer, so that a commit can take it; false when there is nothing in it. */
  freeze(): boolean {
    if (layerIsEmpty(this.#current)) return false
    this.#frozen.push(this.#current)
    this.#begin()
    return true
  }

  /** Closes the current layer, all of whose extents name `patch`. */
  freezePatch(patch: Patch): void {
    this.#current.patch = patch
    this.freeze()
  }

  /** Puts whole new content of a small file on top; the current layer is part of it. */
  freezeInline(content: Buffer): void {
    const layer = this.#current
    this.#begin()
    layer.truncateTo = content.length
    layer.extendTo = content.length
    layer.inline = content
    this.#frozen.push(layer)
    this.#visible.clear()
  }

  /** The oldest layer is part of the committed content now, or given up. */
  dropOldest(): void {
    this.#frozen.shift()
    this.#visible.clear()
  }

  /** Forgets everything, frozen or not. */
  clear(): void {
    this.#frozen.length = 0
    this.#begin()
    this.#visible.clear()
  }

  #begin(): void {
    this.#current = emptyLayer()
    this.#currentExtents = 0
  }

  /**
   * A chunk that could not be stored: what it held is lost, what was there before shows again. A file
   * that it made longer ends where what is kept ends.
   */
  dropChunk(chunk: number): void {
    for (const layer of [...this.#frozen, this.#current]) {
      if (!layer.chunks.delete(chunk)) continue
      for (const [window, extents] of layer.extents) {
        const kept = extents.filter((extent) => extent.chunk !== chunk)
        if (kept.length === 0) layer.extents.delete(window)
        else layer.extents.set(window, kept)
      }
      // Of the current layer there may be more, which is in no chunk yet.
      if (layer !== this.#current) endAtKept(layer)
    }
    this.#visible.clear()
  }

  /** What was written and is in no chunk is given up: the file ends where what is kept ends. */
  loseUnsent(): void {
    endAtKept(this.#current)
  }

  /** Whether `chunk` is written and no commit has named it yet, and if so, how far it is. */
  pendingChunk(chunk: number): PendingChunk | undefined {
    for (const layer of this.#frozen) {
      const pending = layer.chunks.get(chunk)
      if (pending !== undefined) return pending
    }
    return this.#current.chunks.get(chunk)
  }

  get uncommittedBytes(): number {
    let sum = 0
    for (const layer of [...this.#frozen, this.#current]) {
      for (const extents of layer.extents.values()) sum += coveredBytes(extents)
    }
    return sum
  }
}

export function sizeAfter(layer: Layer, size: number): number {
  return Math.max(Math.min(size, layer.truncateTo ?? size), layer.extendTo)
}

export function mtimeOf(layer: Layer): bigint {
  return layer.mtimeSet ?? BigInt(layer.changedAtMs) * 1_000_000n
}

/** A window's extents after a layer. */
export function extentsAfter(
  layer: Layer,
  window: number,
  below: readonly Extent[],
): readonly Extent[] {
  let list = below
  if (layer.inline !== undefined) return NO_EXTENTS
  if (layer.truncateTo !== undefined) {
    const cut = layer.truncateTo - window * WINDOW_BYTES
    if (cut <= 0) list = NO_EXTENTS
    else if (cut < WINDOW_BYTES) list = truncate(list, cut)
  }
  const added = layer.extents.get(window)
  if (added === undefined) return list
  return list.length === 0 ? added : overlay(list, added)
}

function endAtKept(layer: Layer): void {
  let end = layer.sizedTo
  for (const [window, extents] of layer.extents) {
    const last = extents.at(-1)
    if (last !== undefined) end = Math.max(end, window * WINDOW_BYTES + last.offset + last.length)
  }
  layer.extendTo = end
}

function hidesBelow(layer: Layer, window: number): boolean {
  if (layer.inline !== undefined) return true
  return layer.truncateTo !== undefined && layer.truncateTo <= window * WINDOW_BYTES
}

function dropUnnamedChunks(layer: Layer): void {
  const named = new Set<number>()
  for (const extents of layer.extents.values()) {
    for (const extent of extents) named.add(extent.chunk)
  }
  for (const [id, chunk] of layer.chunks) {
    // An open chunk goes on: bytes appended later will name it again.
    if (!named.has(id) && chunk.closed) layer.chunks.delete(id)
  }
}
