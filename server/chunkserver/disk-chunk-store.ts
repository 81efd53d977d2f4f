/**
 * The chunk store on files and RocksDB: chunks above one block are files of their own, smaller ones
 * live in the index, where many share one sync.
 *
 * Order of a write: file synced, renamed, directory synced, index record synced. Order of a delete:
 * file unlinked, then the record. So a crash leaves at worst a file without a record, which
 * `recoverFiles` takes up again, or a record without a file, which answers `chunkMissing` until the
 * order to delete it is repeated.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { ChunkRecord, ChunkTotals } from '../../schema/generated/chunk-index.ts'
import type { Log } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { ChunkMeta } from './chunk-format.ts'
import { ChunkFileWriter, chunkPath, type ChunkPaths } from './chunk-file-writer.ts'
import { ChunkIndex } from './chunk-index.ts'
import { FileChunkReader, SmallChunkReader, type OnDamage } from './chunk-readers.ts'
import type { ChunkReader, ChunkStore, ChunkWriter } from './chunk-store.ts'
import {
  NewChunkWriter,
  RepeatedChunkWriter,
  type ChunkSink,
  type StoredChunk,
} from './chunk-writers.ts'
import { diskError, removeFile, syncDirectory } from './disk.ts'
import { DurableDirectories } from './durable-directories.ts'
import { OpenFiles } from './open-files.ts'
import { StagePool } from './stage-pool.ts'

export interface DiskChunkStoreOptions {
  /** The chunkserver's directory; `chunks` and `index` are below it. */
  readonly directory: string
  readonly log: Log
  /** The index cannot be written any more: every later write fails, so the process should end. */
  readonly onFailure: (error: DfsError) => void
}

export class DiskChunkStore implements ChunkStore {
  readonly paths: ChunkPaths
  readonly index: ChunkIndex
  readonly #log: Log
  readonly #files = new OpenFiles()
  /** Ids that are being written, deleted or marked: one at a time. */
  readonly #busy = new Set<number>()
  readonly #sink: ChunkSink
  #damageFound = 0

