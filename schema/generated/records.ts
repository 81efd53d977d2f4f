/**
 * Generated from schema/fbs/records.fbs by scripts/generate-schema.mjs. Do not edit.
 */
/* eslint-disable */
import { codec, type Encoder, type Reader } from '../wire/flatbuffer.ts'
import type { Codec } from '../wire/codec.ts'
import { type Extent, type Inode, getExtent, putExtent, getInode, putInode } from './common.ts'

/** The one record about the store itself. */
export interface ClusterRecord {
  schemaVersion: number
  /** OPAQUE's server setup: without it no password opens anything. */
  opaqueSetup: string
}

export function putClusterRecord(b: Encoder, v: ClusterRecord): number {
  const opaqueSetup = b.text(v.opaqueSetup)
  b.startObject(2)
  b.addFieldInt32(0, v.schemaVersion, 0)
  b.addFieldOffset(1, opaqueSetup, 0)
  return b.endObject()
}

export function getClusterRecord(r: Reader, t: number): ClusterRecord {
  return {
    schemaVersion: r.u32Field(t, 0),
    opaqueSetup: r.text(r.field(t, 1)),
  }
}

export const ClusterRecord: Codec<ClusterRecord> = codec('ClusterRecord', putClusterRecord, getClusterRecord)

export interface DentryRecord {
  inode: number
  entry: Uint8Array
}

export function putDentryRecord(b: Encoder, v: DentryRecord): number {
  const entry = b.bytes(v.entry)
  b.startObject(2)
  b.addFieldU64(0, v.inode, 0)
  b.addFieldOffset(1, entry, 0)
  return b.endObject()
}

export function getDentryRecord(r: Reader, t: number): DentryRecord {
  return {
    inode: r.u64Field(t, 0),
    entry: r.byteVector(r.field(t, 1)),
  }
}

export const DentryRecord: Codec<DentryRecord> = codec('DentryRecord', putDentryRecord, getDentryRecord)

export interface DeviceRecord {
  device: number
  userId: number
  name: string
  publicKey: Uint8Array
  wrappedMasterKey: Uint8Array
  created: bigint
}

export function putDeviceRecord(b: Encoder, v: DeviceRecord): number {
  const name = b.text(v.name)
  const publicKey = b.bytes(v.publicKey)
  const wrappedMasterKey = b.bytes(v.wrappedMasterKey)
  b.startObject(6)
  b.addFieldInt32(0, v.device, 0)
  b.addFieldInt32(1, v.userId, 0)
  b.addFieldInt64(5, v.created, 0n)
  b.addFieldOffset(2, name, 0)
  b.addFieldOffset(3, publicKey, 0)
  b.addFieldOffset(4, wrappedMasterKey, 0)
  return b.endObject()
}

export function getDeviceRecord(r: Reader, t: number): DeviceRecord {
  return {
    device: r.u32Field(t, 0),
    userId: r.u32Field(t, 1),
    name: r.text(r.field(t, 2)),
    publicKey: r.byteVector(r.field(t, 3)),
    wrappedMasterKey: r.byteVector(r.field(t, 4)),
    created: r.i64Field(t, 5),
  }
}

export const DeviceRecord: Codec<DeviceRecord> = codec('DeviceRecord', putDeviceRecord, getDeviceRecord)

/** Where this store is in the history of the cluster; a part of every batch, and never copied. */
export interface HistoryRecord {
  /** 1 metadata server, 2 standby, 3 another server was promoted. */
  role: number
  epoch: number
  /** The last batch, and the random mark that tells it from another batch of that number. */
  number: number
  mark: number
}

export function putHistoryRecord(b: Encoder, v: HistoryRecord): number {
  b.startObject(4)
  b.addFieldInt8(0, v.role, 0)
  b.addFieldU64(1, v.epoch, 0)
  b.addFieldU64(2, v.number, 0)
  b.addFieldU64(3, v.mark, 0)
  return b.endObject()
}

export function getHistoryRecord(r: Reader, t: number): HistoryRecord {
  return {
    role: r.u8Field(t, 0),
    epoch: r.u64Field(t, 1),
    number: r.u64Field(t, 2),
    mark: r.u64Field(t, 3),
  }
}

export const HistoryRecord: Codec<HistoryRecord> = codec('HistoryRecord', putHistoryRecord, getHistoryRecord)

export interface InodeRecord {
  inode: Inode
  /** The user whose tree it is in. */
  owner: number
  /** Of a directory: the directory that holds it; its own number for a root. */
  parent: number
  /**
   * What its windows are kept under: a file cut to nothing gets a new one, and the old content is
   * taken apart in the background.
   */
  content: number
  /** Bytes of its record of extended attributes; 0 when it has none. */
  xattrBytes: number
}

