/**
 * Patches that have become too large for their windows: their bytes go to a chunk, which the layer that
 * made them so names in their place.
 */
import type { Extent } from '../../schema/generated/common.ts'
import { overlay } from '../../schema/wire/extents.ts'
import { limits } from '../../schema/wire/limits.ts'
import type { Layer } from './change-stack.ts'
import { ChunkPacker } from './chunk-packer.ts'
import { patchAfter, type Patch } from './patch.ts'
import type { SharedFile } from './shared-file.ts'

const NO_EXTENTS: readonly Extent[] = []

/** What a layer lays over a window. */
export interface Added {
  /** Extents of chunks. */
  readonly stored: readonly Extent[]
  /** Those that name the layer's own patch. */
  readonly own: readonly Extent[]
}

export function addedTo({ extents, patch }: Layer, window: number): Added {
  const added = extents.get(window) ?? NO_EXTENTS
  if (patch === undefined) return { stored: added, own: NO_EXTENTS }
  return {
    stored: added.filter(({ chunk }) => chunk !== patch.id),
    own: added.filter(({ chunk }) => chunk === patch.id),
  }
}

/** The patch of a loaded window after `added` of a layer. */
export function patchOf(
  file: SharedFile,
  layer: Layer,
  window: number,
  { stored, own }: Added,
): Patch | undefined {
  const cut =
    layer.truncateTo === undefined ? Infinity : layer.truncateTo - window * limits.chunkBytesMax
  const below = file.committed.stored(window)?.patch
  return patchAfter(below, cut, [...stored, ...own], layer.patch)
}

/** Those of `windows`, all loaded, whose patch after the layer would be too large. */
export function largePatches(
  file: SharedFile,
  layer: Layer,
  windows: readonly number[],
): Map<number, Patch> {
  const large = new Map<number, Patch>()
  for (const window of windows) {
    const patch = patchOf(file, layer, window, addedTo(layer, window))
    if (patch !== undefined && patch.plainBytes > limits.patchBytesMax) large.set(window, patch)
  }
  return large
}

/** Begins a chunk of what `patches` hold and makes it part of the layer. Throws why there is none. */
export async function foldPatches(
  file: SharedFile,
  layer: Layer,
  patches: ReadonlyMap<number, Patch>,
): Promise<void> {
  const packer = await ChunkPacker.begin(file.context, file.committed.key, () => undefined)
  const folded = new Map<number, Extent[]>()
  try {
    for (const [window, patch] of patches) {
      const extents: Extent[] = []
      for (const extent of patch.extents) {
        extents.push({ ...extent, chunk: packer.id, chunkOffset: packer.length })
        await packer.append(Buffer.from(patch.bytesOf(extent)))
      }
      folded.set(window, extents)
    }
  } catch (error) {
    packer.fail(error)
    throw error
  }
  packer.close()
  for (const [window, extents] of folded) {
    layer.extents.set(window, overlay(extents, addedTo(layer, window).stored))
  }
  layer.chunks.set(packer.id, packer)
  const { patch } = layer
  const named = [...layer.extents.values()].flat()
  if (patch !== undefined && named.every(({ chunk }) => chunk !== patch.id)) {
    layer.chunks.delete(patch.id)
    layer.patch = undefined
  }
  file.changes.forgetVisible()
}
