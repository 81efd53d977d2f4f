/**
 * The two ways a chunk comes in: as a new one, small or in a file, and as the repetition of a
 * stored one, which is compared instead of written.
 */
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { bounds } from './bounds.ts'
import type { ChunkFileWriter } from './chunk-file-writer.ts'
import { checksumBlocks, type ChunkMeta } from './chunk-format.ts'
import type { ChunkInfo, ChunkWriter } from './chunk-store.ts'

/** Where a new chunk goes; all of it provided by the store. */
export interface ChunkSink {
  createFile(chunk: number): Promise<ChunkFileWriter>
  /** Index record of a chunk whose file is in place. */
  indexFile(meta: ChunkMeta): Promise<void>
  storeSmall(meta: ChunkMeta, payload: Buffer): Promise<void>
  /** The id may be used again. */
  done(chunk: number): void
}

const CHUNK_SEALED_BYTES_MAX = limits.chunkBlocksMax * limits.sealedBlockBytes

/** Counts and checksums what comes in. */
class Intake {
  readonly #chunk: number
  readonly #crcs = new Uint32Array(limits.chunkBlocksMax)
  #blocks = 0
  bytes = 0

  constructor(chunk: number) {
    this.#chunk = chunk
  }

  get crcs(): Uint32Array {
    return this.#crcs.slice(0, this.#blocks)
  }

  add(piece: Buffer): void {
    if (this.bytes + piece.length > CHUNK_SEALED_BYTES_MAX) {
      throw new DfsError(
        'invalidArgument',
        `chunk ${this.#chunk} is longer than ${CHUNK_SEALED_BYTES_MAX} bytes`,
      )
    }
    this.bytes += piece.length
    this.#blocks += checksumBlocks(piece, this.#crcs, this.#blocks)
  }

  refuseEmpty(): void {
    if (this.bytes > 0) return
    throw new DfsError('invalidArgument', `chunk ${this.#chunk} is empty; send at least one block`)
  }
}

/** A chunk that is not here yet. */
export class NewChunkWriter implements ChunkWriter {
  readonly #chunk: number
  readonly #header: Uint8Array
  readonly #sink: ChunkSink
  readonly #intake: Intake
  /** The first piece, while it may turn out to be a whole small chunk. */
  #head: Buffer | undefined
  #file: ChunkFileWriter | undefined
  #ended = false

  constructor(chunk: number, header: Uint8Array, sink: ChunkSink) {
    this.#chunk = chunk
    this.#header = header
    this.#sink = sink
    this.#intake = new Intake(chunk)
  }

  async append(bytes: Buffer): Promise<void> {
    const first = this.#intake.bytes === 0
    this.#intake.add(bytes)
    if (first && bytes.length <= bounds.smallChunkBytesMax) {
      this.#head = Buffer.from(bytes)
      return
    }
    this.#file ??= await this.#sink.createFile(this.#chunk)
    if (this.#head !== undefined) {
      await this.#file.append(this.#head)
      this.#head = undefined
    }
    await this.#file.append(bytes)
  }

  async commit(): Promise<ChunkInfo> {
    try {
      return await this.#commit()
    } finally {
      await this.abort()
    }
  }

  async abort(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    try {
      await this.#file?.abort()
    } finally {
      this.#sink.done(this.#chunk)
    }
  }

  async #commit(): Promise<ChunkInfo> {
    this.#intake.refuseEmpty()
    const meta: ChunkMeta = {
      chunk: this.#chunk,
      writtenMs: Date.now(),
      sealedBytes: this.#intake.bytes,
      header: this.#header,
      crcs: this.#intake.crcs,
    }
    if (this.#head !== undefined) {
      await this.#sink.storeSmall(meta, this.#head)
    } else if (this.#file !== undefined) {
      await this.#file.finish(meta)
      await this.#sink.indexFile(meta)
    }
    return meta
  }
}

/** What is stored under the id already. */
export interface StoredChunk extends ChunkInfo {
  readonly crcs: Uint32Array
}

/** The repetition of a stored chunk; must come to the same bytes. */
export class RepeatedChunkWriter implements ChunkWriter {
  readonly #stored: StoredChunk
  readonly #intake: Intake
  readonly #done: () => void
  #ended = false

  constructor(stored: StoredChunk, done: () => void) {
    this.#stored = stored
    this.#intake = new Intake(stored.chunk)
    this.#done = done
  }

  append(bytes: Buffer): Promise<void> {
    this.#intake.add(bytes)
    return Promise.resolve()
  }

  async commit(): Promise<ChunkInfo> {
    await this.abort()
    this.#intake.refuseEmpty()
    const { chunk, sealedBytes, crcs } = this.#stored
    if (sealedBytes !== this.#intake.bytes || !sameNumbers(crcs, this.#intake.crcs)) {
      throw new DfsError('chunkExists', `chunk ${chunk} is stored here with other bytes`)
    }
    return this.#stored
  }

  abort(): Promise<void> {
    if (!this.#ended) {
      this.#ended = true
      this.#done()
    }
    return Promise.resolve()
  }
}

function sameNumbers(a: Uint32Array, b: Uint32Array): boolean {
  return a.length === b.length && a.every((value, at) => value === b[at])
}
