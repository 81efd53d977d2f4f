/**
 * Every key of the metadata store, in one place. Order-preserving binary: one byte for the kind of
 * record, then big-endian numbers and bytes.
 *
 *   byte  record                 rest of the key                        value
 *   ----  ---------------------  -------------------------------------  ----------------
 *   a     extended attributes    u64 inode                              XattrRecord
 *   c     chunk                  u64 chunk                              PlacedChunkRecord
 *   d     directory entry        u64 directory, 32-byte token           DentryRecord
 *   e     device                 u32 device                             DeviceRecord
 *   f     state of a tree        u32 user                               TreeStateRecord
 *   g     version table page     u32 user, u64 page                     TreePageRecord
 *   i     inode                  u64 inode                              InodeRecord
 *   j     join token             32-byte SHA-256 of the token           JoinTokenRecord
 *   k     counter                its name                               NumberRecord
 *   l     log record             u64 number of the batch                standby/log-record.ts
 *   m     of the store itself    `cluster`, `ticket-keys`, `history`,   ClusterRecord, …
 *                                `standby`, …
 *   n     user by name           the name                               NumberRecord
 *   o     orphan                 u64 inode: no name, maybe held open    mark
 *   p     content to purge       u64 content                            number of its windows, or mark
 *   q     next id                the sequence's name                    NumberRecord
 *   r     logged answer          u64 session, u64 operation             ReplyRecord
 *   s     session                u64 session                            SessionRecord
 *   t     chunks of a server     u32 server, u64 chunk                  mark
 *   u     user                   u32 user                               UserRecord
 *   v     chunkserver            u32 server                             ServerRecord
 *   w     window of a file       u64 content, u32 window                WindowRecord
 *   x     deletes of a server    u32 server, u64 chunk                  mark
 *   y     chunk to repair        u8 replicas left, u64 chunk            mark
 */
import { invariant } from '../../../schema/wire/invariant.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { prefixEnd } from '../../store/ordered-store.ts'

const space = (letter: string): number => letter.charCodeAt(0)
const XATTR = space('a')
const CHUNK = space('c')
const DENTRY = space('d')
const DEVICE = space('e')
const TREE_STATE = space('f')
const TREE_PAGE = space('g')
const INODE = space('i')
const JOIN_TOKEN = space('j')
const COUNTER = space('k')
const LOG_RECORD = space('l')
const STORE = space('m')
const USER_NAME = space('n')
const ORPHAN = space('o')
const PURGE = space('p')
const SEQUENCE = space('q')
const REPLY = space('r')
const SESSION = space('s')
const SERVER_CHUNK = space('t')
const USER = space('u')
const SERVER = space('v')
const WINDOW = space('w')
const DELETE = space('x')
const REPAIR = space('y')

const TWO_32 = 0x1_0000_0000

function writeU64(key: Buffer, id: number, at: number): void {
  key.writeUInt32BE(Math.floor(id / TWO_32), at)
  key.writeUInt32BE(id % TWO_32, at + 4)
}

const readU64 = (key: Buffer, at: number): number =>
  key.readUInt32BE(at) * TWO_32 + key.readUInt32BE(at + 4)

function u64(kind: number, id: number, tailBytes = 0): Buffer {
  const key = Buffer.allocUnsafe(9 + tailBytes)
  key.writeUInt8(kind, 0)
  writeU64(key, id, 1)
  return key
}

function u32(kind: number, id: number): Buffer {
  const key = Buffer.allocUnsafe(5)
  key.writeUInt8(kind, 0)
  key.writeUInt32BE(id, 1)
  return key
}

function u32u64(kind: number, first: number, second: number): Buffer {
  const key = Buffer.allocUnsafe(13)
  key.writeUInt8(kind, 0)
  key.writeUInt32BE(first, 1)
  writeU64(key, second, 5)
  return key
}

function bytes(kind: number, rest: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(kind), rest])
}

