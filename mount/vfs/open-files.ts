/**
 * The files that are open in this mount, and the handles on them. All handles of a file share one
 * {@link SharedFile}, so that each sees what the others write, at once.
 */
import { constants } from 'node:fs'
import { LRUCache } from 'lru-cache'
import type { Inode } from '../../schema/generated/common.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { InodeKey } from '../crypto/inode-key.ts'
import type { Handle } from './api.ts'
import { CommittedContent } from './committed-content.ts'
import type { Compactor } from './compaction.ts'
import type { Context } from './context.ts'
import { FileReader } from './file-reader.ts'
import { ReadAhead } from './read-ahead.ts'
import { SharedFile } from './shared-file.ts'
import type { Found } from './tree.ts'
import type { UnbornFiles } from './unborn-files.ts'
import { WriteBack } from './write-back.ts'

const ACCESS_MODE = 3
/** Handles open at once; a bound against a program that forgets to close. */
const HANDLES_MAX = 1_048_576

/** Extents of closed files that are kept, about 100 bytes each; a file counts as some more. */
const CLOSED_EXTENTS_MAX = 131_072
const CLOSED_OVERHEAD_EXTENTS = 16

export interface OpenFile {
  readonly file: SharedFile
  readonly reader: FileReader
  readonly writeBack: WriteBack
}

export interface OpenHandle extends OpenFile {
  readonly readable: boolean
  readonly writable: boolean
  readonly append: boolean
  readonly ahead: ReadAhead
  /** Failures of the file that this handle has reported, or that were before its time. */
  failuresSeen: number
}