export function putInodeRecord(b: Encoder, v: InodeRecord): number {
  const inode = putInode(b, v.inode)
  b.startObject(5)
  b.addFieldInt32(1, v.owner, 0)
  b.addFieldU64(2, v.parent, 0)
  b.addFieldU64(3, v.content, 0)
  b.addFieldInt32(4, v.xattrBytes, 0)
  b.addFieldOffset(0, inode, 0)
  return b.endObject()
}

export function getInodeRecord(r: Reader, t: number): InodeRecord {
  return {
    inode: r.required(r.field(t, 0), getInode),
    owner: r.u32Field(t, 1),
    parent: r.u64Field(t, 2),
    content: r.u64Field(t, 3),
    xattrBytes: r.u32Field(t, 4),
  }
}

export const InodeRecord: Codec<InodeRecord> = codec('InodeRecord', putInodeRecord, getInodeRecord)

/** Kept until it expires, so that a repeated join after a lost answer gets the same certificate. */
export interface JoinTokenRecord {
  expires: bigint
  /** 0 until it is used. */
  server: number
  /** SHA-256 of the certificate request that used it. */
  requestHash: Uint8Array
  certificatePem: string
  /** Good for a standby, and only for one. */
  standby: boolean
}

export function putJoinTokenRecord(b: Encoder, v: JoinTokenRecord): number {
  const requestHash = b.bytes(v.requestHash)
  const certificatePem = b.text(v.certificatePem)
  b.startObject(5)
  b.addFieldInt64(0, v.expires, 0n)
  b.addFieldInt32(1, v.server, 0)
  b.addFieldInt8(4, v.standby ? 1 : 0, 0)
  b.addFieldOffset(2, requestHash, 0)
  b.addFieldOffset(3, certificatePem, 0)
  return b.endObject()
}

export function getJoinTokenRecord(r: Reader, t: number): JoinTokenRecord {
  return {
    expires: r.i64Field(t, 0),
    server: r.u32Field(t, 1),
    requestHash: r.byteVector(r.field(t, 2)),
    certificatePem: r.text(r.field(t, 3)),
    standby: r.boolField(t, 4),
  }
}

export const JoinTokenRecord: Codec<JoinTokenRecord> = codec('JoinTokenRecord', putJoinTokenRecord, getJoinTokenRecord)

/** A counter or the next free id of a sequence. */
export interface NumberRecord {
  value: number
}

export function putNumberRecord(b: Encoder, v: NumberRecord): number {
  b.startObject(1)
  b.addFieldU64(0, v.value, 0)
  return b.endObject()
}

export function getNumberRecord(r: Reader, t: number): NumberRecord {
  return {
    value: r.u64Field(t, 0),
  }
}

export const NumberRecord: Codec<NumberRecord> = codec('NumberRecord', putNumberRecord, getNumberRecord)

/** A chunk that files name. */
export interface PlacedChunkRecord {
  /** Plaintext bytes. */
  length: number
  /** Windows that name it; the record goes with the last one. */
  windows: number
  servers: number[]
  inode: number
  /** Of `servers`: those whose copy is damaged or gone. */
  damaged: number[]
  /** 0: there are enough replicas. Else it is queued for repair under this number less one. */
  repair: number
}

export function putPlacedChunkRecord(b: Encoder, v: PlacedChunkRecord): number {
  const servers = b.numbers32(v.servers)
  const damaged = b.numbers32(v.damaged)
  b.startObject(6)
  b.addFieldInt32(0, v.length, 0)
  b.addFieldInt32(1, v.windows, 0)
  b.addFieldU64(3, v.inode, 0)
  b.addFieldInt8(5, v.repair, 0)
  b.addFieldOffset(2, servers, 0)
  b.addFieldOffset(4, damaged, 0)
  return b.endObject()
}

export function getPlacedChunkRecord(r: Reader, t: number): PlacedChunkRecord {
  return {
    length: r.u32Field(t, 0),
    windows: r.u32Field(t, 1),
    servers: r.numbers32(r.field(t, 2)),
    inode: r.u64Field(t, 3),
    damaged: r.numbers32(r.field(t, 4)),
    repair: r.u8Field(t, 5),
  }
}

export const PlacedChunkRecord: Codec<PlacedChunkRecord> = codec('PlacedChunkRecord', putPlacedChunkRecord, getPlacedChunkRecord)

