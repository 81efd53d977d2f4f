/**
 * One chunk file on its way to the disk: written under a temporary name, synced, renamed, and the
 * directory synced. Until the rename a crash leaves a temporary file, which start-up removes; after
 * it, a whole file that describes itself.
 */
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { invariant } from '../../schema/wire/invariant.ts'
import { bounds } from './bounds.ts'
import { chunkDirectory, chunkFileName, encodeTrailer, type ChunkMeta } from './chunk-format.ts'
import {
  closeDescriptor,
  diskError,
  openDescriptor,
  removeFile,
  syncData,
  writeAt,
} from './disk.ts'
import type { DurableDirectories } from './durable-directories.ts'

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

export class ChunkFileWriter {
  readonly #paths: ChunkPaths
  readonly #directories: DurableDirectories
  readonly #chunk: number
  readonly #temporary: string
  #fd: number | undefined
  #at = 0
  #unsynced = 0
  #syncing: Promise<void> | undefined
  #syncFailure: unknown

  private constructor(
    paths: ChunkPaths,
    directories: DurableDirectories,
    chunk: number,
    fd: number,
  ) {
    this.#paths = paths
    this.#directories = directories
    this.#chunk = chunk
    this.#temporary = temporaryPath(paths, chunk)
    this.#fd = fd
  }

  static async create(
    paths: ChunkPaths,
    directories: DurableDirectories,
    chunk: number,
  ): Promise<ChunkFileWriter> {
    const path = temporaryPath(paths, chunk)
    try {
      // 'w' and not 'wx': a leftover of an earlier attempt is overwritten.
      return new ChunkFileWriter(paths, directories, chunk, await openDescriptor(path, 'w'))
    } catch (error) {
      throw diskError('create', path, error)
    }
  }

  /** Writes the next bytes; they must not change before the promise resolves. */
  async append(bytes: Buffer): Promise<void> {
    const fd = this.#open()
    try {
      this.#refuseAfterFailedSync()
      await writeAt(fd, bytes, this.#at)
    } catch (error) {
      throw diskError('write', this.#temporary, error)
    }
    this.#at += bytes.length
    this.#unsynced += bytes.length
    if (this.#unsynced >= bounds.syncEveryBytes) this.#startSync(fd)
  }

  /** Makes the chunk durable under its name. */
  async finish(meta: ChunkMeta): Promise<void> {
    const fd = this.#open()
    const directory = join(this.#paths.root, chunkDirectory(this.#chunk))
    const path = chunkPath(this.#paths, this.#chunk)
    try {
      await writeAt(fd, encodeTrailer(meta), this.#at)
      const made = this.#directories.ensure(directory)
      made.catch(() => undefined)
      await this.#syncing
      this.#refuseAfterFailedSync()
      await syncData(fd)
      await made
      await rename(this.#temporary, path)
    } catch (error) {
      throw diskError('store', path, error)
    }
    this.#fd = undefined
    closeDescriptor(fd)
    try {
      await this.#directories.sync(directory)
    } catch (error) {
      await removeFile(path)
      throw diskError('store', path, error)
    }
  }

  /** Removes what was written; harmless after `finish`. */
  async abort(): Promise<void> {
    if (this.#fd === undefined) return
    const fd = this.#fd
    this.#fd = undefined
    await this.#syncing
    closeDescriptor(fd)
    await removeFile(this.#temporary)
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

function temporaryPath(paths: ChunkPaths, chunk: number): string {
  return join(paths.incoming, chunkFileName(chunk))
}
