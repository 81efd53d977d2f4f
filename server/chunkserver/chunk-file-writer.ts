/**
 * One chunk file on its way to the disk: written under a temporary name, mostly past the page cache,
 * synced, renamed, and the directory synced. Until the rename a crash leaves a temporary file, which
 * start-up removes; after it, a whole file that describes itself.
 */
import { constants } from 'node:fs'
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { invariant } from '../../schema/wire/invariant.ts'
import { bounds } from './bounds.ts'
import { chunkDirectory, chunkFileName, encodeTrailer, type ChunkMeta } from './chunk-format.ts'
import {
  closeDescriptor,
  diskError,
  errorCode,
  openDescriptor,
  removeFile,
  syncData,
  writeAt,
} from './disk.ts'
import type { DurableDirectories } from './durable-directories.ts'
import type { StagePool } from './stage-pool.ts'

export interface ChunkPaths {
  /** Holds the chunk files, in `aa/bb` below. */
  readonly root: string
  /** Holds files that are being written. On the same file system as `root`. */
  readonly incoming: string
  /** Holds files that were found without an index record and cannot be read. */
  readonly lost: string
}

/** Where a chunk's file is. */
export function chunkPath(paths: ChunkPaths, chunk: number): string {
  return join(paths.root, chunkDirectory(chunk), chunkFileName(chunk))
}

/** What all chunk files of a store share. */
export interface ChunkFileSurroundings {
  readonly paths: ChunkPaths
  readonly directories: DurableDirectories
  readonly stages: StagePool
}

export class ChunkFileWriter {
  readonly #around: ChunkFileSurroundings
  readonly #chunk: number
  readonly #temporary: string
  #fd: number | undefined
  /** Bytes in the file. */
  #at = 0
  /** What follows them, until it is full; undefined when the file is written through the page cache. */
  #stage: Buffer | undefined
  #staged = 0
  #direct: number | undefined
  #unsynced = 0
  #syncing: Promise<void> | undefined
  #syncFailure: unknown

  private constructor(around: ChunkFileSurroundings, chunk: number, path: string, fd: number) {
    this.#around = around
    this.#chunk = chunk
    this.#temporary = path
    this.#fd = fd
    this.#stage = around.stages.take()
  }

  static async create(around: ChunkFileSurroundings, chunk: number): Promise<ChunkFileWriter> {
    const path = join(around.paths.incoming, chunkFileName(chunk))
    try {
      // 'w' and not 'wx': a leftover of an earlier attempt is overwritten.
      return new ChunkFileWriter(around, chunk, path, await openDescriptor(path, 'w'))
    } catch (error) {
      throw diskError('create', path, error)
    }
  }

  /** Writes the next bytes; they must not change before the promise resolves. */
  async append(bytes: Buffer): Promise<void> {
    const fd = this.#open()
    try {
      const staged = await this.#appendToStages(bytes)
      if (staged < bytes.length) await this.#appendPlainly(fd, bytes.subarray(staged))
    } catch (error) {
      throw diskError('write', this.#temporary, error)
    }
  }

  /** Makes the chunk durable under its name. */
  async finish(meta: ChunkMeta): Promise<void> {
    const fd = this.#open()
    const { paths, directories } = this.#around
    const directory = join(paths.root, chunkDirectory(this.#chunk))
    const path = chunkPath(paths, this.#chunk)
    try {
      await this.#leaveStage(fd)
      await writeAt(fd, encodeTrailer(meta), this.#at)
      const made = directories.ensure(directory)
      made.catch(() => undefined)
      await this.#syncing
      this.#refuseAfterFailedSync()
      await syncData(fd)
      await made
      await rename(this.#temporary, path)
    } catch (error) {
      throw diskError('store', path, error)
    }
    this.#close(fd)
    try {
      await directories.sync(directory)
    } catch (error) {
      await removeFile(path)
      throw diskError('store', path, error)
    }
  }

  /** Removes what was written; harmless after `finish`. Nothing may be under way. */
  async abort(): Promise<void> {
    if (this.#fd === undefined) return
    const fd = this.#fd
    this.#fd = undefined
    await this.#syncing
    this.#close(fd)
    await removeFile(this.#temporary)
  }

  /** Gathers bytes and writes what makes a whole stage; returns how many it took: all, as a rule. */
  async #appendToStages(bytes: Buffer): Promise<number> {
    let taken = 0
    while (this.#stage !== undefined && taken < bytes.length) {
      const copied = bytes.copy(this.#stage, this.#staged, taken)
      taken += copied
      this.#staged += copied
      if (this.#staged === this.#stage.length) await this.#writeStage(this.#stage)
    }
    return taken
  }

  /**
   * Past the page cache: nobody reads a chunk again soon where it was just written, and filling pages
   * costs several times what the disk's own transfer does. Where the file system cannot do it (EINVAL, of
   * opening or of the first write), the file is written the ordinary way.
   */
  async #writeStage(stage: Buffer): Promise<void> {
    try {
      this.#direct ??= await openDescriptor(
        this.#temporary,
        constants.O_WRONLY | constants.O_DIRECT,
      )
      await writeAt(this.#direct, stage, this.#at)
    } catch (error) {
      if (errorCode(error) !== 'EINVAL') throw error
      await this.#leaveStage(this.#open())
      return
    }
    this.#at += stage.length
    this.#staged = 0
  }

  /** What is in the stage goes through the page cache, and so does all that follows. */
  async #leaveStage(fd: number): Promise<void> {
    const stage = this.#stage
    if (stage === undefined) return
    await this.#appendPlainly(fd, stage.subarray(0, this.#staged))
    this.#stage = undefined
    this.#around.stages.give(stage)
  }

  async #appendPlainly(fd: number, bytes: Buffer): Promise<void> {
    this.#refuseAfterFailedSync()
    await writeAt(fd, bytes, this.#at)
    this.#at += bytes.length
    this.#unsynced += bytes.length
    if (this.#unsynced >= bounds.syncEveryBytes) this.#startSync(fd)
  }

  /** Lets go of all that the file held. */
  #close(fd: number): void {
    this.#fd = undefined
    closeDescriptor(fd)
    if (this.#direct !== undefined) closeDescriptor(this.#direct)
    if (this.#stage !== undefined) this.#around.stages.give(this.#stage)
    this.#stage = undefined
  }

  #open(): number {
    invariant(this.#fd !== undefined, `chunk ${this.#chunk} is written after its end`)
    return this.#fd
  }

  /** Starts writing back what is there, so that the sync at the end is short. */
  #startSync(fd: number): void {
    if (this.#syncing !== undefined) return
    this.#unsynced = 0
    this.#syncing = syncData(fd).then(
      () => {
        this.#syncing = undefined
      },
      (error: unknown) => {
        this.#syncFailure = error
        this.#syncing = undefined
      },
    )
  }

  /** A failed sync may have dropped pages; a later one that succeeds proves nothing. */
  #refuseAfterFailedSync(): void {
    if (this.#syncFailure !== undefined) {
      throw diskError('sync', this.#temporary, this.#syncFailure)
    }
  }
}
