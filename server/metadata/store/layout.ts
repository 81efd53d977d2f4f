/**
 * Every kind of record that a metadata store holds, by the first byte of its keys (keys.ts): for
 * those who go through all of a store whatever it means, to check it or to copy it.
 *
 * A new kind of record needs its row here; a key of a kind without a row is reported as damage.
 */
import { prefixEnd } from '../../store/ordered-store.ts'
import type { KeyRange } from './keys.ts'
import { tables, type Table } from './tables.ts'

export interface Kind<V> {
  /** First byte of its keys. */
  readonly letter: string
  /** What its records are, for people. */
  readonly name: string
  readonly table: Table<V>
  /** Bytes of a key; undefined for keys that end with a name. */
  readonly keyBytes: number | undefined
}

const kind = <V>(
  letter: string,
  name: string,
  table: Table<V>,
  keyBytes: number | undefined,
): Kind<V> => ({ letter, name, table, keyBytes })

export const layout = {
  xattrs: kind('a', 'extended attributes', tables.xattrs, 9),
  chunks: kind('c', 'chunk', tables.chunks, 9),
  dentries: kind('d', 'directory entry', tables.dentries, 41),
  devices: kind('e', 'device', tables.devices, 5),
  treeStates: kind('f', 'state of a tree', tables.treeStates, 5),
  treePages: kind('g', 'version table page', tables.treePages, 13),
  inodes: kind('i', 'inode', tables.inodes, 9),
  joinTokens: kind('j', 'join token', tables.joinTokens, 33),
  counters: kind('k', 'counter', tables.numbers, undefined),
  logRecords: kind('l', 'log record', tables.logRecords, 9),
  userNames: kind('n', 'user name', tables.numbers, undefined),
  orphans: kind('o', 'orphan mark', tables.marks, 9),
  purges: kind('p', 'purge mark', tables.purges, 9),
  sequences: kind('q', 'sequence', tables.numbers, undefined),
  replies: kind('r', 'logged answer', tables.replies, 17),
  sessions: kind('s', 'session', tables.sessions, 9),
  serverChunks: kind('t', "chunk in a server's list", tables.marks, 13),
  users: kind('u', 'user', tables.users, 5),
  servers: kind('v', 'chunkserver', tables.servers, 5),
  windows: kind('w', 'window', tables.windows, 13),
  deletes: kind('x', 'delete order', tables.deletes, 13),
  repairs: kind('y', 'chunk to repair', tables.marks, 10),
} as const

/** Records of the store itself, one of each: different tables under one letter, by their names. */
export const STORE_LETTER = 'm'
export const storeRecords = {
  cluster: tables.cluster,
  'ticket-keys': tables.ticketKeys,
  restored: tables.restored,
  history: tables.history,
  standby: tables.standbys,
} as const

/** All keys of a kind. */
export function rangeOf({ letter }: Pick<Kind<unknown>, 'letter'>): KeyRange {
  const from = Buffer.from(letter)
  return { from, to: prefixEnd(from) }
}
