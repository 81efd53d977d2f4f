/**
 * Commits one layer of changes: waits for its chunks, then tells the metadata server, which makes
 * them part of the file at once, under a new seal.
 *
 * A commit names the version it builds on. When somebody else was faster, the layer is laid over
 * what they made and sent again. A layer that is more than one request may hold goes in portions,
 * each a valid file of its own. The first one of a file that the server does not know yet is its birth.
 */
import type { Attributes, Extent, Inode } from '../../schema/generated/common.ts'
import type { NewChunk, WindowChange } from '../../schema/generated/metadata.ts'
import { manifestDigest, NO_PATCH, windowDigest } from '../../schema/wire/content.ts'
import { invariant } from '../../schema/wire/invariant.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { extentsAfter, mtimeOf, sizeAfter, type Layer } from './change-stack.ts'
import { FULL_WINDOWS_KEPT, type StoredWindow } from './committed-content.ts'
import type { Compactor } from './compaction.ts'
import { Conflicts } from './conflicts.ts'
import { firstCut } from './cut-steps.ts'
import { digestOf, manifestBytes, type Manifest } from './manifest.ts'
import { mayPass } from './passing-failure.ts'
import { addedTo, foldPatches, largePatches, patchOf } from './patch-fold.ts'
import { sealedPatch, type Patch } from './patch.ts'
import { send, type CommitBody } from './send-commit.ts'
import type { SharedFile } from './shared-file.ts'
import type { UnbornFiles } from './unborn-files.ts'

const WINDOW_BYTES = limits.chunkBytesMax
const NO_BYTES = new Uint8Array(0)

/** What one commit request does, and what is then known. */
interface Portion {
  readonly body: CommitBody
  readonly manifest: Manifest
  readonly windows: Map<number, StoredWindow>
  /** Extents that have to wait for the next portion, by window. */
  readonly rest: Map<number, readonly Extent[]>
}

/**
 * Commits `layer`, the oldest of the file; to be called while holding the file's `versions`. Chunks
 * that could not be stored are reported on the file and left out. Throws why the rest could not be
 * committed; it stays in the layer then.
 */
export async function commitLayer(
  file: SharedFile,
  layer: Layer,
  { compactor, unborn }: { readonly compactor: Compactor; readonly unborn: UnbornFiles },
): Promise<void> {
  if (layer.inline !== undefined) return commitInline(file, layer, unborn)
  let stored = await storedAndBorn(file, layer, unborn)
  const conflicts = new Conflicts()
  for (;;) {
    await loadBase(file, layer)
    const full = overfullWindow(file, layer)
    if (full !== undefined) {
      await compactor.compactNow(file, full, chunksToCome(layer))
      continue
    }
    const large = largePatches(file, layer, nextWindows(file, layer))
    if (large.size > 0) {
      await fold(file, layer, large)
      stored = await storedAndBorn(file, layer, unborn)
      continue
    }
    const step = cutStep(file, layer)
    const portion = step ?? nextPortion(file, layer, stored)
    const adopt = (inode: Inode): void =>
      file.committed.adoptCommitted(inode, portion.manifest, portion.windows)
    if (file.birth === undefined) {
      const inode = await send(file, portion.body)
      if (inode === undefined) {
        if (!(await conflicts.again())) throw tooManyConflicts(file)
        continue
      }
      adopt(inode)
    } else {
      // Unless somebody has it sent without its content already.
      const patch = file.birth.running === undefined ? onlyPatch(portion.body) : undefined
      await unborn.bear(file, patch && { ...portion.body, patch, adopt })
      if (patch === undefined) continue
    }
    if (step !== undefined) continue
    layer.truncateTo = undefined
    for (const { index } of portion.body.windows) layer.extents.delete(index)
    for (const [window, extents] of portion.rest) layer.extents.set(window, [...extents])
    for (const { chunk } of portion.body.chunks) layer.chunks.delete(chunk)
    file.changes.forgetVisible()
    if (layer.extents.size === 0) return
  }
}

