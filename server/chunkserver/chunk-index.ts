/**
 * The index of stored chunks, in RocksDB: which are here, which of them nobody has confirmed, which
 * are damaged, and the bytes of small ones. Changes are durable when their promise resolves.
 */
import { randomBytes } from 'node:crypto'
import {
  ChunkDamage,
  ChunkIndexFormat,
  ChunkRecord,
  ChunkTotals,
  ScrubState,
} from '../../schema/generated/chunk-index.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { keyAfter, type Change, type OrderedStore } from '../store/ordered-store.ts'
import { openRocksStore } from '../store/rocks-store.ts'
import { GroupCommitter } from './group-committer.ts'
import { chunkOfKey, keys, writtenMsOfKey } from './index-keys.ts'

const FORMAT_VERSION = 1
/** Bytes of the id that an index gets when it is made. */
const STORE_ID_BYTES = 16
/** Bytes of RocksDB's caches: records are small and the bytes of chunks are better cached by the system. */
const CACHE_BYTES = 64 * 1_048_576
const WRITE_BUFFER_BYTES = 32 * 1_048_576
/** Records read at once when all of them are counted. */
const COUNT_PAGE = 4_096

export interface IndexedChunk extends ChunkRecord {
  readonly chunk: number
}

export class ChunkIndex {
  /** Random, made with the index: an index with another id knows nothing of what was here. */
  readonly id: Uint8Array
  readonly #store: OrderedStore
  readonly #committer: GroupCommitter

  private constructor(id: Uint8Array, store: OrderedStore, committer: GroupCommitter) {
    this.id = id
    this.#store = store
    this.#committer = committer
  }

  /**
   * Opens or makes the index. Throws `directoryInUse`, `diskFailed`, or `versionMismatch` for the
   * index of a later version. `onFailure` is called once, when writing has become impossible.
   */
  static async open(directory: string, onFailure: (error: DfsError) => void): Promise<ChunkIndex> {
    const store = await openRocksStore(directory, {
      cacheBytes: CACHE_BYTES,
      writeBufferBytes: WRITE_BUFFER_BYTES,
      compression: false,
    })
    try {
      const id = await checkFormat(store, directory)
      const value = await loadTotals(store)
      return new ChunkIndex(
        id,
        store,
        new GroupCommitter(store, { key: keys.totals, value }, onFailure),
      )
    } catch (error) {
      await store.close()
      throw error
    }
  }

  get totals(): ChunkTotals {
    return this.#committer.totals
  }

  /** Throws `recordCorrupt`, `diskFailed`. */
  async get(chunk: number): Promise<ChunkRecord | undefined> {
    const value = await this.#store.get(keys.record(chunk))
    return value === undefined ? undefined : ChunkRecord.decode(value)
  }

  /** The sealed bytes of a small chunk. Throws as {@link get}. */
  payload(chunk: number): Promise<Buffer | undefined> {
    return this.#store.get(keys.payload(chunk))
  }

  /** Adds a chunk that is not there; `payload` for a small one. */
  add(chunk: number, record: ChunkRecord, payload?: Buffer): Promise<void> {
    const changes: Change[] = [
      { key: keys.record(chunk), value: ChunkRecord.encode(record) },
      { key: keys.unconfirmed(record.writtenMs, chunk), value: EMPTY },
    ]
    if (payload !== undefined) changes.push({ key: keys.payload(chunk), value: payload })
    return this.#committer.commit(changes, { chunks: 1, bytes: record.sealedBytes })
  }

  /** Puts a record in the place of one that cannot be read. */
  replaceCorrupt(chunk: number, record: ChunkRecord): Promise<void> {
    this.#committer.distrustTotals()
    return this.add(chunk, record)
  }

