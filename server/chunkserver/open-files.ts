/**
 * Chunk files open for reading, with their trailers: a bounded number stays open between requests.
 *
 * A file that is pushed out or deleted while somebody reads it is closed by its last reader.
 */
import { LRUCache } from 'lru-cache'
import { DfsError } from '../../schema/wire/status.ts'
import { bounds } from './bounds.ts'
import { decodeTrailer, TRAILER_BYTES_MAX, type ChunkMeta } from './chunk-format.ts'
import { closeDescriptor, diskError, errorCode, fileBytes, openDescriptor, readAt } from './disk.ts'

export class OpenFile {
  readonly fd: number
  readonly meta: ChunkMeta
  readonly path: string
  #users = 0
  #retired = false

  constructor(fd: number, meta: ChunkMeta, path: string) {
    this.fd = fd
    this.meta = meta
    this.path = path
  }

  acquire(): void {
    this.#users++
  }

  release(): void {
    this.#users--
    if (this.#retired && this.#users === 0) closeDescriptor(this.fd)
  }

  /** No new user comes; closes now or with the last one. */
  retire(): void {
    this.#retired = true
    if (this.#users === 0) closeDescriptor(this.fd)
  }
}

export class OpenFiles {
  readonly #files = new LRUCache<number, OpenFile>({
    max: bounds.openFilesMax,
    dispose: (file) => file.retire(),
  })
  /** Counts what was forgotten: a file opened across that may be a deleted one. */
  #forgotten = 0

  /**
   * The chunk's open file, acquired: the caller releases it. Throws `chunkMissing` when there is no
   * file, `chunkCorrupt` when its trailer is no good, `diskFailed`.
   */
  async acquire(chunk: number, path: string): Promise<OpenFile> {
    const known = this.tryAcquire(chunk)
    if (known !== undefined) return known
    const forgotten = this.#forgotten
    const file = await openChunkFile(chunk, path)
    file.acquire()
    if (forgotten === this.#forgotten) this.#files.set(chunk, file)
    else file.retire()
    return file
  }

  /** The chunk's file if it is kept open, acquired; it was not forgotten, so it is good. */
  tryAcquire(chunk: number): OpenFile | undefined {
    const known = this.#files.get(chunk)
    known?.acquire()
    return known
  }

  /** Does not keep the chunk's file any more; its readers do. */
  forget(chunk: number): void {
    this.#forgotten++
    this.#files.delete(chunk)
  }

  /** Closes all that nobody reads. */
  clear(): void {
    this.#forgotten++
    this.#files.clear()
  }
}

/** Opens a chunk file and reads its trailer; the caller closes it with `retire`. */
export async function openChunkFile(chunk: number, path: string): Promise<OpenFile> {
  let fd: number
  try {
    fd = await openDescriptor(path, 'r')
  } catch (error) {
    if (errorCode(error) === 'ENOENT') {
      throw new DfsError('chunkMissing', `chunk ${chunk} has no file ${path}`, { cause: error })
    }
    throw diskError('open', path, error)
  }
  try {
    const meta = await readTrailer(fd)
    if (typeof meta === 'string' || meta.chunk !== chunk) {
      const why = typeof meta === 'string' ? meta : `holds chunk ${meta.chunk}`
      throw new DfsError('chunkCorrupt', `chunk ${chunk} in ${path}: ${why}`)
    }
    return new OpenFile(fd, meta, path)
  } catch (error) {
    closeDescriptor(fd)
    throw diskError('read', path, error)
  }
}

async function readTrailer(fd: number): Promise<ChunkMeta | string> {
  const bytes = await fileBytes(fd)
  const tail = Buffer.allocUnsafe(Math.min(bytes, TRAILER_BYTES_MAX))
  const got = await readAt(fd, tail, bytes - tail.length)
  return decodeTrailer(tail.subarray(0, got), bytes)
}