/** The answer to a logged operation, until the client says that it has it. */
export interface ReplyRecord {
  method: number
  answer: Uint8Array
}

export function putReplyRecord(b: Encoder, v: ReplyRecord): number {
  const answer = b.bytes(v.answer)
  b.startObject(2)
  b.addFieldInt32(0, v.method, 0)
  b.addFieldOffset(1, answer, 0)
  return b.endObject()
}

export function getReplyRecord(r: Reader, t: number): ReplyRecord {
  return {
    method: r.u32Field(t, 0),
    answer: r.byteVector(r.field(t, 1)),
  }
}

export const ReplyRecord: Codec<ReplyRecord> = codec('ReplyRecord', putReplyRecord, getReplyRecord)

/** Of a store that came out of a backup. */
export interface RestoredRecord {
  /** When the backup was begun, and when it was restored. */
  backedUp: bigint
  restored: bigint
  /**
   * Chunks below, which no file names, may be known to a newer backup: they are kept. 0 once the
   * operator has let go of them.
   */
  keepBelow: number
}

export function putRestoredRecord(b: Encoder, v: RestoredRecord): number {
  b.startObject(3)
  b.addFieldInt64(0, v.backedUp, 0n)
  b.addFieldInt64(1, v.restored, 0n)
  b.addFieldU64(2, v.keepBelow, 0)
  return b.endObject()
}

export function getRestoredRecord(r: Reader, t: number): RestoredRecord {
  return {
    backedUp: r.i64Field(t, 0),
    restored: r.i64Field(t, 1),
    keepBelow: r.u64Field(t, 2),
  }
}

export const RestoredRecord: Codec<RestoredRecord> = codec('RestoredRecord', putRestoredRecord, getRestoredRecord)

export interface ServerRecord {
  id: number
  rack: string
  addresses: string[]
  joined: bigint
  totalBytes: number
  /** Its certificate is good no more, by the operator's word. */
  revoked: boolean
  /** Silent for so long that its replicas count no more, until it registers again. */
  lost: boolean
  /** To be taken out of the cluster, by the operator's word: its chunks are copied away. */
  draining: boolean
  /** The store that it registered with, once that was seen to hold what it should; else empty. */
  store: Uint8Array
}

export function putServerRecord(b: Encoder, v: ServerRecord): number {
  const rack = b.text(v.rack)
  const addresses = b.texts(v.addresses)
  const store = b.bytes(v.store)
  b.startObject(9)
  b.addFieldInt32(0, v.id, 0)
  b.addFieldInt64(3, v.joined, 0n)
  b.addFieldU64(4, v.totalBytes, 0)
  b.addFieldInt8(5, v.revoked ? 1 : 0, 0)
  b.addFieldInt8(6, v.lost ? 1 : 0, 0)
  b.addFieldInt8(7, v.draining ? 1 : 0, 0)
  b.addFieldOffset(1, rack, 0)
  b.addFieldOffset(2, addresses, 0)
  b.addFieldOffset(8, store, 0)
  return b.endObject()
}

export function getServerRecord(r: Reader, t: number): ServerRecord {
  return {
    id: r.u32Field(t, 0),
    rack: r.text(r.field(t, 1)),
    addresses: r.texts(r.field(t, 2)),
    joined: r.i64Field(t, 3),
    totalBytes: r.u64Field(t, 4),
    revoked: r.boolField(t, 5),
    lost: r.boolField(t, 6),
    draining: r.boolField(t, 7),
    store: r.byteVector(r.field(t, 8)),
  }
}

export const ServerRecord: Codec<ServerRecord> = codec('ServerRecord', putServerRecord, getServerRecord)

export interface SessionRecord {
  session: number
  userId: number
  device: number
  opened: bigint
  /** Inode numbers given to it, each range as its first and its end; the last few of them. */
  inodeNumbers: number[]
}

export function putSessionRecord(b: Encoder, v: SessionRecord): number {
  const inodeNumbers = b.numbers64(v.inodeNumbers)
  b.startObject(5)
  b.addFieldU64(0, v.session, 0)
  b.addFieldInt32(1, v.userId, 0)
  b.addFieldInt32(2, v.device, 0)
  b.addFieldInt64(3, v.opened, 0n)
  b.addFieldOffset(4, inodeNumbers, 0)
  return b.endObject()
}

export function getSessionRecord(r: Reader, t: number): SessionRecord {
  return {
    session: r.u64Field(t, 0),
    userId: r.u32Field(t, 1),
    device: r.u32Field(t, 2),
    opened: r.i64Field(t, 3),
    inodeNumbers: r.numbers64(r.field(t, 4)),
  }
}

