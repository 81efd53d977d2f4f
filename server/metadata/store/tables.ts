/**
 * The kinds of records and how each is written: what a transaction reads and writes is a table and
 * a key of keys.ts. Records are plain objects shared by cache and transactions: never change one,
 * put a changed copy.
 */
import * as records from '../../../schema/generated/records.ts'
import type { Codec } from '../../../schema/wire/codec.ts'

/** A kind of records. */
export type Table<V> = Codec<V>

/** A record whose key says everything. */
const EMPTY = new Uint8Array(0)
const mark: Table<true> = { name: 'Mark', encode: () => EMPTY, decode: () => true }

export const tables = {
  chunks: records.PlacedChunkRecord,
  cluster: records.ClusterRecord,
  dentries: records.DentryRecord,
  devices: records.DeviceRecord,
  inodes: records.InodeRecord,
  joinTokens: records.JoinTokenRecord,
  numbers: records.NumberRecord,
  replies: records.ReplyRecord,
  servers: records.ServerRecord,
  sessions: records.SessionRecord,
  ticketKeys: records.TicketKeysRecord,
  users: records.UserRecord,
  windows: records.WindowRecord,
  marks: mark,
} as const
