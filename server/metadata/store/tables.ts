/**
 * The kinds of records and how each is written: what a transaction reads and writes is a table and
 * a key of keys.ts. Records are plain objects that transactions share: never change one, put a changed
 * copy.
 */
import * as records from '../../../schema/generated/records.ts'
import { changesOf } from '../standby/log-record.ts'
import type { Codec } from '../../../schema/wire/codec.ts'

/** A kind of records. */
export interface Table<V> extends Codec<V> {
  /** Read often enough to be worth memory. */
  readonly cached: boolean
}

const cached = <V>(codec: Codec<V>): Table<V> => ({ ...codec, cached: true })
const uncached = <V>(codec: Codec<V>): Table<V> => ({ ...codec, cached: false })

/** A record whose key says everything. */
const EMPTY = new Uint8Array(0)
const mark: Codec<true> = { name: 'Mark', encode: () => EMPTY, decode: () => true }

/** Windows of content to purge, up to this one; 0 when that is not known. */
const purge: Codec<number> = {
  name: 'Purge',
  encode: (windows) => (windows === 0 ? EMPTY : records.NumberRecord.encode({ value: windows })),
  decode: (bytes) => (bytes.length === 0 ? 0 : records.NumberRecord.decode(bytes).value),
}

/** As it is, after a look whether it is whole. */
const logRecord: Codec<Uint8Array> = {
  name: 'LogRecord',
  encode: (record) => record,
  decode(bytes) {
    changesOf(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    return bytes
  },
}

export const tables = {
  chunks: cached(records.PlacedChunkRecord),
  /** As `chunks`, to read many that nobody will ask for soon. Never to be written through. */
  scannedChunks: uncached(records.PlacedChunkRecord),
  cluster: uncached(records.ClusterRecord),
  /** Marks of their own, which others watch. */
  deletes: uncached(mark),
  dentries: cached(records.DentryRecord),
  devices: cached(records.DeviceRecord),
  history: uncached(records.HistoryRecord),
  logRecords: uncached(logRecord),
  inodes: cached(records.InodeRecord),
  joinTokens: uncached(records.JoinTokenRecord),
  numbers: uncached(records.NumberRecord),
  purges: uncached(purge),
  replies: uncached(records.ReplyRecord),
  restored: uncached(records.RestoredRecord),
  servers: uncached(records.ServerRecord),
  sessions: uncached(records.SessionRecord),
  standbys: uncached(records.StandbyRecord),
  ticketKeys: uncached(records.TicketKeysRecord),
  treePages: uncached(records.TreePageRecord),
  treeStates: cached(records.TreeStateRecord),
  users: cached(records.UserRecord),
  windows: cached(records.WindowRecord),
  /** As `windows`, to read many that nobody will ask for again. Never to be written through. */
  scannedWindows: uncached(records.WindowRecord),
  xattrs: uncached(records.XattrRecord),
  marks: uncached(mark),
} as const
