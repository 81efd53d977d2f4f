/**
 * Reaches below the ordered store, to what a disk may do to it. The store must be closed.
 */
import RocksDb from 'rocksdb'

/** Flips a bit in each of some records, whose checksums then do not match any more. */
export async function damageRecords(directory: string, keys: readonly Buffer[]): Promise<void> {
  const raw = new RocksDb(directory)
  const done = (work: (callback: (error: Error | null | undefined) => void) => void) =>
    new Promise<void>((resolve, reject) =>
      work((error) => {
        if (error) reject(error)
        else resolve()
      }),
    )
  await done((callback) => raw.open({ createIfMissing: false }, callback))
  for (const key of keys) {
    const value = await new Promise<Buffer>((resolve, reject) =>
      raw.get(key, { asBuffer: true }, (error, found) => {
        if (found === undefined) reject(error ?? new Error('no such record'))
        else resolve(found)
      }),
    )
    value.writeUInt8(value.readUInt8(0) ^ 1, 0)
    await done((callback) => raw.batch([{ type: 'put', key, value }], { sync: true }, callback))
  }
  await done((callback) => raw.close(callback))
}