/** The patch that is all of a file's content, if that is so. */
function onlyPatch({ windows }: CommitBody): Uint8Array | undefined {
  const [first, ...others] = windows
  if (first?.index !== 0 || others.length > 0 || first.extents.length > 0) return undefined
  return first.patch.length > 0 ? first.patch : undefined
}

/** The layer's chunks, and meanwhile the server learns of a file that it does not know yet. */
async function storedAndBorn(
  file: SharedFile,
  layer: Layer,
  unborn: UnbornFiles,
): Promise<Map<number, NewChunk>> {
  const chunks = [...layer.chunks.values()].some((chunk) => chunk !== layer.patch)
  const born = chunks ? unborn.bear(file) : undefined
  // Met after the chunks; until then it must not count as unhandled.
  born?.catch(() => undefined)
  const stored = await storedChunks(file, layer)
  await born
  return stored
}

async function commitInline(file: SharedFile, layer: Layer, unborn: UnbornFiles): Promise<void> {
  invariant(layer.inline !== undefined, 'an inline layer')
  const { committed } = file
  const inline = committed.key.sealInline(layer.inline)
  if (file.birth?.running !== undefined) await unborn.bear(file)
  const conflicts = new Conflicts()
  do {
    const { inode, attributes } = committed.inode
    const body = {
      inode,
      attributes: sealed(file, {
        ...attributes,
        size: layer.inline.length,
        mtime: mtimeOf(layer),
        contentDigest: digestOf(inline),
      }),
      truncates: true,
      truncateTo: 0,
      windows: [],
      chunks: [],
      inline,
    }
    if (file.birth !== undefined) {
      return unborn.bear(file, { ...body, patch: NO_PATCH, adopt: (born) => committed.adopt(born) })
    }
    const inodeNow = await send(file, body)
    if (inodeNow !== undefined) {
      committed.adopt(inodeNow)
      return
    }
  } while (await conflicts.again())
  throw tooManyConflicts(file)
}

/** Waits for the layer's chunks. What failed is dropped from the layer and reported. */
async function storedChunks(file: SharedFile, layer: Layer): Promise<Map<number, NewChunk>> {
  const stored = new Map<number, NewChunk>()
  for (const chunk of layer.chunks.values()) {
    if (chunk === layer.patch) continue
    invariant(chunk.outcome !== undefined, 'the chunks of a frozen layer are closed')
    const outcome = await chunk.outcome
    if (outcome.stored !== undefined) stored.set(chunk.id, outcome.stored)
    else lose(file, chunk.id, outcome.error)
  }
  return stored
}

/** Drops what is in a chunk that cannot be stored, and reports it. */
function lose(file: SharedFile, chunk: number, error: unknown): void {
  if (!(error instanceof DfsError)) throw error
  const { id, path } = file
  const fields = { inode: id, path, chunk, code: error.code, cause: error.message }
  file.context.log.error(fields, 'a chunk could not be stored; what was written to it is lost')
  const detail = `${path} (inode ${id}): data written could not be stored: ${error.message}`
  file.failed(new DfsError(error.code, detail, { cause: error }))
  file.changes.dropChunk(chunk)
}

/** As {@link foldPatches}; when there will be no chunk, the layer's own small writes are lost. */
async function fold(file: SharedFile, layer: Layer, large: Map<number, Patch>): Promise<void> {
  const { patch } = layer
  try {
    await foldPatches(file, layer, large)
  } catch (error) {
    if (patch === undefined || mayPass(error)) throw error
    lose(file, patch.id, error)
    layer.patch = undefined
  }
}

/** Makes known what a commit of the layer builds on. */
async function loadBase(file: SharedFile, layer: Layer): Promise<void> {
  const { committed } = file
  for (;;) {
    await committed.load(undefined)
    const missing = nextWindows(file, layer).find(
      (window) => !cutsAll(layer, window) && committed.stored(window) === undefined,
    )
    if (missing === undefined && committed.manifest !== undefined) return
    if (missing !== undefined) await committed.load(missing)
  }
}

