/**
 * Rewrites windows that consist of too many extents as one chunk, in the background, one at a time in
 * a mount.
 *
 * It reads committed content only, while others go on writing: what they commit meanwhile is kept on
 * top. If it cannot be, the new chunk is left to the servers to forget, and nothing happened.
 */
import type { Extent } from '../../schema/generated/common.ts'
import type { NewChunk } from '../../schema/generated/metadata.ts'
import { manifestDigest, windowDigest } from '../../schema/wire/content.ts'
import { overlay } from '../../schema/wire/extents.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { ChunkPacker } from './chunk-packer.ts'
import type { LocatedChunk } from './chunk-locations.ts'
import { send } from './commit.ts'
import { addedSince, covers, runsToRewrite, type Run } from './compaction-plan.ts'
import { copyPiece, eachPiece, fetchPieces, type Piece } from './extent-reader.ts'
import { manifestBytes, type Manifest } from './manifest.ts'
import type { SharedFile } from './shared-file.ts'

/** Extents from which on a window is rewritten in the background. */
const COMPACT_FROM_EXTENTS = limits.windowExtentsMax / 2
/** Extents that it has afterwards at most. */
const EXTENTS_AFTER_MAX = limits.windowExtentsMax / 8
/** Files that wait to be looked at. */
const WAITING_MAX = 1_024
const STEP_BYTES = 1_024 * 1_024

export class Compactor {
  readonly #waiting = new Set<SharedFile>()
  #running = false
  #closed = false

  /** Looks at the file's windows soon; does not wait. */
  consider(file: SharedFile): void {
    if (this.#closed || this.#waiting.size >= WAITING_MAX) return
    if (file.committed.windowWithMoreThan(COMPACT_FROM_EXTENTS) === undefined) return
    this.#waiting.add(file)
    if (!this.#running) void this.#run()
  }

  /**
   * Rewrites a window now; the caller holds the file's `versions`. Chunks in `keep` stay named by one
   * extent at least, since a chunk that nothing names is gone.
   */
  async compactNow(file: SharedFile, window: number, keep: ReadonlySet<number>): Promise<void> {
    await file.committed.load(window)
    const extents = file.committed.window(window) ?? []
    const { chunk, extents: written } = await rewrite(file, window, extents)
    const kept = [...keep].flatMap((id) => extents.find((extent) => extent.chunk === id) ?? [])
    const laid = [...written, ...kept]
    await commitRewritten(file, window, extents, { chunk, extents: laid })
  }

  close(): void {
    this.#closed = true
    this.#waiting.clear()
  }

  async #run(): Promise<void> {
    this.#running = true
    for (const file of this.#waiting) {
      this.#waiting.delete(file)
      try {
        await this.#compact(file)
      } catch (error) {
        if (!(error instanceof DfsError)) throw error
        const { id, path } = file
        const fields = { inode: id, path, code: error.code, cause: error.message }
        file.context.log.warn(
          fields,
          'a file of many pieces could not be rewritten; it stays as it is',
        )
      }
    }
    this.#running = false
  }

  async #compact(file: SharedFile): Promise<void> {
    const window = file.committed.windowWithMoreThan(COMPACT_FROM_EXTENTS)
    const extents = window === undefined ? undefined : file.committed.window(window)
    if (window === undefined || extents === undefined) return
    const rewritten = await rewrite(file, window, extents)
    await file.versions.run(async () => {
      // A layer that is half committed may need chunks that only this window names.
      if (file.changes.frozenCount > 0) return
      await commitRewritten(file, window, extents, rewritten)
    })
  }
}

interface Rewritten {
  readonly extents: Extent[]
  readonly chunk: NewChunk
}