export class OpenFiles {
  readonly #context: Context
  readonly #compactor: Compactor
  readonly #unborn: UnbornFiles
  readonly #files = new Map<number, OpenFile>()
  readonly #handles = new Map<Handle, OpenHandle>()
  /** Content of closed files, so that opening them again asks for no extents. */
  readonly #closed = new LRUCache<number, CommittedContent>({
    maxSize: CLOSED_EXTENTS_MAX,
    sizeCalculation: (content) => content.extentCount + CLOSED_OVERHEAD_EXTENTS,
  })
  #nextHandle = 1

  constructor(context: Context, compactor: Compactor, unborn: UnbornFiles) {
    this.#context = context
    this.#compactor = compactor
    this.#unborn = unborn
  }

  /** Bytes that were written and are not part of their files yet. */
  get unsavedBytes(): number {
    let bytes = 0
    for (const { file } of this.#files.values()) {
      bytes += file.changes.uncommittedBytes + file.dirty.bytes
    }
    return bytes
  }

  /** The file, if it is open here. */
  file(inode: number): OpenFile | undefined {
    return this.#files.get(inode)
  }

  /** Whether a file is open here, or was. */
  isKnown(inode: number): boolean {
    return this.#files.has(inode) || this.#closed.has(inode)
  }

  /** Fetches a file that somebody may open next. Throws why it cannot be read. */
  async readAhead({ inode, key }: Found, path: string): Promise<void> {
    const content = this.#contentOf(inode, key)
    // Whoever opens it meanwhile finds what is under way.
    this.#closed.set(inode.inode, content)
    const file = new SharedFile(this.#context, content, path)
    await new FileReader(file, async () => undefined).readAhead()
    if (this.#closed.peek(inode.inode) === content) this.#closed.set(inode.inode, content)
  }

  /** Tells an open file what a verified answer said of it. */
  learn(inode: Inode): void {
    this.#files.get(inode.inode)?.file.committed.adopt(inode)
  }

  /** Adds a handle on an inode that the session holds for it. `flags` as open(2) takes them. */
  open({ inode, key }: Found, path: string, flags: number): Handle {
    if (this.#handles.size >= HANDLES_MAX) {
      throw new DfsError('tooManyRequests', `${HANDLES_MAX} files are open; close some`)
    }
    const open = this.#files.get(inode.inode) ?? this.#begin(inode, key, path)
    open.file.committed.adopt(inode)
    open.file.references++
    const mode = flags & ACCESS_MODE
    const handle = this.#nextHandle++
    this.#handles.set(handle, {
      ...open,
      readable: mode !== constants.O_WRONLY,
      writable: mode !== constants.O_RDONLY,
      append: (flags & constants.O_APPEND) !== 0,
      ahead: new ReadAhead(),
      failuresSeen: open.file.failures,
    })
    return handle
  }

  /** Throws `badHandle`. */
  get(handle: Handle): OpenHandle {
    const open = this.#handles.get(handle)
    if (open === undefined) throw new DfsError('badHandle', `handle ${handle} is not open`)
    return open
  }

  /** Writes at `position`, or at the end of a file that is open for appending; returns the bytes written. */
  write(open: OpenHandle, bytes: Uint8Array, position: number): number | Promise<number> {
    // Whoever goes on after a write that failed, for want of room, is not given more memory.
    if (!this.#context.budget.isOver) return this.#write(open, bytes, position)
    return this.makeRoom(open).then(() => this.#write(open, bytes, position))
  }

  /** Saves what the file has, and throws what this handle has not reported yet. */
  async save(open: OpenHandle): Promise<void> {
    if (!open.writable) return
    await open.writeBack.commit()
    const { file } = open
    if (open.failuresSeen === file.failures) return
    open.failuresSeen = file.failures
    if (file.lastFailure !== undefined) throw file.lastFailure
  }

  /** The handle is gone after this, whatever it throws; with the last one the file is let go. */
  async release(handle: Handle): Promise<void> {
    const open = this.get(handle)
    this.#handles.delete(handle)
    try {
      // A reader that closes last is the last chance for what a writer could not save.
      if (!open.writable && open.file.references === 1) await open.writeBack.commit()
      await this.save(open)
    } finally {
      this.#letGo(open)
    }
  }

  /** Logs what is lost when this ends now. */
  logUnsaved(): void {
    for (const { file } of this.#files.values()) {
      if (!file.hasChanges) continue
      const { id, path, lastFailure } = file
      const fields = { inode: id, path, cause: lastFailure?.message }
      this.#context.log.error(fields, 'closing with data that could not be saved: it is lost')
    }
  }

  /** Lets go of every inode that is still held; the handles are of no use afterwards. */
  releaseAll(): void {
    for (const { file } of this.#handles.values()) this.#release(file)
    this.#handles.clear()
    this.#files.clear()
  }

  /** Saves files in which something has waited for longer than `ageMs`; failures are kept for their handles. */
  async saveOlderThan(ageMs: number): Promise<void> {
    const before = Date.now() - ageMs
    const old = [...this.#files.values()].filter(
      ({ file }) => file.changedSinceMs !== 0 && file.changedSinceMs <= before,
    )
    await Promise.all(old.map(async ({ writeBack }) => writeBack.commit()))
  }

  /**
   * Makes room in the write budget: the file with the most waiting data gives it to chunks first.
   * Throws when the servers take nothing.
   */
  async makeRoom(writer: OpenFile): Promise<void> {
    let largest = writer
    for (const open of this.#files.values()) {
      if (open.file.dirty.capacity > largest.file.dirty.capacity) largest = open
    }
    // Another file's failure is for its own writers, unless nobody gets room.
    if (largest !== writer) await largest.writeBack.relieve().catch(throwBug)
    if (largest === writer || this.#context.budget.isOver) await writer.writeBack.relieve()
  }

  #write(open: OpenHandle, bytes: Uint8Array, position: number): number | Promise<number> {
    if (!open.append) return this.#writeAt(open, bytes, position)
    const { file } = open
    const refreshed = file.refreshed()
    if (refreshed === undefined) return this.#writeAt(open, bytes, file.size)
    return refreshed.then(() => this.#writeAt(open, bytes, file.size))
  }

  #writeAt(open: OpenHandle, bytes: Uint8Array, position: number): number | Promise<number> {
    open.file.write(bytes, position)
    if (!open.writeBack.afterWrite()) return bytes.length
    return this.makeRoom(open).then(() => bytes.length)
  }

  #begin(inode: Inode, key: InodeKey, path: string): OpenFile {
    const file = new SharedFile(this.#context, this.#contentOf(inode, key), path)
    const writeBack = new WriteBack(file, this.#compactor, this.#unborn)
    const reader = new FileReader(file, async () => writeBack.commit())
    const open = { file, reader, writeBack }
    this.#files.set(file.id, open)
    return open
  }

  /** What was known of the file's content when it was closed last; the digests decide if it holds. */
  #contentOf(inode: Inode, key: InodeKey): CommittedContent {
    const known = this.#closed.get(inode.inode)
    this.#closed.delete(inode.inode)
    const same = known !== undefined && Buffer.compare(known.key.secret, key.secret) === 0
    return same ? known : new CommittedContent(this.#context, inode, key)
  }

  #release(file: SharedFile): void {
    // What was never born was never held.
    if (file.birth === undefined) this.#context.session.release(file.id)
  }

  #letGo({ file, writeBack }: OpenFile): void {
    file.references--
    this.#release(file)
    if (file.references > 0) return
    if (file.hasChanges) {
      const { id, path } = file
      const bytes = file.changes.uncommittedBytes + file.dirty.bytes
      this.#context.log.error(
        { inode: id, path, bytes, cause: file.lastFailure?.message },
        'a file was closed and what was written to it could not be saved: it is lost',
      )
      this.#unborn.drop(file)
      writeBack.abandon()
    }
    writeBack.dispose()
    this.#files.delete(file.id)
    const { committed } = file
    committed.onChange = () => undefined
    if (committed.extentCount > 0) this.#closed.set(file.id, committed)
  }
}

function throwBug(error: unknown): void {
  if (!(error instanceof DfsError)) throw error
}
