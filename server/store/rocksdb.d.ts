/** What we use of the package rocksdb, which publishes no types. Buffers only: other keys become text. */
declare module 'rocksdb' {
  type Done = (error: Error | null | undefined) => void

  export interface Iterator {
    next(callback: (error: Error | null | undefined, key?: Buffer, value?: Buffer) => void): this
    end(callback: Done): void
  }

  interface OpenOptions {
    createIfMissing?: boolean
    errorIfExists?: boolean
    compression?: boolean
    cacheSize?: number
    writeBufferSize?: number
    blockSize?: number
    maxOpenFiles?: number
    maxFileSize?: number
    readOnly?: boolean
  }

  interface IteratorOptions {
    gte: Buffer
    lt: Buffer
    reverse: boolean
    limit: number
    highWaterMark: number
    fillCache: boolean
  }

  export type BatchChange =
    { type: 'put'; key: Buffer; value: Buffer } | { type: 'del'; key: Buffer }

  class RocksDb {
    constructor(location: string)
    open(options: OpenOptions, callback: Done): void
    close(callback: Done): void
    get(
      key: Buffer,
      options: { asBuffer: true },
      callback: (error: Error | null | undefined, value?: Buffer) => void,
    ): void
    getMany(
      keys: readonly Buffer[],
      options: { asBuffer: true },
      callback: (error: Error | null | undefined, values?: (Buffer | undefined)[]) => void,
    ): void
    batch(changes: BatchChange[], options: { sync: boolean }, callback: Done): void
    iterator(options: IteratorOptions): Iterator
  }

  export default RocksDb
}
