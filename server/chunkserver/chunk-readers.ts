/**
 * The two ways a chunk is read: from its file, and from the index. Both hand out only blocks that
 * match their checksum, and tell the store when one does not.
 */
import { crc32 } from 'node:zlib'
import type { ChunkRecord } from '../../schema/generated/chunk-index.ts'
import { invariant } from '../../schema/wire/invariant.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { blockCount, damagedBlock } from './chunk-format.ts'
import type { ChunkReader } from './chunk-store.ts'
import { diskError, readAt } from './disk.ts'
import type { OpenFile } from './open-files.ts'

/** Called with the reason when the stored bytes are not what was written; never rejects. */
export type OnDamage = (reason: string) => Promise<void>

export class FileChunkReader implements ChunkReader {
  readonly chunk: number
  readonly header: Uint8Array
  readonly sealedBytes: number
  readonly crcs: Uint32Array
  readonly #file: OpenFile
  readonly #onDamage: OnDamage

  /** Takes over an acquired file. */
  constructor(file: OpenFile, onDamage: OnDamage) {
    this.chunk = file.meta.chunk
    this.header = file.meta.header
    this.sealedBytes = file.meta.sealedBytes
    this.crcs = file.meta.crcs
    this.#file = file
    this.#onDamage = onDamage
  }

  async read(first: number, count: number, into: Buffer): Promise<number> {
    const start = first * limits.sealedBlockBytes
    const wanted = Math.min(count * limits.sealedBlockBytes, this.sealedBytes - start)
    invariant(wanted > 0 && wanted <= into.length, `blocks ${first}+${count} of ${this.chunk}`)
    const bytes = wanted === into.length ? into : into.subarray(0, wanted)
    let got: number
    try {
      got = await readAt(this.#file.fd, bytes, start)
    } catch (error) {
      throw diskError('read', this.#file.path, error)
    }
    if (got < wanted) throw await this.#damaged(`${this.#file.path} ends too early`)
    const damaged = damagedBlock(bytes, this.crcs, first)
    if (damaged !== undefined) {
      throw await this.#damaged(
        `block ${damaged} of ${this.#file.path} does not match its checksum`,
      )
    }
    return wanted
  }

  close(): void {
    this.#file.release()
  }

  async #damaged(reason: string): Promise<DfsError> {
    await this.#onDamage(reason)
    return new DfsError('chunkCorrupt', `chunk ${this.chunk}: ${reason}`)
  }
}

export class SmallChunkReader implements ChunkReader {
  readonly chunk: number
  readonly header: Uint8Array
  readonly sealedBytes: number
  readonly crcs: Uint32Array
  readonly #payload: Buffer

  private constructor(chunk: number, record: ChunkRecord, payload: Buffer) {
    this.chunk = chunk
    this.header = record.header
    this.sealedBytes = record.sealedBytes
    this.crcs = Uint32Array.of(record.crc)
    this.#payload = payload
  }

  /** Checks a small chunk's bytes once; `payload` is undefined when they cannot be read. */
  static async open(
    chunk: number,
    record: ChunkRecord,
    payload: Buffer | undefined,
    onDamage: OnDamage,
  ): Promise<SmallChunkReader> {
    const whole =
      payload !== undefined &&
      payload.length === record.sealedBytes &&
      crc32(payload) === record.crc
    if (whole) return new SmallChunkReader(chunk, record, payload)
    const reason = 'its bytes in the index do not match their checksum'
    await onDamage(reason)
    throw new DfsError('chunkCorrupt', `chunk ${chunk}: ${reason}`)
  }

  read(first: number, count: number, into: Buffer): Promise<number> {
    invariant(first === 0 && count >= 1 && blockCount(this.sealedBytes) === 1, 'one block')
    into.set(this.#payload)
    return Promise.resolve(this.sealedBytes)
  }

  close(): void {
    // Nothing is held.
  }
}