/** Stores the content of `extents` as one chunk. */
async function rewrite(
  file: SharedFile,
  window: number,
  extents: readonly Extent[],
): Promise<Rewritten> {
  const runs = runsToRewrite(extents, EXTENTS_AFTER_MAX)
  const packer = await ChunkPacker.begin(file.context, file.committed.key, () => undefined)
  const written: Extent[] = []
  try {
    for (const run of runs) {
      const { from, to } = run
      written.push({
        chunk: packer.id,
        offset: from,
        length: to - from,
        chunkOffset: packer.length,
      })
      await copyRun(file, window, extents, run, packer)
    }
  } catch (error) {
    packer.fail(error)
    throw error
  }
  packer.close()
  const outcome = await packer.outcome
  if (outcome?.stored === undefined) throw outcome?.error
  return { extents: written, chunk: outcome.stored }
}

async function copyRun(
  file: SharedFile,
  window: number,
  extents: readonly Extent[],
  { from, to }: Run,
  packer: ChunkPacker,
): Promise<void> {
  for (let at = from; at < to; at += STEP_BYTES) {
    const end = Math.min(to, at + STEP_BYTES)
    const bytes = await readCommitted(file, window, extents, { from: at, to: end })
    for (let start = 0; start < bytes.length; start += limits.blockBytes) {
      // A copy: the block cache keeps what it is given, and must not keep the rest with it.
      const block = Buffer.from(bytes.subarray(start, start + limits.blockBytes))
      const sent = packer.append(block)
      if (sent !== undefined) await sent
    }
  }
}

async function readCommitted(
  file: SharedFile,
  window: number,
  extents: readonly Extent[],
  { from, to }: Run,
): Promise<Buffer> {
  const { context, committed } = file
  const bytes = Buffer.alloc(to - from)
  const missing: Piece[] = []
  eachPiece(extents, { from, to, at: 0 }, (piece) => {
    const block = context.cache.get(piece.chunk, piece.block)
    if (block === undefined || !copyPiece(piece, block, bytes)) missing.push(piece)
  })
  const locate = async (chunk: number): Promise<LocatedChunk | undefined> => {
    if (context.locations.get(chunk) === undefined) await committed.reload(window)
    return context.locations.get(chunk)
  }
  const source = { cache: context.cache, fetcher: context.fetcher, key: committed.key, locate }
  if (!(await fetchPieces(source, missing, bytes))) {
    const detail = `window ${window} of ${file.path} changed while it was rewritten`
    throw new DfsError('versionConflict', detail)
  }
  return bytes
}

/**
 * Names the new chunk in place of `before`. What was written over it meanwhile stays on top; when
 * something was cut out, nothing happens.
 */
async function commitRewritten(
  file: SharedFile,
  window: number,
  before: readonly Extent[],
  rewritten: Rewritten,
): Promise<void> {
  const { committed } = file
  await committed.load(undefined)
  await committed.load(window)
  const now = committed.window(window)
  if (now === undefined || committed.manifest === undefined || !covers(now, before)) {
    throw new DfsError('versionConflict', `window ${window} of ${file.path} was cut meanwhile`)
  }
  const extents = [...rewritten.extents, ...addedSince(before, now)]
  const { inode, attributes } = committed.inode
  const after = overlay(now, extents)
  const digest = windowDigest(after)
  const manifest: Manifest = new Map(committed.manifest).set(window, digest)
  const contentDigest = manifestDigest(manifestBytes(manifest))
  const { seal: _, ...plain } = attributes
  const inodeNow = await send(file, {
    inode,
    attributes: committed.key.sealAttributes({
      ...plain,
      contentDigest,
      version: plain.version + 1,
    }),
    truncates: false,
    truncateTo: 0,
    windows: [{ index: window, extents, digest }],
    chunks: [rewritten.chunk],
    inline: new Uint8Array(0),
  })
  if (inodeNow === undefined) {
    throw new DfsError('versionConflict', `${file.path} was changed while it was rewritten`)
  }
  committed.adoptCommitted(inodeNow, manifest, new Map([[window, after]]))
}
