/**
 * A backup as a file.
 *
 *   magic    8 bytes, `dfsbackp`
 *   header   u32 its bytes, JSON: see BackupHeader
 *   records  frames.ts
 *   digest   32 bytes, SHA-256 over everything before
 *
 * The header holds the files of the metadata directory as well: whoever has a backup can take the
 * metadata server's place, issue certificates and read all that the server knows. It is no more, and
 * no less, secret than the directory itself.
 */
import { createHash, type Hash } from 'node:crypto'
import { open, rename, rm, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { invariant } from '../../../schema/wire/invariant.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { syncFolder } from '../durable-file.ts'
import type { Entry } from '../../store/ordered-store.ts'
import { COUNTS_BYTES, countsOf, FRAME_BYTES_MAX, recordsOf, type RecordCounts } from './frames.ts'

const MAGIC = Buffer.from('dfsbackp')
/** Of this file, not of the store. */
const FORMAT = 1
const HEADER_BYTES_MAX = 1_048_576
const DIGEST_BYTES = 32
/** Bytes read or written at once. */
const PIECE_BYTES = 262_144

export interface BackupHeader {
  readonly format: number
  /** The cluster's id, hexadecimal. */
  readonly cluster: string
  readonly schemaVersion: number
  /** When the records were as they are here, ISO 8601. */
  readonly created: string
  /** Files of the directory but its store: path in it, and content. */
  readonly files: Readonly<Record<string, string>>
}

/**
 * Writes a backup, readable by its owner only, and reads it back: what is under `path` is a whole one at
 * any time. Throws `exists` when something is there already, `recordCorrupt` when the frames were cut or
 * the disk gives back something else.
 */
export async function writeBackup(
  path: string,
  header: Omit<BackupHeader, 'format'>,
  frames: AsyncIterable<Uint8Array>,
): Promise<RecordCounts & { readonly bytes: number }> {
  const temporary = `${path}.part`
  await refuseExisting(path)
  const file = await open(temporary, 'w', 0o600)
  try {
    const hash = createHash('sha256')
    let bytes = 0
    const write = async (piece: Uint8Array): Promise<void> => {
      hash.update(piece)
      await writeAll(file, piece)
      bytes += piece.length
    }
    const text = Buffer.from(JSON.stringify({ format: FORMAT, ...header }))
    const length = Buffer.alloc(4)
    length.writeUInt32LE(text.length)
    await write(Buffer.concat([MAGIC, length, text]))
    for await (const frame of frames) await write(frame)
    await writeAll(file, hash.digest())
    await file.sync()
    const counts = await readThrough(temporary)
    await rename(temporary, path)
    await syncFolder(dirname(path))
    return { ...counts, bytes: bytes + DIGEST_BYTES }
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  } finally {
    await file.close()
  }
}

async function readThrough(path: string): Promise<RecordCounts> {
  const reader = await BackupReader.open(path)
  try {
    for await (const entries of reader.records())
      invariant(entries.length > 0, 'frames hold records')
    return reader.counts
  } finally {
    await reader.close()
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    done += (await file.write(bytes, done, bytes.length - done)).bytesWritten
  }
}

async function refuseExisting(path: string): Promise<void> {
  try {
    await (await open(path, 'r')).close()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  throw new DfsError('exists', `${path} is there already; a backup replaces nothing`)
}

/**
 * Reads a backup from its beginning to its end. The digest is compared when everything was read, so
 * nothing that came before may be relied on until {@link records} has ended.
 */
export class BackupReader {
  readonly header: BackupHeader
  /** Known when all records were read. */
  counts: RecordCounts = { records: 0, damaged: 0 }
  /** Bytes read so far. */
  bytes = 0
  readonly #path: string
  readonly #file: FileHandle
  readonly #hash: Hash

  private constructor(path: string, file: FileHandle, hash: Hash, header: BackupHeader) {
    this.#path = path
    this.#file = file
    this.#hash = hash
    this.header = header
  }

  /** Throws `notFound`, `recordCorrupt` for what is no backup, `versionMismatch` for a newer format. */
  static async open(path: string): Promise<BackupReader> {
    let file: FileHandle
    try {
      file = await open(path, 'r')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      throw new DfsError('notFound', `there is no file ${path}`, { cause: error })
    }
    try {
      const hash = createHash('sha256')
      const head = await readExactly(path, file, MAGIC.length + 4)
      hash.update(head)
      const length = head.readUInt32LE(MAGIC.length)
      if (!head.subarray(0, MAGIC.length).equals(MAGIC) || length > HEADER_BYTES_MAX) {
        throw new DfsError('recordCorrupt', `${path} is no backup of a metadata server`)
      }
      const text = await readExactly(path, file, length)
      hash.update(text)
      return new BackupReader(path, file, hash, parseHeader(path, text.toString()))
    } catch (error) {
      await file.close()
      throw error
    }
  }

  /** The records, a frame at a time. Throws `recordCorrupt` for a file that was cut or changed. */
  async *records(): AsyncGenerator<Entry[]> {
    let read = 0
    for (;;) {
      const length = (await this.#read(4)).readUInt32LE()
      if (length === 0) break
      if (length > FRAME_BYTES_MAX) throw changed(this.#path)
      const entries = recordsOf(await this.#read(length))
      read += entries.length
      yield entries
    }
    this.counts = countsOf(await this.#read(COUNTS_BYTES))
    const digest = this.#hash.digest()
    const stored = await readExactly(this.#path, this.#file, DIGEST_BYTES)
    if (!digest.equals(stored) || read !== this.counts.records) throw changed(this.#path)
    const { bytesRead } = await this.#file.read(Buffer.alloc(1), 0, 1)
    if (bytesRead > 0) throw changed(this.#path)
  }

  close(): Promise<void> {
    return this.#file.close()
  }

  async #read(length: number): Promise<Buffer> {
    const bytes = await readExactly(this.#path, this.#file, length)
    this.#hash.update(bytes)
    this.bytes += length
    return bytes
  }
}

function changed(path: string): DfsError {
  return new DfsError('recordCorrupt', `${path} was cut off or changed; use another backup`)
}

async function readExactly(path: string, file: FileHandle, length: number): Promise<Buffer> {
  // From what is really there, so that a forged length allocates nothing.
  const pieces: Buffer[] = []
  for (let left = length; left > 0;) {
    const piece = Buffer.allocUnsafe(Math.min(left, PIECE_BYTES))
    const { bytesRead } = await file.read(piece, 0, piece.length)
    if (bytesRead === 0) throw changed(path)
    pieces.push(piece.subarray(0, bytesRead))
    left -= bytesRead
  }
  return pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces)
}

function parseHeader(path: string, text: string): BackupHeader {
  let parsed: Partial<BackupHeader>
  try {
    parsed = JSON.parse(text) as Partial<BackupHeader>
  } catch (error) {
    throw new DfsError('recordCorrupt', `the header of ${path} is damaged`, { cause: error })
  }
  const { format, cluster, schemaVersion, created, files } = parsed
  if (typeof format === 'number' && format > FORMAT) {
    const detail = `${path} has format ${format}, this program knows ${FORMAT}; use a newer program`
    throw new DfsError('versionMismatch', detail)
  }
  if (
    format !== FORMAT ||
    typeof cluster !== 'string' ||
    typeof schemaVersion !== 'number' ||
    typeof created !== 'string' ||
    typeof files !== 'object'
  ) {
    throw new DfsError('recordCorrupt', `the header of ${path} is damaged`)
  }
  return { format, cluster, schemaVersion, created, files }
}