/** Keys, by record. */
export const keys = {
  chunk: (chunk: number): Buffer => u64(CHUNK, chunk),
  dentry(directory: number, token: Uint8Array): Buffer {
    invariant(token.length === limits.tokenBytes, 'a token of another length got past the border')
    const key = u64(DENTRY, directory, limits.tokenBytes)
    key.set(token, 9)
    return key
  },
  device: (device: number): Buffer => u32(DEVICE, device),
  treeState: (user: number): Buffer => u32(TREE_STATE, user),
  treePage: (user: number, page: number): Buffer => u32u64(TREE_PAGE, user, page),
  inode: (inode: number): Buffer => u64(INODE, inode),
  joinToken: (hash: Uint8Array): Buffer => bytes(JOIN_TOKEN, hash),
  counter: (name: string): Buffer => bytes(COUNTER, Buffer.from(name)),
  cluster: bytes(STORE, Buffer.from('cluster')),
  ticketKeys: bytes(STORE, Buffer.from('ticket-keys')),
  restored: bytes(STORE, Buffer.from('restored')),
  migrating: bytes(STORE, Buffer.from('migrating')),
  /** Never copied from one store to another, nor are log records. */
  history: bytes(STORE, Buffer.from('history')),
  standby: bytes(STORE, Buffer.from('standby')),
  logRecord: (number: number): Buffer => u64(LOG_RECORD, number),
  userName: (name: string): Buffer => bytes(USER_NAME, Buffer.from(name)),
  orphan: (inode: number): Buffer => u64(ORPHAN, inode),
  purge: (content: number): Buffer => u64(PURGE, content),
  sequence: (name: string): Buffer => bytes(SEQUENCE, Buffer.from(name)),
  reply(session: number, operation: number): Buffer {
    const key = u64(REPLY, session, 8)
    writeU64(key, operation, 9)
    return key
  },
  session: (session: number): Buffer => u64(SESSION, session),
  serverChunk: (server: number, chunk: number): Buffer => u32u64(SERVER_CHUNK, server, chunk),
  user: (user: number): Buffer => u32(USER, user),
  server: (server: number): Buffer => u32(SERVER, server),
  window(content: number, index: number): Buffer {
    const key = u64(WINDOW, content, 4)
    key.writeUInt32BE(index, 9)
    return key
  },
  xattr: (inode: number): Buffer => u64(XATTR, inode),
  delete: (server: number, chunk: number): Buffer => u32u64(DELETE, server, chunk),
  repair(replicasLeft: number, chunk: number): Buffer {
    const key = Buffer.allocUnsafe(10)
    key.writeUInt8(REPAIR, 0)
    key.writeUInt8(replicasLeft, 1)
    writeU64(key, chunk, 2)
    return key
  },
} as const

export interface KeyRange {
  readonly from: Buffer
  readonly to: Buffer
}

const under = (prefix: Buffer): KeyRange => ({ from: prefix, to: prefixEnd(prefix) })

/** All keys of a kind, or of a kind and its first number. */
export const ranges = {
  dentries: (directory: number): KeyRange => under(u64(DENTRY, directory)),
  windows: (content: number): KeyRange => under(u64(WINDOW, content)),
  replies: (session: number): KeyRange => under(u64(REPLY, session)),
  deletes: (server: number): KeyRange => under(u32(DELETE, server)),
  treePages: (user: number): KeyRange => under(u32(TREE_PAGE, user)),
  serverChunks: (server: number): KeyRange => under(u32(SERVER_CHUNK, server)),
  /** Chunks that have no replica left. */
  lostChunks: under(Buffer.of(REPAIR, 0)),
  /** Chunks to repair that have a replica left, fewest first. */
  repairs: { from: Buffer.of(REPAIR, 1), to: Buffer.of(REPAIR + 1) },
  counters: under(Buffer.of(COUNTER)),
  devices: under(Buffer.of(DEVICE)),
  inodes: under(Buffer.of(INODE)),
  logRecords: under(Buffer.of(LOG_RECORD)),
  sequences: under(Buffer.of(SEQUENCE)),
  /** All keys. */
  everything: { from: Buffer.of(0), to: Buffer.of(255) },
  joinTokens: under(Buffer.of(JOIN_TOKEN)),
  orphans: under(Buffer.of(ORPHAN)),
  purges: under(Buffer.of(PURGE)),
  servers: under(Buffer.of(SERVER)),
  sessions: under(Buffer.of(SESSION)),
  users: under(Buffer.of(USER)),
} as const

/** The numbers inside keys, for scans. */
export const parts = {
  /** The id of a key that is a kind and a u64. */
  id: (key: Buffer): number => readU64(key, 1),
  windowIndex: (key: Buffer): number => key.readUInt32BE(9),
  token: (key: Buffer): Buffer => key.subarray(9, 9 + limits.tokenBytes),
  operation: (key: Buffer): number => readU64(key, 9),
  /** The chunk of a key that is a kind, a u32 server and a u64 chunk. */
  serversChunk: (key: Buffer): number => readU64(key, 5),
  /** The chunk of a key that is a kind, a byte and a u64 chunk. */
  repairsChunk: (key: Buffer): number => readU64(key, 2),
  counterName: (key: Buffer): string => key.toString('utf8', 1),
} as const