export const SessionRecord: Codec<SessionRecord> = codec('SessionRecord', putSessionRecord, getSessionRecord)

/** The standby that a metadata server counts on. */
export interface StandbyRecord {
  /** DNS name in its certificate; empty until it has come for the first time. */
  name: string
  addresses: string[]
  sync: boolean
  fallbackMs: number
}

export function putStandbyRecord(b: Encoder, v: StandbyRecord): number {
  const name = b.text(v.name)
  const addresses = b.texts(v.addresses)
  b.startObject(4)
  b.addFieldInt8(2, v.sync ? 1 : 0, 0)
  b.addFieldInt32(3, v.fallbackMs, 0)
  b.addFieldOffset(0, name, 0)
  b.addFieldOffset(1, addresses, 0)
  return b.endObject()
}

export function getStandbyRecord(r: Reader, t: number): StandbyRecord {
  return {
    name: r.text(r.field(t, 0)),
    addresses: r.texts(r.field(t, 1)),
    sync: r.boolField(t, 2),
    fallbackMs: r.u32Field(t, 3),
  }
}

export const StandbyRecord: Codec<StandbyRecord> = codec('StandbyRecord', putStandbyRecord, getStandbyRecord)

export interface TicketKeyRecord {
  id: number
  secret: Uint8Array
  /** Tickets are issued with it from here on: every chunkserver has it by then. */
  activeFrom: bigint
}

export function putTicketKeyRecord(b: Encoder, v: TicketKeyRecord): number {
  const secret = b.bytes(v.secret)
  b.startObject(3)
  b.addFieldInt32(0, v.id, 0)
  b.addFieldInt64(2, v.activeFrom, 0n)
  b.addFieldOffset(1, secret, 0)
  return b.endObject()
}

export function getTicketKeyRecord(r: Reader, t: number): TicketKeyRecord {
  return {
    id: r.u32Field(t, 0),
    secret: r.byteVector(r.field(t, 1)),
    activeFrom: r.i64Field(t, 2),
  }
}

export const TicketKeyRecord: Codec<TicketKeyRecord> = codec('TicketKeyRecord', putTicketKeyRecord, getTicketKeyRecord)

export interface TicketKeysRecord {
  keys: TicketKeyRecord[]
}

export function putTicketKeysRecord(b: Encoder, v: TicketKeysRecord): number {
  const keys = b.tables(v.keys, putTicketKeyRecord)
  b.startObject(1)
  b.addFieldOffset(0, keys, 0)
  return b.endObject()
}

export function getTicketKeysRecord(r: Reader, t: number): TicketKeysRecord {
  return {
    keys: r.tables(r.field(t, 0), getTicketKeyRecord),
  }
}

export const TicketKeysRecord: Codec<TicketKeysRecord> = codec('TicketKeysRecord', putTicketKeysRecord, getTicketKeysRecord)

export interface TreePageRecord {
  bytes: Uint8Array
}

export function putTreePageRecord(b: Encoder, v: TreePageRecord): number {
  const bytes = b.bytes(v.bytes)
  b.startObject(1)
  b.addFieldOffset(0, bytes, 0)
  return b.endObject()
}

export function getTreePageRecord(r: Reader, t: number): TreePageRecord {
  return {
    bytes: r.byteVector(r.field(t, 0)),
  }
}

export const TreePageRecord: Codec<TreePageRecord> = codec('TreePageRecord', putTreePageRecord, getTreePageRecord)

/** What a user's devices signed of the tree, and how often it was replaced. */
export interface TreeStateRecord {
  counter: number
  state: Uint8Array
}

export function putTreeStateRecord(b: Encoder, v: TreeStateRecord): number {
  const state = b.bytes(v.state)
  b.startObject(2)
  b.addFieldU64(0, v.counter, 0)
  b.addFieldOffset(1, state, 0)
  return b.endObject()
}

export function getTreeStateRecord(r: Reader, t: number): TreeStateRecord {
  return {
    counter: r.u64Field(t, 0),
    state: r.byteVector(r.field(t, 1)),
  }
}

export const TreeStateRecord: Codec<TreeStateRecord> = codec('TreeStateRecord', putTreeStateRecord, getTreeStateRecord)

