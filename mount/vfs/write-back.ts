/**
 * Carries a file's written data to chunks and commits them.
 *
 * Sequential data leaves while more is written: each complete segment of a long run goes to a chunk
 * that is under way. What is scattered is collected and packed into as few chunks as it needs when
 * the file is flushed or memory runs short. Failures are remembered on the file, for its handles to
 * report; this module itself throws only to a writer that cannot go on.
 */
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { ChunkPacker } from './chunk-packer.ts'
import { commitLayer } from './commit.ts'
import type { Compactor } from './compaction.ts'
import type { Segment } from './dirty-ranges.ts'
import { mayPass } from './passing-failure.ts'
import { Patch, patchBytes } from './patch.ts'
import { PromiseQueue } from './promise-queue.ts'
import type { SharedFile } from './shared-file.ts'
import type { UnbornFiles } from './unborn-files.ts'

/** Bytes written in a row before they are sent while the application still writes. */
const STREAM_BYTES_MIN = 512 * 1_024
/** Chunks of one file that are closed and not yet durable. */
const CHUNKS_FINISHING_MAX = 4
/** Chunks that a layer holds before it is committed without being asked. */
const CHUNKS_PER_COMMIT = 16
/** Extents after which a layer is committed: what memory and one commit's work are bounded by. */
const EXTENTS_PER_COMMIT = 16_384
/** Layers that wait for their commit before writing waits, too. */
const FROZEN_LAYERS_MAX = 2
/**
 * Bytes written over a file, with their places, that go with the commit; more of them are a chunk at once.
 * What has a file to itself may fill its patch.
 */
const PATCH_DIRTY_MAX = limits.patchBytesMax / 2
/** Milliseconds after a failure before data is sent again without being asked. */
const STREAM_AGAIN_MS = 1_000

export class WriteBack {
  readonly #file: SharedFile
  readonly #compactor: Compactor
  readonly #unborn: UnbornFiles
  readonly #drains = new PromiseQueue()
  readonly #finishing = new Set<ChunkPacker>()
  #packer: ChunkPacker | undefined
  /** Position in the file behind the last byte that went to the open chunk. */
  #continuing: number | undefined
  #streaming = false
  /** Milliseconds since 1970; 0 when nothing failed. */
  #streamFailedMs = 0

  constructor(file: SharedFile, compactor: Compactor, unborn: UnbornFiles) {
    this.#file = file
    this.#compactor = compactor
    this.#unborn = unborn
  }

  /**
   * To be called after each write. True when the mount holds too much: then the writer must wait
   * until there is room.
   */
  afterWrite(): boolean {
    if (!this.#streaming && this.#nextOfRun() !== undefined) this.#stream()
    return this.#file.context.budget.isOver
  }

  /**
   * Gives the memory that this file's written data takes to chunks, without a commit. Throws why it
   * cannot; what will not pass costs the data, which the file's handles report.
   */
  async relieve(): Promise<void> {
    await this.#drains.run(async () => {
      if (this.#file.dirty.bytes === 0 || this.#inlineLength() !== undefined) return
      try {
        await this.#drain(true)
      } catch (error) {
        if (!mayPass(error)) this.#giveUpUnsent(error)
        throw error
      }
    })
  }

