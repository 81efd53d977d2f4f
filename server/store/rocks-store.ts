/**
 * The ordered store on RocksDB; the only importer of the package.
 *
 * The binding crashes the process when it is called before open or after close, and takes anything
 * but a Buffer for text: both are ruled out here. A value is stored with a CRC-32 over its key and
 * itself behind it, since scans of the engine skip its own checksums.
 */
import { crc32 } from 'node:zlib'
import RocksDb, { type BatchChange, type Iterator } from 'rocksdb'
import { invariant } from '../../schema/wire/invariant.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { GatheredReads, type Answered } from './gathered-reads.ts'
import type { Change, Entry, OrderedStore, RangeOptions, Scan, Scanned } from './ordered-store.ts'

const CRC_BYTES = 4
/** Bytes that the engine reads ahead for a scan before it comes back to the main thread. */
const SCAN_BYTES = 65_536

export interface RocksOptions {
  /** Bytes of blocks kept in memory. */
  readonly cacheBytes: number
  /** Bytes of a memory table; two or three exist at a time. */
  readonly writeBufferBytes: number
  /** Compress blocks; off for values that are ciphertext anyway. */
  readonly compression: boolean
  /** Make a store where there is none; else that is `diskFailed`. */
  readonly createIfMissing: boolean
}

const rocksDefaults: RocksOptions = {
  cacheBytes: 128 * 1_048_576,
  writeBufferBytes: 64 * 1_048_576,
  compression: true,
  createIfMissing: true,
}

/** File descriptors that the engine keeps open at most. */
const OPEN_FILES_MAX = 1_000
/** Bytes of a table file at the first level: few files instead of thousands. */
const TABLE_FILE_BYTES = 64 * 1_048_576

/**
 * Opens the store in a directory of its own, making it when it is missing. Throws `directoryInUse`
 * when another process has it open, `diskFailed` when the engine cannot open it.
 */
export async function openRocksStore(
  directory: string,
  options: Partial<RocksOptions> = {},
): Promise<OrderedStore> {
  const { cacheBytes, writeBufferBytes, compression, createIfMissing } = {
    ...rocksDefaults,
    ...options,
  }
  const db = new RocksDb(directory)
  await new Promise<void>((resolve, reject) => {
    db.open(
      {
        createIfMissing,
        compression,
        cacheSize: cacheBytes,
        writeBufferSize: writeBufferBytes,
        maxOpenFiles: OPEN_FILES_MAX,
        maxFileSize: TABLE_FILE_BYTES,
      },
      (error) => {
        if (error) reject(openError(directory, error))
        else resolve()
      },
    )
  })
  return new RocksStore(db, directory)
}

class RocksStore implements OrderedStore {
  readonly #db: RocksDb
  readonly #directory: string
  readonly #reads: GatheredReads
  #open = true
  /** Calls in the engine; it is closed when there are none. */
  #busy = 0
  #idle: (() => void) | undefined
  #closed: Promise<void> | undefined