  /**
   * Puts a good copy in the place of a damaged one; `old` is the damaged one's record, undefined when
   * it cannot be read; `payload` is for a small chunk.
   */
  replaceDamaged(
    chunk: number,
    old: ChunkRecord | undefined,
    record: ChunkRecord,
    payload: Buffer | undefined,
  ): Promise<void> {
    const changes: Change[] = [{ key: keys.damage(chunk), value: undefined }]
    if (old === undefined) this.#committer.distrustTotals()
    else changes.push({ key: keys.unconfirmed(old.writtenMs, chunk), value: undefined })
    changes.push(
      { key: keys.payload(chunk), value: payload },
      { key: keys.record(chunk), value: ChunkRecord.encode(record) },
      { key: keys.unconfirmed(record.writtenMs, chunk), value: EMPTY },
    )
    const bytes = old === undefined ? 0 : record.sealedBytes - old.sealedBytes
    return this.#committer.commit(changes, { chunks: 0, bytes })
  }

  /** Removes a chunk; `record` is what is stored, undefined when it cannot be read. */
  remove(chunk: number, record: ChunkRecord | undefined): Promise<void> {
    const changes: Change[] = [
      { key: keys.record(chunk), value: undefined },
      { key: keys.damage(chunk), value: undefined },
      { key: keys.payload(chunk), value: undefined },
    ]
    if (record === undefined) this.#committer.distrustTotals()
    else changes.push({ key: keys.unconfirmed(record.writtenMs, chunk), value: undefined })
    return this.#committer.commit(changes, { chunks: -1, bytes: -(record?.sealedBytes ?? 0) })
  }

  /** Forgets that the chunks are unconfirmed; those that are not here are passed over. */
  async confirm(chunks: readonly number[]): Promise<void> {
    const changes: Change[] = []
    for (const chunk of chunks) {
      const record = await this.get(chunk)
      if (record === undefined) continue
      changes.push({ key: keys.unconfirmed(record.writtenMs, chunk), value: undefined })
    }
    if (changes.length > 0) await this.#committer.commit(changes)
  }

  /** Makes every chunk unconfirmed, unless that was done for the same `restored` before. */
  async askAnew(restored: bigint): Promise<void> {
    const asked = await this.#store.get(keys.asked)
    if (asked !== undefined && asked.readBigInt64LE() >= restored) return
    let from = keys.record(0)
    for (;;) {
      let last: Buffer | undefined
      const page = await this.#store.range({
        from,
        to: keys.recordEnd,
        limit: COUNT_PAGE,
        // Scrubbing takes care of it; its copy is not asked about.
        onCorrupt: (key) => (last = key),
      })
      const changes: Change[] = page.map(({ key, value }) => ({
        key: keys.unconfirmed(ChunkRecord.decode(value).writtenMs, chunkOfKey(key)),
        value: EMPTY,
      }))
      if (changes.length > 0) await this.#committer.commit(changes)
      const end = page.at(-1)?.key
      if (end !== undefined && (last === undefined || end.compare(last) > 0)) last = end
      if (last === undefined) break
      from = keyAfter(last)
    }
    const value = Buffer.alloc(8)
    value.writeBigInt64LE(restored)
    await this.#committer.commit([{ key: keys.asked, value }])
  }

  /**
   * Unconfirmed chunks written before `beforeMs`, oldest first, and the key to go on behind. Entries
   * that no record backs any more are dropped on the way.
   */
  async unconfirmed(options: {
    readonly beforeMs: number
    readonly limit: number
    readonly after: Buffer | undefined
  }): Promise<{ chunks: number[]; last: Buffer | undefined }> {
    const entries = await this.#store.range({
      from: options.after === undefined ? keys.unconfirmedStart : keyAfter(options.after),
      to: keys.unconfirmed(Math.max(0, options.beforeMs), 0),
      limit: options.limit,
    })
    const chunks: number[] = []
    const stale: Change[] = []
    for (const { key } of entries) {
      const chunk = chunkOfKey(key)
      if (await this.#isBacked(chunk, writtenMsOfKey(key))) chunks.push(chunk)
      else stale.push({ key, value: undefined })
    }
    if (stale.length > 0) await this.#committer.commit(stale)
    return { chunks, last: entries.at(-1)?.key }
  }

  /** Marks a chunk as not to be served; `record` is undefined when it cannot be read. */
  markDamaged(chunk: number, record: ChunkRecord | undefined, damage: ChunkDamage): Promise<void> {
    const changes: Change[] = [{ key: keys.damage(chunk), value: ChunkDamage.encode(damage) }]
    if (record !== undefined) {
      const value = ChunkRecord.encode({ ...record, damaged: true })
      changes.push({ key: keys.record(chunk), value })
    }
    return this.#committer.commit(changes)
  }

  /** Damaged chunks from id `from` on. */
  async damaged(from: number, limit: number): Promise<number[]> {
    const range = { from: keys.damage(from), to: keys.damageEnd, limit }
    const entries = await this.#store.range(range)
    return entries.map(({ key }) => chunkOfKey(key))
  }

  async damageOf(chunk: number): Promise<ChunkDamage | undefined> {
    const value = await this.#store.get(keys.damage(chunk))
    return value === undefined ? undefined : ChunkDamage.decode(value)
  }

  /** Records from id `from` on; `onCorrupt` gets the ids of those that cannot be read. */
  async page(
    from: number,
    limit: number,
    onCorrupt: (chunk: number) => void,
  ): Promise<IndexedChunk[]> {
    const entries = await this.#store.range({
      from: keys.record(from),
      to: keys.recordEnd,
      limit,
      onCorrupt: (key) => onCorrupt(chunkOfKey(key)),
    })
    return entries.map(({ key, value }) => ({
      ...ChunkRecord.decode(value),
      chunk: chunkOfKey(key),
    }))
  }

  async scrubState(): Promise<ScrubState | undefined> {
    const value = await this.#store.get(keys.scrub)
    return value === undefined ? undefined : ScrubState.decode(value)
  }

  saveScrubState(state: ScrubState): Promise<void> {
    return this.#committer.commit([{ key: keys.scrub, value: ScrubState.encode(state) }])
  }

  async close(): Promise<void> {
    await this.#committer.idle()
    await this.#store.close()
  }

  async #isBacked(chunk: number, writtenMs: number): Promise<boolean> {
    try {
      const record = await this.get(chunk)
      return record !== undefined && record.writtenMs === writtenMs
    } catch (error) {
      if (error instanceof DfsError && error.code === 'recordCorrupt') return true
      throw error
    }
  }
}