  /**
   * Makes everything written before this call durable and part of the file. A failure is remembered
   * on the file; the promise does not reject for it.
   */
  async commit(): Promise<void> {
    const file = this.#file
    if (!file.hasChanges) return
    await this.#drains.run(async () => {
      try {
        await this.#freezeAll()
      } catch (error) {
        if (mayPass(error)) this.#failed(error)
        else this.#giveUpUnsent(error)
      }
    })
    await this.#commitFrozen()
  }

  /** The last handle is gone: gives up a chunk that nothing came to need. */
  dispose(): void {
    this.#packer?.fail(new DfsError('cancelled', 'nothing of this chunk is needed'))
    this.#packer = undefined
  }

  /** Gives up what could not be saved; the file shows again what is committed. */
  abandon(): void {
    const file = this.#file
    file.context.givenUp.count++
    this.dispose()
    this.#continuing = undefined
    file.clearDirty()
    file.changes.clear()
    file.changedSinceMs = 0
  }

  /** Gives up what is in no chunk yet; what chunks hold becomes part of the file with the next commit. */
  #giveUpUnsent(error: unknown): void {
    this.#failed(error)
    this.#closePacker()
    const { changes } = this.#file
    this.#file.clearDirty()
    changes.loseUnsent()
    changes.freeze()
  }

  #stream(): void {
    if (this.#streamFailedMs !== 0 && Date.now() < this.#streamFailedMs + STREAM_AGAIN_MS) return
    this.#streaming = true
    this.#streamFailedMs = 0
    this.#drains
      .run(async () => this.#drain(false))
      .catch((error: unknown) => {
        // The data is still here: the next flush tries again, and reports.
        this.#streamFailedMs = Date.now()
        const { id, path } = this.#file
        this.#file.context.log.warn({ err: error, inode: id, path }, 'writing ahead failed')
      })
      .finally(() => {
        this.#streaming = false
      })
  }

  /** Moves all changes into a frozen layer. */
  async #freezeAll(): Promise<void> {
    const file = this.#file
    const inlineLength = this.#inlineLength()
    if (inlineLength !== undefined) {
      file.changes.freezeInline(inlineContent(file, inlineLength))
      file.clearDirty()
      return
    }
    if (this.#fitsPatch()) {
      freezePatch(file)
      return
    }
    await this.#drain(true)
    this.#closePacker()
    file.changes.freeze()
  }

  /** Whether all that changed is a few bytes written, or some more that are the whole of the file. */
  #fitsPatch(): boolean {
    const { committed, changes, dirty } = this.#file
    const { truncateTo, extents } = changes.current
    if ((truncateTo ?? 0) > 0 || extents.size > 0) return false
    // Nothing gets through: then writing waits, or fails, as it does for chunks.
    if (changes.frozenCount >= FROZEN_LAYERS_MAX) return false
    const whole = truncateTo === 0 || committed.inode.attributes.size === 0
    const most = whole ? limits.patchBytesMax : PATCH_DIRTY_MAX
    if (this.#packer !== undefined || dirty.bytes > most) return false
    absorbInline(this.#file)
    return dirty.bytes > 0 && patchBytes(dirty.bytes, dirty.segments) <= most
  }

  /** The file's size, if all of its content is at hand and small enough to go with the inode. */
  #inlineLength(): number | undefined {
    const { size, changes, committed } = this.#file
    if (size === 0 || size > limits.inlineBytesMax || changes.hasExtents) return undefined
    return changes.hidesBase(0) || committed.window(0)?.length === 0 ? size : undefined
  }

  #nextOfRun(): Segment | undefined {
    const continuing = this.#packer === undefined ? undefined : this.#continuing
    return this.#file.dirty.nextOfRun(STREAM_BYTES_MIN, continuing)
  }

  /** Gives segments to chunks: all of them, or those that a sequential writer has completed. */
  async #drain(all: boolean): Promise<void> {
    const { dirty } = this.#file
    for (;;) {
      absorbInline(this.#file)
      const segment = all ? dirty.first : this.#nextOfRun()
      if (segment === undefined) return
      const window = Math.floor(segment.offset / limits.chunkBytesMax)
      if (this.#file.changes.currentExtents >= EXTENTS_PER_COMMIT) this.#closePacker()
      const packer = this.#packer
      if (packer !== undefined && fits(packer, segment, all ? undefined : window)) {
        await this.#append(packer, segment)
        continue
      }
      this.#closePacker()
      await this.#begin(all ? undefined : window)
    }
  }

  #append(packer: ChunkPacker, segment: Segment): Promise<void> | undefined {
    const { changes } = this.#file
    const { offset, length, buffer } = segment
    const chunkOffset = packer.length
    this.#file.takeDirty(segment)
    this.#continuing = offset + length
    let sent: Promise<void> | undefined
    try {
      sent = packer.append(buffer.subarray(0, length))
      this.#file.dirty.giveBack(buffer)
    } catch (error) {
      packer.fail(error)
    }
    changes.addExtent(offset, length, packer, chunkOffset, Date.now())
    if (sent === undefined) return undefined
    return sent.catch((error: unknown) => packer.fail(error))
  }

  async #begin(window: number | undefined): Promise<void> {
    while (this.#finishing.size >= CHUNKS_FINISHING_MAX) {
      await Promise.race([...this.#finishing].map(async (packer) => packer.outcome))
    }
    const { context, committed, changes } = this.#file
    if (changes.frozenCount >= FROZEN_LAYERS_MAX) {
      await this.#commitFrozen()
      const { lastFailure } = this.#file
      if (changes.frozenCount >= FROZEN_LAYERS_MAX && lastFailure !== undefined) throw lastFailure
    }
    const packer = await ChunkPacker.begin(context, committed.key, () => {
      // Not at once: the client may be in the middle of taking our bytes.
      setImmediate(() => {
        if (this.#packer === packer) this.#closePacker()
      })
    })
    packer.window = window
    this.#packer = packer
  }

  #closePacker(): void {
    const packer = this.#packer
    if (packer === undefined) return
    this.#packer = undefined
    this.#continuing = undefined
    packer.close()
    this.#finishing.add(packer)
    void packer.outcome?.then(() => this.#finishing.delete(packer))
    const { changes } = this.#file
    const { currentChunks, currentExtents } = changes
    if (currentChunks < CHUNKS_PER_COMMIT && currentExtents < EXTENTS_PER_COMMIT) return
    changes.freeze()
    void this.#commitFrozen()
  }

  /** Commits frozen layers, oldest first; does not reject. */
  async #commitFrozen(): Promise<void> {
    const file = this.#file
    await file.versions.run(async () => {
      try {
        // Nothing was written to it.
        if (file.changes.oldest === undefined) await this.#unborn.bear(file)
      } catch (error) {
        this.#failed(error)
        if (!mayPass(error)) this.abandon()
        return
      }
      for (let layer = file.changes.oldest; layer !== undefined; layer = file.changes.oldest) {
        try {
          await commitLayer(file, layer, { compactor: this.#compactor, unborn: this.#unborn })
          file.changes.dropOldest()
        } catch (error) {
          this.#failed(error)
          if (!mayPass(error)) this.abandon()
          break
        }
      }
      if (!file.hasChanges) file.changedSinceMs = 0
    })
    this.#compactor.consider(file)
  }

  #failed(error: unknown): void {
    if (!(error instanceof DfsError)) throw error
    const file = this.#file
    const { id, path } = file
    const fields = { inode: id, path, code: error.code, cause: error.message }
    file.context.log.error(fields, 'written data could not be saved')
    const detail = `${path} (inode ${id}) could not be saved: ${error.message}`
    file.failed(new DfsError(error.code, detail, { cause: error }))
  }
}

/** `window` is that of sequential data, which keeps to chunks of its own window. */
function fits(packer: ChunkPacker, segment: Segment, window: number | undefined): boolean {
  if (packer.closed || packer.room < segment.length) return false
  return window === undefined || packer.window === window
}

/** Moves what is dirty into a frozen layer, to be committed with the windows it belongs to. */
function freezePatch(file: SharedFile): void {
  const { dirty, changes } = file
  const bytes = Buffer.allocUnsafe(dirty.bytes)
  const patch = Patch.ofBytes(bytes)
  let at = 0
  for (let segment = dirty.first; segment !== undefined; segment = dirty.first) {
    const { offset, length, buffer } = segment
    file.takeDirty(segment)
    buffer.copy(bytes, at, 0, length)
    changes.addExtent(offset, length, patch, at, Date.now())
    at += length
  }
  changes.freezePatch(patch)
}

function inlineContent(file: SharedFile, length: number): Buffer {
  const content = Buffer.alloc(length)
  const below = file.visibleInline()
  content.set(below.bytes.subarray(0, Math.min(below.length, length)))
  file.dirty.copyInto(content, 0, 0, length)
  return content
}

/**
 * A commit with extents drops inline content: what of it still shows is written again as data. Does
 * nothing for all files but those that were small and have grown.
 */
function absorbInline(file: SharedFile): void {
  const { bytes, length } = file.visibleInline()
  if (length === 0) return
  let at = 0
  for (const extent of file.visibleExtents(0) ?? []) {
    if (at >= length) return
    if (extent.offset > at) {
      file.writeBelow(bytes.subarray(at, Math.min(extent.offset, length)), at)
    }
    at = extent.offset + extent.length
  }
  if (at < length) file.writeBelow(bytes.subarray(at, length), at)
}
