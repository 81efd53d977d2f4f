/**
 * What a store of sealed chunks promises; `DiskChunkStore` is the one on files and RocksDB.
 *
 * A chunk never changes. It is there whole or not at all, after any crash. Bytes that a reader hands
 * out have matched their checksum since they were read from the disk.
 */

export interface ChunkInfo {
  readonly chunk: number
  /** The client's sealing header, as given. */
  readonly header: Uint8Array
  /** Bytes of all sealed blocks. */
  readonly sealedBytes: number
}

/** One chunk on its way in. Calls come one after the other; `commit` or `abort` comes last. */
export interface ChunkWriter {
  /**
   * Takes the next bytes: whole sealed blocks, except in the last call. They must not change before
   * the promise resolves. Throws `invalidArgument` for more than a chunk holds, `diskFull`,
   * `diskFailed`.
   */
  append(bytes: Buffer): Promise<void>
  /**
   * When it resolves the chunk is durable: a power cut does not take it away. Throws
   * `invalidArgument` for an empty chunk, `chunkExists` when the id holds other bytes, `diskFull`,
   * `diskFailed`; then nothing is left of it.
   */
  commit(): Promise<ChunkInfo>
  /** Leaves no trace. Harmless after `commit` or a second time. */
  abort(): Promise<void>
}

/** A chunk open for reading. `close` exactly once; a chunk deleted meanwhile stays readable. */
export interface ChunkReader extends ChunkInfo {
  /** CRC-32 of each sealed block, as it was when the chunk was written. */
  readonly crcs: Uint32Array
  /**
   * Reads whole blocks from `first` on into `into`, which they must fit, and checks them. Returns the
   * bytes read. Throws `chunkCorrupt` when a block does not match its checksum (the chunk is then
   * refused from now on), `chunkMissing` when its file is gone, `diskFailed`.
   */
  read(first: number, count: number, into: Buffer): Promise<number>
  close(): void
}

export interface ChunkStore {
  /**
   * Starts a chunk. Writing an id again with the same header and bytes succeeds, so that a lost
   * answer can be made up for. Throws `chunkExists` when another header is stored,
   * `tooManyRequests` while the id is being written or deleted, `chunkCorrupt` when the copy here is
   * damaged, `diskFull`, `diskFailed`.
   */
  create(chunk: number, header: Uint8Array): Promise<ChunkWriter>
  /**
   * As {@link create}, but where the copy here is damaged the new one takes its place, all at once;
   * until then the damaged one stays.
   */
  replace(chunk: number, header: Uint8Array): Promise<ChunkWriter>
  /** Whether there is a copy that is not known to be damaged; its bytes are not looked at. */
  holds(chunk: number): Promise<boolean>
  /** Throws `chunkMissing`, `chunkCorrupt`, `diskFailed`. */
  open(chunk: number): Promise<ChunkReader>
  /**
   * Deletes chunks, durably. Returns those that are gone, also when they were never here; an id that
   * is being written stays and is left out.
   */
  delete(chunks: readonly number[]): Promise<number[]>
  /** Notes that files name these chunks; ids that are not here are passed over. */
  confirm(chunks: readonly number[]): Promise<void>
  /**
   * Makes every chunk unconfirmed, once for each `restored`: when the metadata server's store was
   * restored from a backup, nanoseconds. Goes on after a kill where it began.
   */
  askAnew(restored: bigint): Promise<void>
  /**
   * Chunks written before `beforeMs` (since 1970) and never confirmed, oldest first, at most `limit`;
   * `after` is where the last portion ended.
   */
  unconfirmed(options: {
    readonly beforeMs: number
    readonly limit: number
    readonly after: Buffer | undefined
  }): Promise<{ readonly chunks: number[]; readonly last: Buffer | undefined }>
  /** Ids of damaged copies above `after`, at most `limit`. */
  damaged(after: number, limit: number): Promise<number[]>
  /** Counts damaged copies found since the start. */
  readonly damageFound: number
  /** Chunks held, and the sum of their sealed bytes. */
  readonly totals: { readonly chunks: number; readonly sealedBytes: number }
  /** Waits for what is under way. Writers and readers must be done. */
  close(): Promise<void>
}