  constructor(db: RocksDb, directory: string) {
    this.#db = db
    this.#directory = directory
    this.#reads = new GatheredReads({
      one: (key, answered) => this.#readOne(key, answered),
      many: (keys, answered) =>
        db.getMany(keys, { asBuffer: true }, (error, values) =>
          answered(error ?? undefined, values),
        ),
    })
  }

  get(key: Buffer): Promise<Buffer | undefined> {
    this.#enter()
    return new Promise((resolve, reject) => {
      this.#reads.get(key, (error, stored) => {
        this.#leave()
        if (error) return reject(this.#failure('read', error))
        if (stored === undefined) return resolve(undefined)
        const payload = verified(key, stored)
        return payload === undefined ? reject(corrupt(this.#directory, key)) : resolve(payload)
      })
    })
  }

  #readOne(key: Buffer, answered: Answered): void {
    this.#db.get(key, { asBuffer: true }, (error, value) => {
      if (!error) answered(undefined, value)
      else if (error.message.startsWith('NotFound')) answered(undefined)
      else answered(error)
    })
  }

  getMany(
    keys: readonly Buffer[],
    onCorrupt?: (index: number) => void,
  ): Promise<(Buffer | undefined)[]> {
    const [only] = keys
    if (keys.length === 1 && only !== undefined) return this.#getOnly(only, onCorrupt)
    this.#enter()
    return new Promise((resolve, reject) => {
      this.#db.getMany(keys, { asBuffer: true }, (error, values = []) => {
        this.#leave()
        if (error) return reject(this.#failure('read', error))
        const found: (Buffer | undefined)[] = []
        for (const [i, key] of keys.entries()) {
          const stored = values[i]
          const payload = stored === undefined ? undefined : verified(key, stored)
          if (stored !== undefined && payload === undefined) {
            if (onCorrupt === undefined) return reject(corrupt(this.#directory, key))
            onCorrupt(i)
          }
          found.push(payload)
        }
        return resolve(found)
      })
    })
  }

  async #getOnly(
    key: Buffer,
    onCorrupt?: (index: number) => void,
  ): Promise<(Buffer | undefined)[]> {
    try {
      return [await this.get(key)]
    } catch (error) {
      if (onCorrupt === undefined || !(error instanceof DfsError && error.code === 'recordCorrupt'))
        throw error
      onCorrupt(0)
      return [undefined]
    }
  }

  range({ from, to, limit, reverse = false, onCorrupt }: RangeOptions): Promise<Entry[]> {
    invariant(limit >= 1, 'a range read is bounded')
    // The engine ignores an empty bound instead of taking it as the lowest key.
    invariant(from.length > 0 && to.length > 0, 'a range has two bounds')
    if (from.compare(to) >= 0) return Promise.resolve([])
    this.#enter()
    const iterator = this.#db.iterator({
      gte: from,
      lt: to,
      reverse,
      limit,
      highWaterMark: SCAN_BYTES,
      fillCache: true,
    })
    return new Promise((resolve, reject) => {
      const entries: Entry[] = []
      const finish = (failure: Error | undefined): void => {
        iterator.end(() => {
          this.#leave()
          if (failure === undefined) resolve(entries)
          else reject(failure)
        })
      }
      const take = (error: Error | null | undefined, key?: Buffer, value?: Buffer): void => {
        if (error) return finish(this.#failure('scan', error))
        if (key === undefined || value === undefined) return finish(undefined)
        const payload = verified(key, value)
        if (payload !== undefined) entries.push({ key, value: payload })
        else if (onCorrupt === undefined) return finish(corrupt(this.#directory, key))
        else onCorrupt(key)
        iterator.next(take)
      }
      iterator.next(take)
    })
  }

  scan({ from, to }: Pick<RangeOptions, 'from' | 'to'>): Scan {
    invariant(from.length > 0 && to.length > 0, 'a scan has two bounds')
    this.#enter()
    const iterator = this.#db.iterator({
      gte: from,
      lt: to,
      reverse: false,
      limit: -1,
      highWaterMark: SCAN_BYTES,
      // A walk over everything would drive out what others read again and again.
      fillCache: false,
    })
    let closed: Promise<void> | undefined
    return {
      next: () => this.#page(iterator),
      close: () =>
        (closed ??= new Promise((resolve) =>
          iterator.end(() => {
            this.#leave()
            resolve()
          }),
        )),
    }
  }

  #page(iterator: Iterator): Promise<Scanned[]> {
    return new Promise((resolve, reject) => {
      const entries: Scanned[] = []
      let bytes = 0
      const take = (error: Error | null | undefined, key?: Buffer, value?: Buffer): void => {
        if (error) return reject(this.#failure('scan', error))
        if (key === undefined || value === undefined) return resolve(entries)
        entries.push({ key, value: verified(key, value) })
        bytes += key.length + value.length
        if (bytes >= SCAN_BYTES) return resolve(entries)
        iterator.next(take)
      }
      iterator.next(take)
    })
  }

  write(changes: readonly Change[], options: { readonly sync: boolean }): Promise<void> {
    this.#enter()
    return new Promise((resolve, reject) => {
      this.#db.batch(changes.map(sealed), { sync: options.sync }, (error) => {
        this.#leave()
        if (error) reject(this.#failure('write', error))
        else resolve()
      })
    })
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#open = false
    if (this.#busy > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
    await new Promise<void>((resolve, reject) => {
      this.#db.close((error) => {
        if (error) reject(this.#failure('close', error))
        else resolve()
      })
    })
  }

  #enter(): void {
    invariant(this.#open, `the store in ${this.#directory} is closed`)
    this.#busy++
  }

  #leave(): void {
    this.#busy--
    if (this.#busy === 0) this.#idle?.()
  }

  #failure(what: string, cause: Error): DfsError {
    const full = cause.message.includes('No space left')
    return new DfsError(
      full ? 'diskFull' : 'diskFailed',
      `cannot ${what} the store in ${this.#directory}: ${cause.message}` +
        (full ? '; free some space' : '; look at the disk and the kernel log'),
      { cause },
    )
  }
}

function sealed({ key, value }: Change): BatchChange {
  if (value === undefined) return { type: 'del', key }
  const stored = Buffer.allocUnsafe(value.length + CRC_BYTES)
  stored.set(value)
  stored.writeUInt32LE(crc32(value, crc32(key)), value.length)
  return { type: 'put', key, value: stored }
}

/** The value without its checksum, undefined when the two do not match. */
function verified(key: Buffer, stored: Buffer): Buffer | undefined {
  const length = stored.length - CRC_BYTES
  if (length < 0) return undefined
  const value = stored.subarray(0, length)
  return crc32(value, crc32(key)) === stored.readUInt32LE(length) ? value : undefined
}

function corrupt(directory: string, key: Buffer): DfsError {
  return new DfsError(
    'recordCorrupt',
    `the record ${key.toString('hex')} in ${directory} does not match its checksum; restore it from a backup`,
  )
}

function openError(directory: string, cause: Error): DfsError {
  const locked = cause.message.includes('lock')
  return locked
    ? new DfsError('directoryInUse', `another process has ${directory} open; stop it first`, {
        cause,
      })
    : new DfsError('diskFailed', `cannot open the store in ${directory}: ${cause.message}`, {
        cause,
      })
}