/** Where the layer cuts the file, if it is as long as that. */
function cutOf({ committed }: SharedFile, { truncateTo }: Layer): number | undefined {
  const { size } = committed.inode.attributes
  return truncateTo !== undefined && truncateTo < size ? truncateTo : undefined
}

/**
 * Windows that the next portion of the layer changes, in order; with the one that is cut in two, which
 * must be in the first.
 */
function nextWindows(file: SharedFile, layer: Layer): number[] {
  const inOrder = (a: number, b: number): number => a - b
  const windows = [...layer.extents.keys()].sort(inOrder)
  windows.length = Math.min(windows.length, FULL_WINDOWS_KEPT - 1)
  const truncateTo = cutOf(file, layer)
  if (truncateTo === undefined || truncateTo % WINDOW_BYTES === 0) return windows
  const cut = Math.floor(truncateTo / WINDOW_BYTES)
  if (windows.includes(cut) || file.committed.manifest?.has(cut) !== true) return windows
  return [...windows, cut].sort(inOrder)
}

/** Whether nothing of a window's committed extents is left under the layer. */
function cutsAll(layer: Layer, window: number): boolean {
  return layer.truncateTo !== undefined && layer.truncateTo <= window * WINDOW_BYTES
}

function baseOf(file: SharedFile, layer: Layer, window: number): readonly Extent[] {
  const base = cutsAll(layer, window) ? [] : file.committed.stored(window)?.extents
  invariant(base !== undefined, 'the windows of a commit were loaded')
  return base
}

/** A window that has too many extents already for even one more to be laid over it. */
function overfullWindow(file: SharedFile, layer: Layer): number | undefined {
  for (const window of nextWindows(file, layer)) {
    const added = addedTo(layer, window).stored
    const base = baseOf(file, layer, window)
    const after = storedAfter(layer, window, base, added)
    if (after.length <= limits.windowExtentsMax || layer.truncateTo !== undefined) continue
    if (base.length + 2 * added.length <= limits.windowExtentsMax) continue
    if (base.length > limits.windowExtentsMax / 2) return window
  }
  return undefined
}

/** Chunks that earlier portions of the layer named and later ones will name again. */
function chunksToCome(layer: Layer): Set<number> {
  const chunks = new Set<number>()
  for (const extents of layer.extents.values()) {
    for (const { chunk } of extents) if (!layer.chunks.has(chunk)) chunks.add(chunk)
  }
  return chunks
}

/** A commit that only cuts, for a layer that cuts off more than one commit may. */
function cutStep(file: SharedFile, layer: Layer): Portion | undefined {
  const { inode, attributes } = file.committed.inode
  const before = file.committed.manifest
  const truncateTo = cutOf(file, layer)
  const size = before && truncateTo !== undefined ? firstCut(before, truncateTo) : undefined
  if (before === undefined || size === undefined) return undefined
  const manifest: Manifest = new Map([...before].filter(([window]) => window < size / WINDOW_BYTES))
  const contentDigest = manifestDigest(manifestBytes(manifest))
  const body = {
    inode,
    attributes: sealed(file, { ...attributes, size, mtime: mtimeOf(layer), contentDigest }),
    truncates: true,
    truncateTo: size,
    windows: [],
    chunks: [],
    inline: NO_BYTES,
  }
  return { body, manifest, windows: new Map(), rest: new Map() }
}

