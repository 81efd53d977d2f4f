/**
 * One file, shared by all its handles in this mount: what the server has, what was changed here and
 * not committed yet, and so what a read sees at this moment.
 */
import type { Extent } from '../../schema/generated/common.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { ChangeStack, type VisibleInline } from './change-stack.ts'
import type { CommittedContent } from './committed-content.ts'
import type { Context } from './context.ts'
import { DirtyRanges } from './dirty-ranges.ts'
import type { PendingChunk } from './pending-chunk.ts'
import { PromiseQueue } from './promise-queue.ts'
import type { LocalChanges } from './stat.ts'
import type { Birth } from './unborn-files.ts'

export class SharedFile {
  readonly context: Context
  readonly committed: CommittedContent
  readonly changes = new ChangeStack()
  readonly dirty = new DirtyRanges()
  /** Commits and changes of attributes take turns: each builds on the version before. */
  readonly versions = new PromiseQueue()
  /** Set while the server does not know the file. */
  birth: Birth | undefined
  /** Where it was opened, for log lines. */
  readonly path: string
  /** Handles that are open. */
  references = 0
  /** Counts failures to save; a handle reports those it has not reported yet. */
  failures = 0
  lastFailure: DfsError | undefined
  /** Milliseconds since 1970 since when there is something to commit; 0 when there is nothing. */
  changedSinceMs = 0

  constructor(context: Context, committed: CommittedContent, path: string) {
    this.context = context
    this.path = path
    this.committed = committed
    committed.onChange = () => this.changes.forgetVisible()
  }

  get id(): number {
    return this.committed.inode.inode
  }

  get size(): number {
    return this.changes.sizeOver(this.committed.inode.attributes.size)
  }

  get hasChanges(): boolean {
    return this.dirty.bytes > 0 || !this.changes.isEmpty || this.birth !== undefined
  }

  /**
   * Makes what is known of the file as new as what the server has; undefined when it is. While we write
   * it, we know best; else, without the lease, somebody may have changed it.
   */
  refreshed(): Promise<void> | undefined {
    if (this.hasChanges) return undefined
    const { leased } = this.context
    const known = leased.inode(this.id)
    if (known !== undefined) {
      this.committed.adopt(known)
      return undefined
    }
    const asked = leased.ask()
    return this.committed.refresh().then(() => {
      leased.learnInode(asked, this.committed.inode)
    })
  }

  /** What stat(2) must show over what the server says; undefined when nothing was changed here. */
  get localChanges(): LocalChanges | undefined {
    if (!this.hasChanges) return undefined
    return {
      size: this.size,
      mtime: this.changes.mtime ?? this.committed.inode.attributes.mtime,
      uncommittedBytes: this.changes.uncommittedBytes + this.dirty.bytes,
    }
  }

  /** The extents of a window as reads see them, or undefined when they must be loaded. */
  visibleExtents(window: number): readonly Extent[] | undefined {
    const base = this.changes.hidesBase(window) ? [] : this.committed.window(window)
    return base === undefined ? undefined : this.changes.visible(window, base)
  }

  /** A chunk or patch whose bytes are at hand here, as far as extents of this file name it. */
  pendingChunk(chunk: number): PendingChunk | undefined {
    const pending = this.changes.pendingChunk(chunk)
    return pending ?? (chunk < 0 ? this.committed.patchNamed(chunk) : undefined)
  }

  visibleInline(): VisibleInline {
    return this.changes.visibleInline(this.committed.inline)
  }

  /** Writes into memory. Throws `fileTooLarge`. */
  write(bytes: Uint8Array, position: number): void {
    if (position + bytes.length > limits.fileBytesMax) {
      throw new DfsError('fileTooLarge', `a file has at most ${limits.fileBytesMax} bytes`)
    }
    if (bytes.length === 0) return
    this.#changeDirty(() => this.dirty.write(position, bytes))
    const nowMs = Date.now()
    this.changes.wrote(position + bytes.length, nowMs)
    if (this.changedSinceMs === 0) this.changedSinceMs = nowMs
  }

  /** Writes where nothing was written since; the file's size and times stay. */
  writeBelow(bytes: Uint8Array, position: number): void {
    this.#changeDirty(() => this.dirty.fillGaps(position, bytes))
  }

  /** Changes the size; what is new reads as zeros. Throws `fileTooLarge`. */
  resize(size: number): void {
    if (size > limits.fileBytesMax) {
      throw new DfsError('fileTooLarge', `a file has at most ${limits.fileBytesMax} bytes`)
    }
    if (size < 0 || !Number.isSafeInteger(size)) {
      throw new DfsError('invalidArgument', `${size} is no size of a file`)
    }
    const nowMs = Date.now()
    this.#changeDirty(() => this.dirty.truncate(size))
    this.changes.resize(size, nowMs)
    if (this.changedSinceMs === 0) this.changedSinceMs = nowMs
  }

  /** Takes the first segment, or the given one, out of the buffer. */
  takeDirty(segment: Parameters<DirtyRanges['remove']>[0]): void {
    this.#changeDirty(() => this.dirty.remove(segment))
  }

  clearDirty(): void {
    this.#changeDirty(() => this.dirty.clear())
  }

  /** Remembers that data could not be saved, for every handle to report. */
  failed(error: DfsError): void {
    this.failures++
    this.context.givenUp.count++
    this.lastFailure = error
  }

  #changeDirty(change: () => void): void {
    const before = this.dirty.capacity
    change()
    this.context.budget.changed(this.dirty.capacity - before)
  }
}