const EMPTY = Buffer.alloc(0)

/** Checks the format and returns the id of the index; a new one gets both. */
async function checkFormat(store: OrderedStore, directory: string): Promise<Uint8Array> {
  const value = await store.get(keys.format)
  const known = value === undefined ? undefined : ChunkIndexFormat.decode(value)
  if (known !== undefined && known.version !== FORMAT_VERSION) {
    throw new DfsError(
      'versionMismatch',
      `the index in ${directory} has format ${known.version}, this program knows ${FORMAT_VERSION}; run the version that wrote it`,
    )
  }
  if (known !== undefined && known.store.length > 0) return known.store
  const id = randomBytes(STORE_ID_BYTES)
  const format = ChunkIndexFormat.encode({ version: FORMAT_VERSION, store: id })
  await store.write([{ key: keys.format, value: format }], { sync: true })
  return id
}

/** The sums as recorded, or counted anew when the record is missing or damaged. */
async function loadTotals(store: OrderedStore): Promise<ChunkTotals> {
  try {
    const value = await store.get(keys.totals)
    if (value !== undefined) return ChunkTotals.decode(value)
  } catch (error) {
    if (!(error instanceof DfsError) || error.code !== 'recordCorrupt') throw error
  }
  return countTotals(store)
}

async function countTotals(store: OrderedStore): Promise<ChunkTotals> {
  const totals = { chunks: 0, sealedBytes: 0 }
  let from = keys.record(0)
  for (;;) {
    const page = await store.range({
      from,
      to: keys.recordEnd,
      limit: COUNT_PAGE,
      onCorrupt: () => totals.chunks++,
    })
    for (const { value } of page) {
      totals.chunks++
      totals.sealedBytes += ChunkRecord.decode(value).sealedBytes
    }
    const last = page.at(-1)
    if (last === undefined) return totals
    from = keyAfter(last.key)
  }
}
