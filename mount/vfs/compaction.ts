/**
 * Rewrites windows that consist of too many extents as one chunk, in the background, one at a time in
 * a mount: at once when their extents cost more than that, else when nobody writes to the file for a
 * while, so that who writes does not have to share the servers with it.
 *
 * It reads committed content only, while others go on writing: what they commit meanwhile is kept on
 * top. If it cannot be, the new chunk is left to the servers to forget, and nothing happened.
 */
import { performance } from 'node:perf_hooks'
import type { Extent } from '../../schema/generated/common.ts'
import type { NewChunk } from '../../schema/generated/metadata.ts'
import { manifestDigest, windowDigest } from '../../schema/wire/content.ts'
import { overlay } from '../../schema/wire/extents.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { ChunkPacker } from './chunk-packer.ts'
import type { LocatedChunk } from './chunk-locations.ts'
import { send } from './send-commit.ts'
import { addedSince, covers, runsToRewrite, type Run } from './compaction-plan.ts'
import type { Piece } from './block-cache.ts'
import { eachPiece, fetchPieces } from './extent-reader.ts'
import { manifestBytes, type Manifest } from './manifest.ts'
import { sealedPatch } from './patch.ts'
import type { SharedFile } from './shared-file.ts'

/** Extents from which on a window of a file that rests is rewritten. */
const COMPACT_FROM_EXTENTS = 1_024
/** Extents that a window has afterwards at most. */
const EXTENTS_AFTER_MAX = 256
/** Milliseconds without a commit after which a file rests, and between looks. */
const REST_MS = 3_000
const LOOK_MS = 500
/** Files that wait to be looked at. */
const WAITING_MAX = 1_024
const STEP_BYTES = 1_024 * 1_024

export class Compactor {
  readonly #waiting = new Set<SharedFile>()
  /** Files to be rewritten once they rest, and when they were committed last, by performance.now(). */
  readonly #resting = new Map<SharedFile, number>()
  #looking: NodeJS.Timeout | undefined
  #running = false
  #closed = false

  /** To be called after each commit: looks at the file's windows, now and later; does not wait. */
  consider(file: SharedFile): void {
    if (this.#closed) return
    const { committed } = file
    if (committed.windowWorthRewriting !== undefined) this.#enqueue(file)
    if (committed.windowWithMoreThan(COMPACT_FROM_EXTENTS) === undefined) {
      this.#resting.delete(file)
    } else if (this.#resting.size < WAITING_MAX) {
      this.#resting.set(file, performance.now())
      this.#looking ??= setInterval(() => this.#look(), LOOK_MS).unref()
    }
  }

  /**
   * Rewrites a window now; the caller holds the file's `versions`. Chunks in `keep` stay named by one
   * extent at least, since a chunk that nothing names is gone.
   */
  async compactNow(file: SharedFile, window: number, keep: ReadonlySet<number>): Promise<void> {
    await file.committed.load(window)
    const extents = file.committed.stored(window)?.extents ?? []
    const { chunk, extents: written } = await rewrite(file, window, extents)
    const kept = [...keep].flatMap((id) => extents.find((extent) => extent.chunk === id) ?? [])
    const laid = [...written, ...kept]
    await commitRewritten(file, window, extents, { chunk, extents: laid })
  }

  close(): void {
    this.#closed = true
    this.#waiting.clear()
    this.#resting.clear()
    clearInterval(this.#looking)
  }

  /** Begins with files that rest by now. */
  #look(): void {
    const before = performance.now() - REST_MS
    for (const [file, committedMs] of this.#resting) {
      if (committedMs > before || file.hasChanges) continue
      this.#resting.delete(file)
      this.#enqueue(file)
    }
    if (this.#resting.size > 0) return
    clearInterval(this.#looking)
    this.#looking = undefined
  }

  #enqueue(file: SharedFile): void {
    if (this.#waiting.size >= WAITING_MAX) return
    this.#waiting.add(file)
    if (!this.#running) void this.#run()
  }

  async #run(): Promise<void> {
    this.#running = true
    for (const file of this.#waiting) {
      this.#waiting.delete(file)
      try {
        await this.#compact(file)
      } catch (error) {
        if (!(error instanceof DfsError)) throw error
        // Removed meanwhile.
        if (error.code === 'staleInode') continue
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
    const { committed } = file
    const window =
      committed.windowWorthRewriting ?? committed.windowWithMoreThan(COMPACT_FROM_EXTENTS)
    const extents = window === undefined ? undefined : committed.stored(window)?.extents
    if (window === undefined || extents === undefined) return
    committed.startRewriting(window)
    const rewritten = await rewrite(file, window, extents)
    const done = await file.versions.run(async () => {
      // A layer that is half committed may need chunks that only this window names.
      if (file.changes.frozenCount > 0) return false
      await commitRewritten(file, window, extents, rewritten)
      return true
    })
    // Its other windows.
    if (done && !this.#resting.has(file)) this.consider(file)
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
      const sent = packer.append(bytes.subarray(start, start + limits.blockBytes))
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
    if (!context.cache.copy(piece, bytes)) missing.push(piece)
  })
  const locate = async (chunk: number): Promise<LocatedChunk | undefined> => {
    if (context.locations.get(chunk) === undefined) await committed.reload(window)
    return context.locations.get(chunk)
  }
  const source = { fetcher: context.fetcher, key: committed.key, locate }
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
  const { extents: now, patch } = committed.stored(window) ?? {}
  if (now === undefined || committed.manifest === undefined || !covers(now, before)) {
    throw new DfsError('versionConflict', `window ${window} of ${file.path} was cut meanwhile`)
  }
  const extents = [...rewritten.extents, ...addedSince(before, now)]
  const { inode, attributes } = committed.inode
  const after = overlay(now, extents)
  const sealed = sealedPatch(patch, committed.key, window)
  const digest = windowDigest(after, sealed)
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
    windows: [{ index: window, extents, digest, patch: sealed }],
    chunks: [rewritten.chunk],
    inline: new Uint8Array(0),
  })
  if (inodeNow === undefined) {
    throw new DfsError('versionConflict', `${file.path} was changed while it was rewritten`)
  }
  committed.adoptCommitted(inodeNow, manifest, new Map([[window, { extents: after, patch }]]))
}
