/**
 * The ordered key-value store that everything durable of a server stands on.
 *
 * Small on purpose, so that another engine can take RocksDB's place: point reads, bounded range
 * reads, atomic batches. Keys order as bytes. Values carry a checksum that is verified on every
 * read; damage is `recordCorrupt`, never wrong bytes. Memory is bounded by what callers ask for.
 */

/** One change of a batch; an absent value deletes the key. */
export interface Change {
  readonly key: Buffer
  readonly value: Uint8Array | undefined
}

export interface Entry {
  readonly key: Buffer
  readonly value: Buffer
}

export interface RangeOptions {
  /** First key, inclusive. */
  readonly from: Buffer
  /** End, exclusive. */
  readonly to: Buffer
  /** Entries returned at most, at least 1. */
  readonly limit: number
  /** From the end backwards. */
  readonly reverse?: boolean
  /** Called for a damaged record, which is then left out; must not throw. Without it the read fails. */
  readonly onCorrupt?: (key: Buffer) => void
}

/** An entry as a scan finds it; the value of a damaged record is undefined. */
export interface Scanned {
  readonly key: Buffer
  readonly value: Buffer | undefined
}

/** A walk over a key range; see {@link OrderedStore.scan}. */
export interface Scan {
  /** The next entries, in order; none when there are no more. One call at a time. */
  next(): Promise<readonly Scanned[]>
  /** Must be called once, also after the last entry; the store cannot close before. */
  close(): Promise<void>
}

export interface OrderedStore {
  /**
   * The value, or undefined when there is none. Throws `recordCorrupt` for a damaged record and
   * `diskFailed` when the engine cannot read.
   */
  get(key: Buffer): Promise<Buffer | undefined>
  /**
   * As {@link get} for many keys in one trip to the engine; the result is in their order. With
   * `onCorrupt` a damaged record is told of, by its place, and comes as undefined.
   */
  getMany(
    keys: readonly Buffer[],
    onCorrupt?: (index: number) => void,
  ): Promise<(Buffer | undefined)[]>
  /**
   * Entries of a key range, in order, as of one moment. Further pages start at
   * {@link keyAfter} the last one. Throws as {@link get}.
   */
  range(options: RangeOptions): Promise<Entry[]>
  /**
   * Walks over a key range, however long, as of the moment of the call: what is written meanwhile is
   * not seen. Pages are some tens of KiB; the engine keeps what the walk may still see for as long as
   * it is open. `next` throws `diskFailed` when the engine cannot read.
   */
  scan(range: Pick<RangeOptions, 'from' | 'to'>): Scan
  /**
   * Applies all changes or none; of two changes of one key the later wins. With `sync` it is on
   * stable storage when the promise resolves; without, it survives a kill of the process but not a
   * power cut. Buffers must not change before that. Throws `diskFull` or `diskFailed`; whether the
   * batch took effect is then unknown until the store is opened again.
   */
  write(changes: readonly Change[], options: { readonly sync: boolean }): Promise<void>
  /** Waits for what is under way, then closes; every later call throws InvariantError. */
  close(): Promise<void>
}

/** The smallest key greater than `key`. */
export function keyAfter(key: Uint8Array): Buffer {
  return Buffer.concat([key, ZERO])
}

const ZERO = Buffer.alloc(1)

/** The exclusive end of all keys that start with `prefix`, which must hold a byte below 255. */
export function prefixEnd(prefix: Uint8Array): Buffer {
  let length = prefix.length
  while (length > 0 && prefix[length - 1] === 0xff) length--
  if (length === 0) throw new RangeError('every key sorts below the end of this prefix')
  const end = Buffer.from(prefix.subarray(0, length))
  end.writeUInt8(end.readUInt8(length - 1) + 1, length - 1)
  return end
}