  private constructor(index: ChunkIndex, paths: ChunkPaths, log: Log) {
    this.index = index
    this.paths = paths
    this.#log = log
    const directories = new DurableDirectories(paths.root)
    const stages = new StagePool(log)
    this.#sink = {
      createFile: (chunk) => ChunkFileWriter.create({ paths, directories, stages }, chunk),
      indexFile: ({ chunk, sealedBytes, writtenMs }) =>
        index.add(chunk, fileRecord(sealedBytes, writtenMs)),
      storeSmall: (meta, payload) => index.add(meta.chunk, smallRecord(meta), payload),
      done: (chunk) => this.release(chunk),
    }
  }

  /** Opens or makes the store. Throws `directoryInUse`, `diskFailed`, `versionMismatch`. */
  static async open(options: DiskChunkStoreOptions): Promise<DiskChunkStore> {
    const { directory, log, onFailure } = options
    const root = join(directory, 'chunks')
    const paths = { root, incoming: join(root, 'incoming'), lost: join(root, 'lost') }
    try {
      await mkdir(paths.incoming, { recursive: true, mode: 0o700 })
      await mkdir(paths.lost, { recursive: true, mode: 0o700 })
      await syncDirectory(root)
      await syncDirectory(directory)
    } catch (error) {
      throw diskError('prepare', root, error)
    }
    const index = await ChunkIndex.open(join(directory, 'index'), onFailure)
    return new DiskChunkStore(index, paths, log)
  }

  get totals(): ChunkTotals {
    return this.index.totals
  }

  get damageFound(): number {
    return this.#damageFound
  }

  async create(chunk: number, header: Uint8Array): Promise<ChunkWriter> {
    if (!this.claim(chunk)) throw busy(chunk)
    try {
      const record = await this.#record(chunk)
      if (record === undefined) return new NewChunkWriter(chunk, header, this.#sink)
      const stored = await this.#stored(chunk, record)
      if (!Buffer.from(header).equals(stored.header)) {
        throw new DfsError('chunkExists', `chunk ${chunk} is stored here with another header`)
      }
      return new RepeatedChunkWriter(stored, () => this.release(chunk))
    } catch (error) {
      this.release(chunk)
      throw error
    }
  }

  async replace(chunk: number, header: Uint8Array): Promise<ChunkWriter> {
    try {
      return await this.create(chunk, header)
    } catch (error) {
      // A file that is missing was noted as damage just now.
      const bad = error instanceof DfsError && /^chunk(Corrupt|Missing)$/.test(error.code)
      if (!bad) throw error
    }
    if (!this.claim(chunk)) throw busy(chunk)
    try {
      const found = await this.#readable(chunk)
      const old = found === 'corrupt' ? undefined : found
      if (old !== undefined && !old.damaged) throw busy(chunk)
      return new NewChunkWriter(chunk, header, this.#replacing(old))
    } catch (error) {
      this.release(chunk)
      throw error
    }
  }

  async holds(chunk: number): Promise<boolean> {
    const record = await this.#readable(chunk)
    return record !== undefined && record !== 'corrupt' && !record.damaged
  }

  async open(chunk: number): Promise<ChunkReader> {
    const file = this.#files.tryAcquire(chunk)
    if (file !== undefined) return new FileChunkReader(file, this.#noteDamage(chunk))
    const record = await this.#record(chunk)
    if (record === undefined) throw new DfsError('chunkMissing', `chunk ${chunk} is not here`)
    return this.#reader(chunk, record)
  }

  /** As {@link open}, but damage that it finds is not noted: for checks that change nothing. */
  async inspect(chunk: number): Promise<ChunkReader> {
    const record = await this.#record(chunk)
    if (record === undefined) throw new DfsError('chunkMissing', `chunk ${chunk} is not here`)
    return this.#reader(chunk, record, () => Promise.resolve())
  }

  async delete(chunks: readonly number[]): Promise<number[]> {
    const claimed = chunks.filter((chunk) => this.claim(chunk))
    try {
      await Promise.all(claimed.map((chunk) => this.#delete(chunk)))
    } finally {
      for (const chunk of claimed) this.release(chunk)
    }
    return claimed
  }

  confirm(chunks: readonly number[]): Promise<void> {
    return this.index.confirm(chunks)
  }

  askAnew(restored: bigint): Promise<void> {
    return this.index.askAnew(restored)
  }

  unconfirmed(options: {
    readonly beforeMs: number
    readonly limit: number
    readonly after: Buffer | undefined
  }): Promise<{ readonly chunks: number[]; readonly last: Buffer | undefined }> {
    return this.index.unconfirmed(options)
  }

  damaged(after: number, limit: number): Promise<number[]> {
    return this.index.damaged(after + 1, limit)
  }

  /** Reserves an id; false when somebody else has it. */
  claim(chunk: number): boolean {
    if (this.#busy.has(chunk)) return false
    this.#busy.add(chunk)
    return true
  }

  release(chunk: number): void {
    this.#busy.delete(chunk)
  }

  /** Refuses the chunk from now on, durably. One that is being deleted is passed over. */
  async markDamaged(chunk: number, reason: string): Promise<void> {
    if (!this.claim(chunk)) return
    try {
      await this.#markDamaged(chunk, reason)
    } finally {
      this.release(chunk)
    }
  }

  async close(): Promise<void> {
    this.#files.clear()
    await this.index.close()
  }

  /** Takes in what replaces a damaged copy; `old` is undefined when its record cannot be read. */
  #replacing(old: ChunkRecord | undefined): ChunkSink {
    return {
      ...this.#sink,
      indexFile: ({ chunk, sealedBytes, writtenMs }) =>
        this.index.replaceDamaged(chunk, old, fileRecord(sealedBytes, writtenMs), undefined),
      storeSmall: (meta, payload) =>
        this.index.replaceDamaged(meta.chunk, old, smallRecord(meta), payload),
    }
  }

  async #reader(
    chunk: number,
    record: ChunkRecord,
    onDamage: OnDamage = this.#noteDamage(chunk),
  ): Promise<FileChunkReader | SmallChunkReader> {
    if (record.damaged) {
      const damage = await this.index.damageOf(chunk)
      throw new DfsError('chunkCorrupt', `chunk ${chunk}: ${damage?.reason ?? 'damaged'}`)
    }
    if (record.small) {
      const payload = await this.#payload(chunk)
      // Deleted between the two reads.
      if (payload === undefined && (await this.#readable(chunk)) === undefined) {
        throw new DfsError('chunkMissing', `chunk ${chunk} is not here any more`)
      }
      return SmallChunkReader.open(chunk, record, payload, onDamage)
    }
    try {
      const file = await this.#files.acquire(chunk, chunkPath(this.paths, chunk))
      return new FileChunkReader(file, onDamage)
    } catch (error) {
      if (error instanceof DfsError && error.code !== 'diskFailed') {
        await onDamage(error.message)
      }
      throw error
    }
  }

  /** For readers: notes what they find. */
  #noteDamage(chunk: number): OnDamage {
    return (reason) => this.markDamaged(chunk, reason).catch(this.#cannotNote(chunk))
  }

  #cannotNote(chunk: number): (error: unknown) => void {
    return (error) => this.#log.error({ chunk, err: error }, 'cannot note that a chunk is damaged')
  }

  /** As `markDamaged`, for whoever has claimed the chunk. */
  async #markDamaged(chunk: number, reason: string): Promise<void> {
    const record = await this.#readable(chunk)
    if (record === undefined || (await this.index.damageOf(chunk)) !== undefined) return
    this.#files.forget(chunk)
    const inIndex = record === 'corrupt' || record.small
    const path = inIndex ? 'index' : chunkPath(this.paths, chunk)
    this.#log.error(
      { chunk, path, reason, damageFound: this.#damageFound + 1 },
      'this copy of a chunk is damaged and not served any more; other replicas are used',
    )
    const damage = { reason, foundMs: Date.now() }
    await this.index.markDamaged(chunk, record === 'corrupt' ? undefined : record, damage)
    // Counted last: whoever sees the count change finds the record.
    this.#damageFound++
  }

  async #stored(chunk: number, record: ChunkRecord): Promise<StoredChunk> {
    const reader = await this.#reader(chunk, record, (reason) =>
      this.#markDamaged(chunk, reason).catch(this.#cannotNote(chunk)),
    )
    const { header, sealedBytes, crcs } = reader
    reader.close()
    return { chunk, header, sealedBytes, crcs }
  }

  /** The record; a damaged one is a damaged chunk. */
  async #record(chunk: number): Promise<ChunkRecord | undefined> {
    const record = await this.#readable(chunk)
    if (record !== 'corrupt') return record
    throw new DfsError('chunkCorrupt', `the index record of chunk ${chunk} is damaged`)
  }

  async #readable(chunk: number): Promise<ChunkRecord | undefined | 'corrupt'> {
    try {
      return await this.index.get(chunk)
    } catch (error) {
      if (error instanceof DfsError && error.code === 'recordCorrupt') return 'corrupt'
      throw error
    }
  }

  /** A small chunk's bytes, undefined when they are gone or damaged. */
  async #payload(chunk: number): Promise<Buffer | undefined> {
    try {
      return await this.index.payload(chunk)
    } catch (error) {
      if (error instanceof DfsError && error.code === 'recordCorrupt') return undefined
      throw error
    }
  }

  async #delete(chunk: number): Promise<void> {
    const record = await this.#readable(chunk)
    this.#files.forget(chunk)
    if (record === undefined || record === 'corrupt' || !record.small) {
      await removeFile(chunkPath(this.paths, chunk))
    }
    if (record === undefined) return
    await this.index.remove(chunk, record === 'corrupt' ? undefined : record)
  }
}

const busy = (chunk: number): DfsError =>
  new DfsError('tooManyRequests', `chunk ${chunk} is being written or deleted; repeat it`)

function smallRecord({ sealedBytes, writtenMs, header, crcs }: ChunkMeta): ChunkRecord {
  return { sealedBytes, writtenMs, damaged: false, small: true, header, crc: crcs[0] ?? 0 }
}

/** The record of a chunk in a file of its own. */
export function fileRecord(sealedBytes: number, writtenMs: number): ChunkRecord {
  const header = new Uint8Array(0)
  return { sealedBytes, writtenMs, damaged: false, small: false, header, crc: 0 }
}