/** As much of the layer as one request holds. */
function nextPortion(
  file: SharedFile,
  layer: Layer,
  stored: ReadonlyMap<number, NewChunk>,
): Portion {
  const { committed } = file
  const { inode, attributes } = committed.inode
  invariant(committed.manifest !== undefined, 'the manifest of a commit was loaded')
  const manifest: Manifest = new Map(committed.manifest)
  if (layer.truncateTo !== undefined) {
    for (const window of manifest.keys()) if (cutsAll(layer, window)) manifest.delete(window)
  }
  const windows = new Map<number, StoredWindow>()
  const rest = new Map<number, readonly Extent[]>()
  const changes: WindowChange[] = []
  const chunks = new Map<number, NewChunk>()
  for (const window of nextWindows(file, layer)) {
    const { after, sent, later } = fitting(file, layer, window)
    const named = newChunksOf(sent, layer, stored).filter(({ chunk }) => !chunks.has(chunk))
    if (chunks.size + named.length > limits.chunksPerRequestMax) break
    for (const chunk of named) chunks.set(chunk.chunk, chunk)
    const { own } = addedTo(layer, window)
    const patch = patchOf(file, layer, window, { stored: sent, own })
    const sealedAfter = sealedPatch(patch, committed.key, window)
    const digest = windowDigest(after, sealedAfter)
    windows.set(window, { extents: after, patch })
    if (later.length > 0) rest.set(window, later)
    if (after.length > 0 || patch !== undefined) manifest.set(window, digest)
    else manifest.delete(window)
    changes.push({ index: window, extents: [...sent], digest, patch: sealedAfter })
  }
  const body = {
    inode,
    attributes: sealed(file, {
      ...attributes,
      size: sizeAfter(layer, attributes.size),
      mtime: mtimeOf(layer),
      contentDigest: manifestDigest(manifestBytes(manifest)),
    }),
    truncates: cutOf(file, layer) !== undefined,
    truncateTo: cutOf(file, layer) ?? 0,
    windows: changes,
    chunks: [...chunks.values()],
    inline: NO_BYTES,
  }
  return { body, manifest, windows, rest }
}

/** The first of a window's new extents that fit into it, and what must wait. */
function fitting(
  file: SharedFile,
  layer: Layer,
  window: number,
): { after: readonly Extent[]; sent: readonly Extent[]; later: readonly Extent[] } {
  const added = addedTo(layer, window).stored
  const base = baseOf(file, layer, window)
  const after = storedAfter(layer, window, base, added)
  if (after.length <= limits.windowExtentsMax) return { after, sent: added, later: [] }
  // Each extent may split one that is there: two more at most.
  const cut = storedAfter(layer, window, base, [])
  const count = Math.max(0, Math.floor((limits.windowExtentsMax - cut.length) / 2))
  invariant(count > 0 || layer.truncateTo !== undefined, 'each portion carries something')
  const sent = added.slice(0, count)
  const portion = storedAfter(layer, window, base, sent)
  return { after: portion, sent, later: added.slice(count) }
}

/** A window's extents at the server after `sent` of the layer. */
function storedAfter(
  layer: Layer,
  window: number,
  base: readonly Extent[],
  sent: readonly Extent[],
): readonly Extent[] {
  const extents = new Map(sent.length === 0 ? [] : [[window, [...sent]]])
  return extentsAfter({ ...layer, extents }, window, base)
}

function newChunksOf(
  extents: readonly Extent[],
  layer: Layer,
  stored: ReadonlyMap<number, NewChunk>,
): NewChunk[] {
  const found = new Map<number, NewChunk>()
  for (const { chunk } of extents) {
    const record = layer.chunks.has(chunk) ? stored.get(chunk) : undefined
    if (record !== undefined) found.set(chunk, record)
  }
  return [...found.values()]
}

function sealed({ birth, committed }: SharedFile, attributes: Attributes): Attributes {
  const { seal: _, ...plain } = attributes
  // The server has no version of it yet.
  const version = birth === undefined ? plain.version + 1 : plain.version
  return committed.key.sealAttributes({ ...plain, version })
}

function tooManyConflicts(file: SharedFile): DfsError {
  const detail = `${file.path}: others change the file faster than it can be saved; try again`
  return new DfsError('versionConflict', detail)
}
