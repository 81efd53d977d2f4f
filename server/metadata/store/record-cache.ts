/**
 * The records that were used last, as they are stored, within a budget of bytes. Also remembers that a
 * key has no record, so that creating a file asks the engine once. Everything in it is durable or is in
 * the committer's overlay as well: dropping an entry never loses anything.
 *
 * All of it is one buffer and two arrays outside of V8's heap: to decode a record anew costs a
 * microsecond, while some hundred thousand objects that live for minutes make collecting garbage stop
 * everybody for up to 0.3 s. Records are written one behind the other, the newest over the oldest; one of
 * the older half that is asked for is written again. A key is looked for in one bucket of few places, so
 * nobody can make a lookup long by his choice of keys.
 */
import { randomBytes } from 'node:crypto'

/** Bytes before a key: its length, and the record's. */
const HEAD_BYTES = 8
/** Length that stands for a key known to have no record. */
const NONE = 0xffff_ffff
/** Places in a bucket. */
const WAYS = 8
/** Bytes of an entry that the number of places is made for: most are larger. */
const ENTRY_BYTES = 128
/** The part of the buffer, its oldest, from which an entry that is asked for is written again. */
const OLD_PART = 0.5
/** The part of the buffer that one entry may take. */
const ENTRY_PART = 0.125

export class RecordCache {
  readonly #bytes: Buffer
  /** By place: where its entry begins, counted from the first byte ever written; 0 for none. */
  readonly #starts: Float64Array
  /** By place: the hash of its key. */
  readonly #hashes: Int32Array
  readonly #bucketMask: number
  readonly #seed: number = randomBytes(4).readInt32LE()
  /** Where the next entry begins. Never 0: that is an empty place. */
  #end = HEAD_BYTES

  /** `budgetBytes`: what entries may take together, keys and all; at least 4 KiB. */
  constructor(budgetBytes: number) {
    // The pages that are not used yet take no memory.
    this.#bytes = Buffer.allocUnsafeSlow(Math.max(4_096, budgetBytes))
    let buckets = 1
    while (buckets * WAYS * ENTRY_BYTES < this.#bytes.length) buckets *= 2
    this.#bucketMask = buckets - 1
    this.#starts = new Float64Array(buckets * WAYS)
    this.#hashes = new Int32Array(buckets * WAYS)
  }

  /**
   * The record as stored, null for a key that is known to have none, undefined for one that nothing is
   * known of. The bytes are valid until the next call.
   */
  get(key: Buffer): Uint8Array | null | undefined {
    const hash = this.#hash(key)
    const place = this.#find(key, hash)
    if (place < 0) return undefined
    let start = this.#starts[place] ?? 0
    if (this.#end - start > this.#bytes.length * (1 - OLD_PART)) start = this.#again(place, start)
    const at = start % this.#bytes.length
    const length = this.#bytes.readUInt32LE(at + 4)
    if (length === NONE) return null
    const from = at + HEAD_BYTES + key.length
    return this.#bytes.subarray(from, from + length)
  }

  /** Whether {@link get} would know something. */
  has(key: Buffer): boolean {
    return this.#find(key, this.#hash(key)) >= 0
  }

  /** Remembers a record, or with undefined that there is none. */
  set(key: Buffer, record: Uint8Array | undefined): void {
    const hash = this.#hash(key)
    const bytes = HEAD_BYTES + key.length + (record?.length ?? 0)
    const found = this.#find(key, hash)
    if (bytes > this.#bytes.length * ENTRY_PART) {
      if (found >= 0) this.#starts[found] = 0
      return
    }
    const start = this.#room(bytes)
    const at = start % this.#bytes.length
    this.#bytes.writeUInt32LE(key.length, at)
    this.#bytes.writeUInt32LE(record?.length ?? NONE, at + 4)
    this.#bytes.set(key, at + HEAD_BYTES)
    if (record !== undefined) this.#bytes.set(record, at + HEAD_BYTES + key.length)
    const place = found >= 0 ? found : this.#oldest(hash)
    this.#starts[place] = start
    this.#hashes[place] = hash
  }

  /** The place of a key's entry; -1 when it has none. */
  #find(key: Buffer, hash: number): number {
    const first = (hash & this.#bucketMask) * WAYS
    const gone = this.#end - this.#bytes.length
    for (let place = first; place < first + WAYS; place++) {
      if (this.#hashes[place] !== hash) continue
      const start = this.#starts[place] ?? 0
      if (start === 0 || start < gone) continue
      const at = start % this.#bytes.length
      if (this.#bytes.readUInt32LE(at) !== key.length) continue
      const from = at + HEAD_BYTES
      if (key.compare(this.#bytes, from, from + key.length) === 0) return place
    }
    return -1
  }

  /** The place in a hash's bucket whose entry goes first, or is gone. */
  #oldest(hash: number): number {
    const first = (hash & this.#bucketMask) * WAYS
    let oldest = first
    for (let place = first + 1; place < first + WAYS; place++) {
      if ((this.#starts[place] ?? 0) < (this.#starts[oldest] ?? 0)) oldest = place
    }
    return oldest
  }

  /** Writes an entry that is about to be overwritten once more; returns where it is now. */
  #again(place: number, start: number): number {
    const from = start % this.#bytes.length
    const length = this.#bytes.readUInt32LE(from + 4)
    const bytes = HEAD_BYTES + this.#bytes.readUInt32LE(from) + (length === NONE ? 0 : length)
    const moved = this.#room(bytes)
    this.#bytes.copyWithin(moved % this.#bytes.length, from, from + bytes)
    this.#starts[place] = moved
    return moved
  }

  /** Makes room for an entry, which never spans the end of the buffer; returns where it begins. */
  #room(bytes: number): number {
    const left = this.#bytes.length - (this.#end % this.#bytes.length)
    const start = bytes > left ? this.#end + left : this.#end
    this.#end = start + bytes
    return start
  }

  /** FNV-1a with a secret start, its bits mixed at the end for the bucket. */
  #hash(key: Buffer): number {
    let hash = this.#seed
    for (let i = 0; i < key.length; i++) {
      hash = Math.imul(hash ^ (key[i] ?? 0), 0x0100_0193)
    }
    hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b)
    return hash ^ (hash >>> 13)
  }
}