export interface UserRecord {
  userId: number
  user: string
  quotaBytes: number
  /** SHA-256 of the invitation. */
  invitationHash: Uint8Array
  invitationExpires: bigint
  /** Empty until registered. */
  opaqueRecord: string
  wrappedMasterKey: Uint8Array
  wrappedRootKey: Uint8Array
  rootInode: number
  devices: number[]
  /** Raw Ed25519 public key of the recovery code, and the master key wrapped by it; empty without one. */
  recoveryKey: Uint8Array
  recoveryMasterKey: Uint8Array
  /** Opens no sessions until the operator enables it again. */
  disabled: boolean
  /** Deleted by the operator: the tree is being taken apart, this record goes last. */
  deleting: boolean
}

export function putUserRecord(b: Encoder, v: UserRecord): number {
  const user = b.text(v.user)
  const invitationHash = b.bytes(v.invitationHash)
  const opaqueRecord = b.text(v.opaqueRecord)
  const wrappedMasterKey = b.bytes(v.wrappedMasterKey)
  const wrappedRootKey = b.bytes(v.wrappedRootKey)
  const devices = b.numbers32(v.devices)
  const recoveryKey = b.bytes(v.recoveryKey)
  const recoveryMasterKey = b.bytes(v.recoveryMasterKey)
  b.startObject(14)
  b.addFieldInt32(0, v.userId, 0)
  b.addFieldU64(2, v.quotaBytes, 0)
  b.addFieldInt64(4, v.invitationExpires, 0n)
  b.addFieldU64(8, v.rootInode, 0)
  b.addFieldInt8(12, v.disabled ? 1 : 0, 0)
  b.addFieldInt8(13, v.deleting ? 1 : 0, 0)
  b.addFieldOffset(1, user, 0)
  b.addFieldOffset(3, invitationHash, 0)
  b.addFieldOffset(5, opaqueRecord, 0)
  b.addFieldOffset(6, wrappedMasterKey, 0)
  b.addFieldOffset(7, wrappedRootKey, 0)
  b.addFieldOffset(9, devices, 0)
  b.addFieldOffset(10, recoveryKey, 0)
  b.addFieldOffset(11, recoveryMasterKey, 0)
  return b.endObject()
}

export function getUserRecord(r: Reader, t: number): UserRecord {
  return {
    userId: r.u32Field(t, 0),
    user: r.text(r.field(t, 1)),
    quotaBytes: r.u64Field(t, 2),
    invitationHash: r.byteVector(r.field(t, 3)),
    invitationExpires: r.i64Field(t, 4),
    opaqueRecord: r.text(r.field(t, 5)),
    wrappedMasterKey: r.byteVector(r.field(t, 6)),
    wrappedRootKey: r.byteVector(r.field(t, 7)),
    rootInode: r.u64Field(t, 8),
    devices: r.numbers32(r.field(t, 9)),
    recoveryKey: r.byteVector(r.field(t, 10)),
    recoveryMasterKey: r.byteVector(r.field(t, 11)),
    disabled: r.boolField(t, 12),
    deleting: r.boolField(t, 13),
  }
}

export const UserRecord: Codec<UserRecord> = codec('UserRecord', putUserRecord, getUserRecord)

/** `patch`: sealed small writes over the extents; absent when there are none. */
export interface WindowRecord {
  extents: Extent[]
  digest: Uint8Array
  patch: Uint8Array
}

export function putWindowRecord(b: Encoder, v: WindowRecord): number {
  const extents = b.structs(v.extents, 24, 8, putExtent)
  const digest = b.bytes(v.digest)
  const patch = b.bytes(v.patch)
  b.startObject(3)
  b.addFieldOffset(0, extents, 0)
  b.addFieldOffset(1, digest, 0)
  b.addFieldOffset(2, patch, 0)
  return b.endObject()
}

export function getWindowRecord(r: Reader, t: number): WindowRecord {
  return {
    extents: r.structs(r.field(t, 0), 24, getExtent),
    digest: r.byteVector(r.field(t, 1)),
    patch: r.byteVector(r.field(t, 2)),
  }
}

export const WindowRecord: Codec<WindowRecord> = codec('WindowRecord', putWindowRecord, getWindowRecord)

/** The extended attributes of an inode, sealed as one. */
export interface XattrRecord {
  sealed: Uint8Array
}

export function putXattrRecord(b: Encoder, v: XattrRecord): number {
  const sealed = b.bytes(v.sealed)
  b.startObject(1)
  b.addFieldOffset(0, sealed, 0)
  return b.endObject()
}

export function getXattrRecord(r: Reader, t: number): XattrRecord {
  return {
    sealed: r.byteVector(r.field(t, 0)),
  }
}

export const XattrRecord: Codec<XattrRecord> = codec('XattrRecord', putXattrRecord, getXattrRecord)
