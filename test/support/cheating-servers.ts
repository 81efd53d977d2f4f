/**
 * What the operator of the servers can do to what they keep: stops are the test's, then the metadata
 * server's records and the chunkservers' chunks are changed in their own stores, with checksums that
 * fit, and the real daemons serve the result.
 */
import { join } from 'node:path'
import type { Extent } from '../../schema/generated/common.ts'
import type { DentryRecord, InodeRecord, UserRecord } from '../../schema/generated/records.ts'
import { NO_PATCH, windowDigest } from '../../schema/wire/content.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { DiskChunkStore } from '../../server/chunkserver/disk-chunk-store.ts'
import { keys } from '../../server/metadata/store/keys.ts'
import { tables, type Table } from '../../server/metadata/store/tables.ts'
import { clusterPaths } from '../../server/metadata/cluster-files.ts'
import { keyAfter, prefixEnd, type OrderedStore } from '../../server/store/ordered-store.ts'
import { openRocksStore } from '../../server/store/rocks-store.ts'
import { silent } from './transport.ts'

const PAGE = 1_000
const DENTRIES = Buffer.from('d')

/** Closes a store when the work on it is done, or has failed. */
async function closing(store: { close(): Promise<void> }, work: Promise<void>): Promise<void> {
  try {
    await work
  } finally {
    await store.close()
  }
}

export interface StoredDentry {
  readonly key: Buffer
  readonly record: DentryRecord
}

/** The records of a metadata server that does not run. */
export class MetadataRecords {
  readonly #store: OrderedStore

  private constructor(store: OrderedStore) {
    this.#store = store
  }

  /** Opens the store of a metadata server's directory, lets `edit` work on it, and closes it. */
  static async edit(dir: string, edit: (records: MetadataRecords) => Promise<void>): Promise<void> {
    const store = await openRocksStore(clusterPaths(dir).store)
    await closing(store, edit(new MetadataRecords(store)))
  }

  async get<V>(table: Table<V>, key: Buffer): Promise<V> {
    return table.decode(await this.raw(key))
  }

  /** The stored bytes. */
  async raw(key: Buffer): Promise<Buffer> {
    const value = await this.#store.get(key)
    if (value === undefined) throw new Error(`there is no record under ${key.toString('hex')}`)
    return value
  }

  /** Every key and value, as the engine gives them: uncompressed. */
  async everything(): Promise<Buffer> {
    const found: Buffer[] = []
    let from: Buffer = Buffer.of(0)
    for (;;) {
      const page = await this.#store.range({ from, to: Buffer.of(0xff), limit: PAGE })
      for (const { key, value } of page) found.push(key, value)
      const last = page.at(-1)
      if (last === undefined) return Buffer.concat(found)
      from = keyAfter(last.key)
    }
  }

  async put<V>(table: Table<V>, key: Buffer, value: V): Promise<void> {
    await this.#store.write([{ key, value: table.encode(value) }], { sync: true })
  }

  async delete(key: Buffer): Promise<void> {
    await this.#store.write([{ key, value: undefined }], { sync: true })
  }

  inode(inode: number): Promise<InodeRecord> {
    return this.get(tables.inodes, keys.inode(inode))
  }

  async changeInode(inode: number, change: (record: InodeRecord) => InodeRecord): Promise<void> {
    await this.put(tables.inodes, keys.inode(inode), change(await this.inode(inode)))
  }

  /** The entry that names an inode. */
  async dentryOf(inode: number): Promise<StoredDentry> {
    let from: Buffer = DENTRIES
    for (;;) {
      const page = await this.#store.range({ from, to: prefixEnd(DENTRIES), limit: PAGE })
      for (const { key, value } of page) {
        const record = tables.dentries.decode(value)
        if (record.inode === inode) return { key, record }
      }
      const last = page.at(-1)
      if (last === undefined) throw new Error(`no entry names inode ${inode}`)
      from = keyAfter(last.key)
    }
  }

  async extentsOf(inode: number): Promise<Extent[]> {
    const { content } = await this.inode(inode)
    return (await this.get(tables.windows, keys.window(content, 0))).extents
  }

  /** Replaces the extents of a file's first window, with the digest that the server itself keeps. */
  async setExtents(inode: number, extents: Extent[]): Promise<void> {
    const { content } = await this.inode(inode)
    const record = { extents, digest: windowDigest(extents), patch: NO_PATCH }
    await this.put(tables.windows, keys.window(content, 0), record)
  }

  async user(name: string): Promise<UserRecord> {
    const { value } = await this.get(tables.numbers, keys.userName(name))
    return this.get(tables.users, keys.user(value))
  }

  async changeUser(name: string, change: (record: UserRecord) => UserRecord): Promise<void> {
    const record = await this.user(name)
    await this.put(tables.users, keys.user(record.userId), change(record))
  }
}

export interface StoredChunk {
  readonly header: Uint8Array
  readonly sealed: Buffer
}

/** The chunks of a chunkserver that does not run. */
export class ChunkFiles {
  readonly #store: DiskChunkStore

  private constructor(store: DiskChunkStore) {
    this.#store = store
  }

  static async edit(dir: string, edit: (chunks: ChunkFiles) => Promise<void>): Promise<void> {
    const store = await DiskChunkStore.open({
      directory: dir,
      log: silent,
      onFailure(error) {
        throw error
      },
    })
    await closing(store, edit(new ChunkFiles(store)))
  }

  async get(chunk: number): Promise<StoredChunk> {
    const reader = await this.#store.open(chunk)
    try {
      const sealed = Buffer.alloc(reader.sealedBytes)
      await reader.read(0, Math.ceil(sealed.length / limits.sealedBlockBytes), sealed)
      return { header: Buffer.from(reader.header), sealed }
    } finally {
      reader.close()
    }
  }

  /** Puts other bytes in a chunk's place; their checksums are right. */
  async replace(chunk: number, { header, sealed }: StoredChunk): Promise<void> {
    await this.#store.delete([chunk])
    const writer = await this.#store.create(chunk, header)
    await writer.append(sealed)
    await writer.commit()
    await this.#store.confirm([chunk])
  }
}

/** Where a store's daemons keep what they have. */
export const directories = {
  metadata: (store: { readonly dir: string }): string => join(store.dir, 'metadata'),
  chunkserver: (store: { readonly dir: string }, index: number): string =>
    join(store.dir, `chunkserver-${index}`),
} as const

/** The errno that an application gets, undefined when it gets what it asked for. */
export async function errnoOf(attempt: Promise<unknown>): Promise<string | undefined> {
  try {
    await attempt
    return undefined
  } catch (error) {
    if (error instanceof DfsError) return error.errno
    throw error
  }
}
