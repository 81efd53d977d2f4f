/**
 * Generated from schema/fbs/metadata.fbs by scripts/generate-schema.mjs. Do not edit.
 */
/* eslint-disable */
import { codec, type Encoder, type Reader } from '../wire/flatbuffer.ts'
import type { Codec } from '../wire/codec.ts'
import { type Attributes, type Extent, type Inode, type Operation, type ServerAddress, getAttributes, putAttributes, getExtent, putExtent, getInode, putInode, getOperation, putOperation, getServerAddress, putServerAddress } from './common.ts'

/** What an account's owner needs to open it. */
export interface Account {
  userId: number
  user: string
  rootInode: number
  /** Wrapped by OPAQUE's export key after a password login, by the device's key in a device session. */
  wrappedMasterKey: Uint8Array
  wrappedRootKey: Uint8Array
}

export function putAccount(b: Encoder, v: Account): number {
  const user = b.text(v.user)
  const wrappedMasterKey = b.bytes(v.wrappedMasterKey)
  const wrappedRootKey = b.bytes(v.wrappedRootKey)
  b.startObject(5)
  b.addFieldInt32(0, v.userId, 0)
  b.addFieldU64(2, v.rootInode, 0)
  b.addFieldOffset(1, user, 0)
  b.addFieldOffset(3, wrappedMasterKey, 0)
  b.addFieldOffset(4, wrappedRootKey, 0)
  return b.endObject()
}

export function getAccount(r: Reader, t: number): Account {
  return {
    userId: r.u32Field(t, 0),
    user: r.text(r.field(t, 1)),
    rootInode: r.u64Field(t, 2),
    wrappedMasterKey: r.byteVector(r.field(t, 3)),
    wrappedRootKey: r.byteVector(r.field(t, 4)),
  }
}

export const Account: Codec<Account> = codec('Account', putAccount, getAccount)

/** Only on a connection that has just logged in with the password. */
export interface AddDeviceRequest {
  name: string
  /** Raw Ed25519 public key, 32 bytes. */
  publicKey: Uint8Array
  /** The master key, wrapped by the device's own key: given back in the device's sessions. */
  wrappedMasterKey: Uint8Array
}

export function putAddDeviceRequest(b: Encoder, v: AddDeviceRequest): number {
  const name = b.text(v.name)
  const publicKey = b.bytes(v.publicKey)
  const wrappedMasterKey = b.bytes(v.wrappedMasterKey)
  b.startObject(3)
  b.addFieldOffset(0, name, 0)
  b.addFieldOffset(1, publicKey, 0)
  b.addFieldOffset(2, wrappedMasterKey, 0)
  return b.endObject()
}

export function getAddDeviceRequest(r: Reader, t: number): AddDeviceRequest {
  return {
    name: r.text(r.field(t, 0)),
    publicKey: r.byteVector(r.field(t, 1)),
    wrappedMasterKey: r.byteVector(r.field(t, 2)),
  }
}

export const AddDeviceRequest: Codec<AddDeviceRequest> = codec('AddDeviceRequest', putAddDeviceRequest, getAddDeviceRequest)

export interface AddDeviceResponse {
  device: number
}

export function putAddDeviceResponse(b: Encoder, v: AddDeviceResponse): number {
  b.startObject(1)
  b.addFieldInt32(0, v.device, 0)
  return b.endObject()
}

export function getAddDeviceResponse(r: Reader, t: number): AddDeviceResponse {
  return {
    device: r.u32Field(t, 0),
  }
}

export const AddDeviceResponse: Codec<AddDeviceResponse> = codec('AddDeviceResponse', putAddDeviceResponse, getAddDeviceResponse)

export interface AddUserRequest {
  user: string
  quotaBytes: number
  /** Seconds that the invitation is good for; 0 for a week. */
  validSeconds: number
}

export function putAddUserRequest(b: Encoder, v: AddUserRequest): number {
  const user = b.text(v.user)
  b.startObject(3)
  b.addFieldU64(1, v.quotaBytes, 0)
  b.addFieldInt32(2, v.validSeconds, 0)
  b.addFieldOffset(0, user, 0)
  return b.endObject()
}

export function getAddUserRequest(r: Reader, t: number): AddUserRequest {
  return {
    user: r.text(r.field(t, 0)),
    quotaBytes: r.u64Field(t, 1),
    validSeconds: r.u32Field(t, 2),
  }
}

export const AddUserRequest: Codec<AddUserRequest> = codec('AddUserRequest', putAddUserRequest, getAddUserRequest)

export interface AddUserResponse {
  invitation: Uint8Array
  expires: bigint
}

export function putAddUserResponse(b: Encoder, v: AddUserResponse): number {
  const invitation = b.bytes(v.invitation)
  b.startObject(2)
  b.addFieldInt64(1, v.expires, 0n)
  b.addFieldOffset(0, invitation, 0)
  return b.endObject()
}

export function getAddUserResponse(r: Reader, t: number): AddUserResponse {
  return {
    invitation: r.byteVector(r.field(t, 0)),
    expires: r.i64Field(t, 1),
  }
}

export const AddUserResponse: Codec<AddUserResponse> = codec('AddUserResponse', putAddUserResponse, getAddUserResponse)

/** The records of the whole store as of one moment follow as payload (server/metadata/backup). */
export interface BackupRequest {
}

export function putBackupRequest(b: Encoder, _v: BackupRequest): number {
  b.startObject(0)
  return b.endObject()
}

export function getBackupRequest(r: Reader, _t: number): BackupRequest {
  r.spend(0)
  return {

  }
}

export const BackupRequest: Codec<BackupRequest> = codec('BackupRequest', putBackupRequest, getBackupRequest)

export interface BackupResponse {
  started: bigint
}

export function putBackupResponse(b: Encoder, v: BackupResponse): number {
  b.startObject(1)
  b.addFieldInt64(0, v.started, 0n)
  return b.endObject()
}

export function getBackupResponse(r: Reader, t: number): BackupResponse {
  return {
    started: r.i64Field(t, 0),
  }
}

export const BackupResponse: Codec<BackupResponse> = codec('BackupResponse', putBackupResponse, getBackupResponse)

/** A file or directory that the client made earlier; see BirthRequest. */
export interface BirthChange {
  inode: number
  parent: number
  token: Uint8Array
  entry: Uint8Array
  attributes: Attributes
  inline: Uint8Array
  hold: boolean
  atime: bigint
  patch: Uint8Array
}

export function putBirthChange(b: Encoder, v: BirthChange): number {
  const token = b.bytes(v.token)
  const entry = b.bytes(v.entry)
  const attributes = putAttributes(b, v.attributes)
  const inline = b.bytes(v.inline)
  const patch = b.bytes(v.patch)
  b.startObject(9)
  b.addFieldU64(0, v.inode, 0)
  b.addFieldU64(1, v.parent, 0)
  b.addFieldInt8(6, v.hold ? 1 : 0, 0)
  b.addFieldInt64(7, v.atime, 0n)
  b.addFieldOffset(2, token, 0)
  b.addFieldOffset(3, entry, 0)
  b.addFieldOffset(4, attributes, 0)
  b.addFieldOffset(5, inline, 0)
  b.addFieldOffset(8, patch, 0)
  return b.endObject()
}

export function getBirthChange(r: Reader, t: number): BirthChange {
  return {
    inode: r.u64Field(t, 0),
    parent: r.u64Field(t, 1),
    token: r.byteVector(r.field(t, 2)),
    entry: r.byteVector(r.field(t, 3)),
    attributes: r.required(r.field(t, 4), getAttributes),
    inline: r.byteVector(r.field(t, 5)),
    hold: r.boolField(t, 6),
    atime: r.i64Field(t, 7),
    patch: r.byteVector(r.field(t, 8)),
  }
}

export const BirthChange: Codec<BirthChange> = codec('BirthChange', putBirthChange, getBirthChange)

/**
 * As create, of a regular file that the client made earlier and held back: under a number of its own,
 * with the content that it has by now.
 */
export interface BirthRequest {
  operation: Operation
  /** Of the numbers given to this session. */
  inode: number
  parent: number
  token: Uint8Array
  entry: Uint8Array
  attributes: Attributes
  inline: Uint8Array
  hold: boolean
  /**
   * The lease under which it was made, if that has not ended in good order: then a server at which
   * it does not hold any more refuses with `staleLease`. Else 0.
   */
  lease: number
  /** Nanoseconds; 0 for now. */
  atime: bigint
  /** The answer need not repeat `inline`. */
  terse: boolean
  /**
   * Content instead of `inline`: the patch of the file's first window, as in WindowChange. It is all that
   * the file has then. Absent: none.
   */
  patch: Uint8Array
}

export function putBirthRequest(b: Encoder, v: BirthRequest): number {
  const operation = putOperation(b, v.operation)
  const token = b.bytes(v.token)
  const entry = b.bytes(v.entry)
  const attributes = putAttributes(b, v.attributes)
  const inline = b.bytes(v.inline)
  const patch = b.bytes(v.patch)
  b.startObject(12)
  b.addFieldU64(1, v.inode, 0)
  b.addFieldU64(2, v.parent, 0)
  b.addFieldInt8(7, v.hold ? 1 : 0, 0)
  b.addFieldU64(8, v.lease, 0)
  b.addFieldInt64(9, v.atime, 0n)
  b.addFieldInt8(10, v.terse ? 1 : 0, 0)
  b.addFieldOffset(0, operation, 0)
  b.addFieldOffset(3, token, 0)
  b.addFieldOffset(4, entry, 0)
  b.addFieldOffset(5, attributes, 0)
  b.addFieldOffset(6, inline, 0)
  b.addFieldOffset(11, patch, 0)
  return b.endObject()
}

export function getBirthRequest(r: Reader, t: number): BirthRequest {
  return {
    operation: r.required(r.field(t, 0), getOperation),
    inode: r.u64Field(t, 1),
    parent: r.u64Field(t, 2),
    token: r.byteVector(r.field(t, 3)),
    entry: r.byteVector(r.field(t, 4)),
    attributes: r.required(r.field(t, 5), getAttributes),
    inline: r.byteVector(r.field(t, 6)),
    hold: r.boolField(t, 7),
    lease: r.u64Field(t, 8),
    atime: r.i64Field(t, 9),
    terse: r.boolField(t, 10),
    patch: r.byteVector(r.field(t, 11)),
  }
}

export const BirthRequest: Codec<BirthRequest> = codec('BirthRequest', putBirthRequest, getBirthRequest)

export interface ChallengeRequest {
  device: number
}

export function putChallengeRequest(b: Encoder, v: ChallengeRequest): number {
  b.startObject(1)
  b.addFieldInt32(0, v.device, 0)
  return b.endObject()
}

export function getChallengeRequest(r: Reader, t: number): ChallengeRequest {
  return {
    device: r.u32Field(t, 0),
  }
}

export const ChallengeRequest: Codec<ChallengeRequest> = codec('ChallengeRequest', putChallengeRequest, getChallengeRequest)

export interface ChallengeResponse {
  nonce: Uint8Array
  cluster: Uint8Array
}

export function putChallengeResponse(b: Encoder, v: ChallengeResponse): number {
  const nonce = b.bytes(v.nonce)
  const cluster = b.bytes(v.cluster)
  b.startObject(2)
  b.addFieldOffset(0, nonce, 0)
  b.addFieldOffset(1, cluster, 0)
  return b.endObject()
}

export function getChallengeResponse(r: Reader, t: number): ChallengeResponse {
  return {
    nonce: r.byteVector(r.field(t, 0)),
    cluster: r.byteVector(r.field(t, 1)),
  }
}

export const ChallengeResponse: Codec<ChallengeResponse> = codec('ChallengeResponse', putChallengeResponse, getChallengeResponse)

/**
 * Changes of names that a client made under the lease, in its order: all of them take effect, or none.
 * Refused with `versionConflict` when a name means another inode than it must.
 */
export interface ChangeNamesRequest {
  operation: Operation
  changes: NameChange[]
}

export function putChangeNamesRequest(b: Encoder, v: ChangeNamesRequest): number {
  const operation = putOperation(b, v.operation)
  const changes = b.tables(v.changes, putNameChange)
  b.startObject(2)
  b.addFieldOffset(0, operation, 0)
  b.addFieldOffset(1, changes, 0)
  return b.endObject()
}

export function getChangeNamesRequest(r: Reader, t: number): ChangeNamesRequest {
  return {
    operation: r.required(r.field(t, 0), getOperation),
    changes: r.tables(r.field(t, 1), getNameChange),
  }
}

export const ChangeNamesRequest: Codec<ChangeNamesRequest> = codec('ChangeNamesRequest', putChangeNamesRequest, getChangeNamesRequest)

/**
 * The inodes that were changed and still have a name, as they are after all of it; without the content
 * that came along.
 */
export interface ChangeNamesResponse {
  inodes: Inode[]
}

export function putChangeNamesResponse(b: Encoder, v: ChangeNamesResponse): number {
  const inodes = b.tables(v.inodes, putInode)
  b.startObject(1)
  b.addFieldOffset(0, inodes, 0)
  return b.endObject()
}

export function getChangeNamesResponse(r: Reader, t: number): ChangeNamesResponse {
  return {
    inodes: r.tables(r.field(t, 0), getInode),
  }
}

export const ChangeNamesResponse: Codec<ChangeNamesResponse> = codec('ChangeNamesResponse', putChangeNamesResponse, getChangeNamesResponse)

export interface ChunkLocation {
  chunk: number
  length: number
  servers: number[]
  /** Read ticket. */
  ticket: Uint8Array
  expires: bigint
}

export function putChunkLocation(b: Encoder, v: ChunkLocation): number {
  const servers = b.numbers32(v.servers)
  const ticket = b.bytes(v.ticket)
  b.startObject(5)
  b.addFieldU64(0, v.chunk, 0)
  b.addFieldInt32(1, v.length, 0)
  b.addFieldInt64(4, v.expires, 0n)
  b.addFieldOffset(2, servers, 0)
  b.addFieldOffset(3, ticket, 0)
  return b.endObject()
}

export function getChunkLocation(r: Reader, t: number): ChunkLocation {
  return {
    chunk: r.u64Field(t, 0),
    length: r.u32Field(t, 1),
    servers: r.numbers32(r.field(t, 2)),
    ticket: r.byteVector(r.field(t, 3)),
    expires: r.i64Field(t, 4),
  }
}

export const ChunkLocation: Codec<ChunkLocation> = codec('ChunkLocation', putChunkLocation, getChunkLocation)

export interface ChunkPlan {
  chunk: number
  /** Write ticket, also the proof at commit. */
  ticket: Uint8Array
  /** Nanoseconds since 1970. */
  expires: bigint
  /** The chain: the client sends to the first, each forwards to the next. */
  servers: ServerAddress[]
}

export function putChunkPlan(b: Encoder, v: ChunkPlan): number {
  const ticket = b.bytes(v.ticket)
  const servers = b.tables(v.servers, putServerAddress)
  b.startObject(4)
  b.addFieldU64(0, v.chunk, 0)
  b.addFieldInt64(2, v.expires, 0n)
  b.addFieldOffset(1, ticket, 0)
  b.addFieldOffset(3, servers, 0)
  return b.endObject()
}

export function getChunkPlan(r: Reader, t: number): ChunkPlan {
  return {
    chunk: r.u64Field(t, 0),
    ticket: r.byteVector(r.field(t, 1)),
    expires: r.i64Field(t, 2),
    servers: r.tables(r.field(t, 3), getServerAddress),
  }
}

export const ChunkPlan: Codec<ChunkPlan> = codec('ChunkPlan', putChunkPlan, getChunkPlan)

export interface ClusterStatusRequest {
}

export function putClusterStatusRequest(b: Encoder, _v: ClusterStatusRequest): number {
  b.startObject(0)
  return b.endObject()
}

export function getClusterStatusRequest(r: Reader, _t: number): ClusterStatusRequest {
  r.spend(0)
  return {

  }
}

export const ClusterStatusRequest: Codec<ClusterStatusRequest> = codec('ClusterStatusRequest', putClusterStatusRequest, getClusterStatusRequest)

export interface ClusterStatusResponse {
  cluster: Uint8Array
  version: string
  started: bigint
  servers: ServerStatus[]
  users: number
  inodes: number
  chunks: number
  replicas: number
  writeQuorum: number
  /** Chunks with fewer replicas than that; among them those without any on a server that is there. */
  underReplicated: number
  lostChunks: number
  /** Replicas being made. */
  copying: number
}

export function putClusterStatusResponse(b: Encoder, v: ClusterStatusResponse): number {
  const cluster = b.bytes(v.cluster)
  const version = b.text(v.version)
  const servers = b.tables(v.servers, putServerStatus)
  b.startObject(12)
  b.addFieldInt64(2, v.started, 0n)
  b.addFieldU64(4, v.users, 0)
  b.addFieldU64(5, v.inodes, 0)
  b.addFieldU64(6, v.chunks, 0)
  b.addFieldInt32(7, v.replicas, 0)
  b.addFieldInt32(8, v.writeQuorum, 0)
  b.addFieldU64(9, v.underReplicated, 0)
  b.addFieldU64(10, v.lostChunks, 0)
  b.addFieldInt32(11, v.copying, 0)
  b.addFieldOffset(0, cluster, 0)
  b.addFieldOffset(1, version, 0)
  b.addFieldOffset(3, servers, 0)
  return b.endObject()
}

export function getClusterStatusResponse(r: Reader, t: number): ClusterStatusResponse {
  return {
    cluster: r.byteVector(r.field(t, 0)),
    version: r.text(r.field(t, 1)),
    started: r.i64Field(t, 2),
    servers: r.tables(r.field(t, 3), getServerStatus),
    users: r.u64Field(t, 4),
    inodes: r.u64Field(t, 5),
    chunks: r.u64Field(t, 6),
    replicas: r.u32Field(t, 7),
    writeQuorum: r.u32Field(t, 8),
    underReplicated: r.u64Field(t, 9),
    lostChunks: r.u64Field(t, 10),
    copying: r.u32Field(t, 11),
  }
}

export const ClusterStatusResponse: Codec<ClusterStatusResponse> = codec('ClusterStatusResponse', putClusterStatusResponse, getClusterStatusResponse)

/**
 * Makes written chunks visible, atomically, with size and mtime. Order: `truncate_to` first (when
 * `truncates`), then the windows' extents, then the attributes.
 */
export interface CommitRequest {
  operation: Operation
  inode: number
  /** With version = stored version + 1, else `versionConflict` and nothing happens. */
  attributes: Attributes
  truncates: boolean
  /**
   * Drops every byte from here on. The window it cuts must stand in `windows`, even without extents,
   * so that its digest is agreed.
   */
  truncateTo: number
  windows: WindowChange[]
  chunks: NewChunk[]
  /** Sealed content of a small file; replaces whatever content there was. Absent: none inline. */
  inline: Uint8Array
}

export function putCommitRequest(b: Encoder, v: CommitRequest): number {
  const operation = putOperation(b, v.operation)
  const attributes = putAttributes(b, v.attributes)
  const windows = b.tables(v.windows, putWindowChange)
  const chunks = b.tables(v.chunks, putNewChunk)
  const inline = b.bytes(v.inline)
  b.startObject(8)
  b.addFieldU64(1, v.inode, 0)
  b.addFieldInt8(3, v.truncates ? 1 : 0, 0)
  b.addFieldU64(4, v.truncateTo, 0)
  b.addFieldOffset(0, operation, 0)
  b.addFieldOffset(2, attributes, 0)
  b.addFieldOffset(5, windows, 0)
  b.addFieldOffset(6, chunks, 0)
  b.addFieldOffset(7, inline, 0)
  return b.endObject()
}

export function getCommitRequest(r: Reader, t: number): CommitRequest {
  return {
    operation: r.required(r.field(t, 0), getOperation),
    inode: r.u64Field(t, 1),
    attributes: r.required(r.field(t, 2), getAttributes),
    truncates: r.boolField(t, 3),
    truncateTo: r.u64Field(t, 4),
    windows: r.tables(r.field(t, 5), getWindowChange),
    chunks: r.tables(r.field(t, 6), getNewChunk),
    inline: r.byteVector(r.field(t, 7)),
  }
}

export const CommitRequest: Codec<CommitRequest> = codec('CommitRequest', putCommitRequest, getCommitRequest)

export interface CreateJoinTokenRequest {
  validSeconds: number
  /** For a standby, not for a chunkserver. */
  standby: boolean
}

export function putCreateJoinTokenRequest(b: Encoder, v: CreateJoinTokenRequest): number {
  b.startObject(2)
  b.addFieldInt32(0, v.validSeconds, 0)
  b.addFieldInt8(1, v.standby ? 1 : 0, 0)
  return b.endObject()
}

export function getCreateJoinTokenRequest(r: Reader, t: number): CreateJoinTokenRequest {
  return {
    validSeconds: r.u32Field(t, 0),
    standby: r.boolField(t, 1),
  }
}

export const CreateJoinTokenRequest: Codec<CreateJoinTokenRequest> = codec('CreateJoinTokenRequest', putCreateJoinTokenRequest, getCreateJoinTokenRequest)

export interface CreateJoinTokenResponse {
  secret: Uint8Array
  expires: bigint
}

export function putCreateJoinTokenResponse(b: Encoder, v: CreateJoinTokenResponse): number {
  const secret = b.bytes(v.secret)
  b.startObject(2)
  b.addFieldInt64(1, v.expires, 0n)
  b.addFieldOffset(0, secret, 0)
  return b.endObject()
}

export function getCreateJoinTokenResponse(r: Reader, t: number): CreateJoinTokenResponse {
  return {
    secret: r.byteVector(r.field(t, 0)),
    expires: r.i64Field(t, 1),
  }
}

export const CreateJoinTokenResponse: Codec<CreateJoinTokenResponse> = codec('CreateJoinTokenResponse', putCreateJoinTokenResponse, getCreateJoinTokenResponse)

export interface CreateRequest {
  operation: Operation
  parent: number
  token: Uint8Array
  /** The sealed entry: name, child's key. */
  entry: Uint8Array
  attributes: Attributes
  /** Sealed content of a small file or sealed target of a symbolic link. */
  inline: Uint8Array
  hold: boolean
}

export function putCreateRequest(b: Encoder, v: CreateRequest): number {
  const operation = putOperation(b, v.operation)
  const token = b.bytes(v.token)
  const entry = b.bytes(v.entry)
  const attributes = putAttributes(b, v.attributes)
  const inline = b.bytes(v.inline)
  b.startObject(7)
  b.addFieldU64(1, v.parent, 0)
  b.addFieldInt8(6, v.hold ? 1 : 0, 0)
  b.addFieldOffset(0, operation, 0)
  b.addFieldOffset(2, token, 0)
  b.addFieldOffset(3, entry, 0)
  b.addFieldOffset(4, attributes, 0)
  b.addFieldOffset(5, inline, 0)
  return b.endObject()
}

export function getCreateRequest(r: Reader, t: number): CreateRequest {
  return {
    operation: r.required(r.field(t, 0), getOperation),
    parent: r.u64Field(t, 1),
    token: r.byteVector(r.field(t, 2)),
    entry: r.byteVector(r.field(t, 3)),
    attributes: r.required(r.field(t, 4), getAttributes),
    inline: r.byteVector(r.field(t, 5)),
    hold: r.boolField(t, 6),
  }
}

export const CreateRequest: Codec<CreateRequest> = codec('CreateRequest', putCreateRequest, getCreateRequest)

/** The user is gone at once, and what he stored in the background. */
export interface DeleteUserRequest {
  user: string
}

export function putDeleteUserRequest(b: Encoder, v: DeleteUserRequest): number {
  const user = b.text(v.user)
  b.startObject(1)
  b.addFieldOffset(0, user, 0)
  return b.endObject()
}

export function getDeleteUserRequest(r: Reader, t: number): DeleteUserRequest {
  return {
    user: r.text(r.field(t, 0)),
  }
}

export const DeleteUserRequest: Codec<DeleteUserRequest> = codec('DeleteUserRequest', putDeleteUserRequest, getDeleteUserRequest)

export interface DeviceStatus {
  device: number
  name: string
  /** Nanoseconds since 1970. */
  created: bigint
  /** Sessions that it has open on connections. */
  sessions: number
}

export function putDeviceStatus(b: Encoder, v: DeviceStatus): number {
  const name = b.text(v.name)
  b.startObject(4)
  b.addFieldInt32(0, v.device, 0)
  b.addFieldInt64(2, v.created, 0n)
  b.addFieldInt32(3, v.sessions, 0)
  b.addFieldOffset(1, name, 0)
  return b.endObject()
}

export function getDeviceStatus(r: Reader, t: number): DeviceStatus {
  return {
    device: r.u32Field(t, 0),
    name: r.text(r.field(t, 1)),
    created: r.i64Field(t, 2),
    sessions: r.u32Field(t, 3),
  }
}

export const DeviceStatus: Codec<DeviceStatus> = codec('DeviceStatus', putDeviceStatus, getDeviceStatus)

/** A disabled user's sessions end at once; nothing of his is deleted. */
export interface DisableUserRequest {
  user: string
  disabled: boolean
}

export function putDisableUserRequest(b: Encoder, v: DisableUserRequest): number {
  const user = b.text(v.user)
  b.startObject(2)
  b.addFieldInt8(1, v.disabled ? 1 : 0, 0)
  b.addFieldOffset(0, user, 0)
  return b.endObject()
}

export function getDisableUserRequest(r: Reader, t: number): DisableUserRequest {
  return {
    user: r.text(r.field(t, 0)),
    disabled: r.boolField(t, 1),
  }
}

export const DisableUserRequest: Codec<DisableUserRequest> = codec('DisableUserRequest', putDisableUserRequest, getDisableUserRequest)

/** Empties a chunkserver that is to leave; or undoes that. */
export interface DrainServerRequest {
  server: number
  drain: boolean
}

export function putDrainServerRequest(b: Encoder, v: DrainServerRequest): number {
  b.startObject(2)
  b.addFieldInt32(0, v.server, 0)
  b.addFieldInt8(1, v.drain ? 1 : 0, 0)
  return b.endObject()
}

export function getDrainServerRequest(r: Reader, t: number): DrainServerRequest {
  return {
    server: r.u32Field(t, 0),
    drain: r.boolField(t, 1),
  }
}

export const DrainServerRequest: Codec<DrainServerRequest> = codec('DrainServerRequest', putDrainServerRequest, getDrainServerRequest)

export interface Empty {
}

export function putEmpty(b: Encoder, _v: Empty): number {
  b.startObject(0)
  return b.endObject()
}

export function getEmpty(r: Reader, _t: number): Empty {
  r.spend(0)
  return {

  }
}

export const Empty: Codec<Empty> = codec('Empty', putEmpty, getEmpty)

export interface GetInodeRequest {
  inode: number
  hold: boolean
}

export function putGetInodeRequest(b: Encoder, v: GetInodeRequest): number {
  b.startObject(2)
  b.addFieldU64(0, v.inode, 0)
  b.addFieldInt8(1, v.hold ? 1 : 0, 0)
  return b.endObject()
}

export function getGetInodeRequest(r: Reader, t: number): GetInodeRequest {
  return {
    inode: r.u64Field(t, 0),
    hold: r.boolField(t, 1),
  }
}

export const GetInodeRequest: Codec<GetInodeRequest> = codec('GetInodeRequest', putGetInodeRequest, getGetInodeRequest)

/** From server to client: the session is the only one of its user again and holds this lease. */
export interface GrantLeaseRequest {
  lease: number
}

export function putGrantLeaseRequest(b: Encoder, v: GrantLeaseRequest): number {
  b.startObject(1)
  b.addFieldU64(0, v.lease, 0)
  return b.endObject()
}

export function getGrantLeaseRequest(r: Reader, t: number): GrantLeaseRequest {
  return {
    lease: r.u64Field(t, 0),
  }
}

export const GrantLeaseRequest: Codec<GrantLeaseRequest> = codec('GrantLeaseRequest', putGrantLeaseRequest, getGrantLeaseRequest)

export interface InodeNumbersRequest {
}

export function putInodeNumbersRequest(b: Encoder, _v: InodeNumbersRequest): number {
  b.startObject(0)
  return b.endObject()
}

export function getInodeNumbersRequest(r: Reader, _t: number): InodeNumbersRequest {
  r.spend(0)
  return {

  }
}

export const InodeNumbersRequest: Codec<InodeNumbersRequest> = codec('InodeNumbersRequest', putInodeNumbersRequest, getInodeNumbersRequest)

/** Numbers that nobody has had and only this session may give to new files, in `birth`. */
export interface InodeNumbersResponse {
  first: number
  count: number
}

export function putInodeNumbersResponse(b: Encoder, v: InodeNumbersResponse): number {
  b.startObject(2)
  b.addFieldU64(0, v.first, 0)
  b.addFieldInt32(1, v.count, 0)
  return b.endObject()
}

export function getInodeNumbersResponse(r: Reader, t: number): InodeNumbersResponse {
  return {
    first: r.u64Field(t, 0),
    count: r.u32Field(t, 1),
  }
}

export const InodeNumbersResponse: Codec<InodeNumbersResponse> = codec('InodeNumbersResponse', putInodeNumbersResponse, getInodeNumbersResponse)

/** `parent` is the directory after a change of its entries. */
export interface InodeResponse {
  inode: Inode
  parent?: Inode | undefined
}

export function putInodeResponse(b: Encoder, v: InodeResponse): number {
  const inode = putInode(b, v.inode)
  const parent = v.parent === undefined ? 0 : putInode(b, v.parent)
  b.startObject(2)
  b.addFieldOffset(0, inode, 0)
  b.addFieldOffset(1, parent, 0)
  return b.endObject()
}

export function getInodeResponse(r: Reader, t: number): InodeResponse {
  return {
    inode: r.required(r.field(t, 0), getInode),
    parent: r.optional(r.field(t, 1), getInode),
  }
}

export const InodeResponse: Codec<InodeResponse> = codec('InodeResponse', putInodeResponse, getInodeResponse)

export interface LinkRequest {
  operation: Operation
  inode: number
  parent: number
  token: Uint8Array
  entry: Uint8Array
}

export function putLinkRequest(b: Encoder, v: LinkRequest): number {
  const operation = putOperation(b, v.operation)
  const token = b.bytes(v.token)
  const entry = b.bytes(v.entry)
  b.startObject(5)
  b.addFieldU64(1, v.inode, 0)
  b.addFieldU64(2, v.parent, 0)
  b.addFieldOffset(0, operation, 0)
  b.addFieldOffset(3, token, 0)
  b.addFieldOffset(4, entry, 0)
  return b.endObject()
}

export function getLinkRequest(r: Reader, t: number): LinkRequest {
  return {
    operation: r.required(r.field(t, 0), getOperation),
    inode: r.u64Field(t, 1),
    parent: r.u64Field(t, 2),
    token: r.byteVector(r.field(t, 3)),
    entry: r.byteVector(r.field(t, 4)),
  }
}

export const LinkRequest: Codec<LinkRequest> = codec('LinkRequest', putLinkRequest, getLinkRequest)

/** In a session, or on a connection that has just proven the password. */
export interface ListDevicesRequest {
}

export function putListDevicesRequest(b: Encoder, _v: ListDevicesRequest): number {
  b.startObject(0)
  return b.endObject()
}

export function getListDevicesRequest(r: Reader, _t: number): ListDevicesRequest {
  r.spend(0)
  return {

  }
}

export const ListDevicesRequest: Codec<ListDevicesRequest> = codec('ListDevicesRequest', putListDevicesRequest, getListDevicesRequest)

export interface ListDevicesResponse {
  devices: DeviceStatus[]
  /** The account has a recovery code. */
  recovery: boolean
}

export function putListDevicesResponse(b: Encoder, v: ListDevicesResponse): number {
  const devices = b.tables(v.devices, putDeviceStatus)
  b.startObject(2)
  b.addFieldInt8(1, v.recovery ? 1 : 0, 0)
  b.addFieldOffset(0, devices, 0)
  return b.endObject()
}

export function getListDevicesResponse(r: Reader, t: number): ListDevicesResponse {
  return {
    devices: r.tables(r.field(t, 0), getDeviceStatus),
    recovery: r.boolField(t, 1),
  }
}

export const ListDevicesResponse: Codec<ListDevicesResponse> = codec('ListDevicesResponse', putListDevicesResponse, getListDevicesResponse)

export interface ListRequest {
  directory: number
  /** Continue behind this token; empty for the first page. */
  after: Uint8Array
  limit: number
}

export function putListRequest(b: Encoder, v: ListRequest): number {
  const after = b.bytes(v.after)
  b.startObject(3)
  b.addFieldU64(0, v.directory, 0)
  b.addFieldInt32(2, v.limit, 0)
  b.addFieldOffset(1, after, 0)
  return b.endObject()
}

export function getListRequest(r: Reader, t: number): ListRequest {
  return {
    directory: r.u64Field(t, 0),
    after: r.byteVector(r.field(t, 1)),
    limit: r.u32Field(t, 2),
  }
}

export const ListRequest: Codec<ListRequest> = codec('ListRequest', putListRequest, getListRequest)

export interface ListResponse {
  entries: ListedEntry[]
  more: boolean
}

export function putListResponse(b: Encoder, v: ListResponse): number {
  const entries = b.tables(v.entries, putListedEntry)
  b.startObject(2)
  b.addFieldInt8(1, v.more ? 1 : 0, 0)
  b.addFieldOffset(0, entries, 0)
  return b.endObject()
}

export function getListResponse(r: Reader, t: number): ListResponse {
  return {
    entries: r.tables(r.field(t, 0), getListedEntry),
    more: r.boolField(t, 1),
  }
}

export const ListResponse: Codec<ListResponse> = codec('ListResponse', putListResponse, getListResponse)

export interface ListUsersRequest {
}

export function putListUsersRequest(b: Encoder, _v: ListUsersRequest): number {
  b.startObject(0)
  return b.endObject()
}

export function getListUsersRequest(r: Reader, _t: number): ListUsersRequest {
  r.spend(0)
  return {

  }
}

export const ListUsersRequest: Codec<ListUsersRequest> = codec('ListUsersRequest', putListUsersRequest, getListUsersRequest)

export interface ListUsersResponse {
  users: UserStatus[]
}

export function putListUsersResponse(b: Encoder, v: ListUsersResponse): number {
  const users = b.tables(v.users, putUserStatus)
  b.startObject(1)
  b.addFieldOffset(0, users, 0)
  return b.endObject()
}

export function getListUsersResponse(r: Reader, t: number): ListUsersResponse {
  return {
    users: r.tables(r.field(t, 0), getUserStatus),
  }
}

export const ListUsersResponse: Codec<ListUsersResponse> = codec('ListUsersResponse', putListUsersResponse, getListUsersResponse)

/** Without its inode when that is damaged at the server: the name is there, and it gives EIO. */
export interface ListedEntry {
  token: Uint8Array
  entry: Uint8Array
  inode?: Inode | undefined
}

export function putListedEntry(b: Encoder, v: ListedEntry): number {
  const token = b.bytes(v.token)
  const entry = b.bytes(v.entry)
  const inode = v.inode === undefined ? 0 : putInode(b, v.inode)
  b.startObject(3)
  b.addFieldOffset(0, token, 0)
  b.addFieldOffset(1, entry, 0)
  b.addFieldOffset(2, inode, 0)
  return b.endObject()
}

export function getListedEntry(r: Reader, t: number): ListedEntry {
  return {
    token: r.byteVector(r.field(t, 0)),
    entry: r.byteVector(r.field(t, 1)),
    inode: r.optional(r.field(t, 2), getInode),
  }
}

export const ListedEntry: Codec<ListedEntry> = codec('ListedEntry', putListedEntry, getListedEntry)

export interface LoginFinishRequest {
  opaqueFinish: string
}

export function putLoginFinishRequest(b: Encoder, v: LoginFinishRequest): number {
  const opaqueFinish = b.text(v.opaqueFinish)
  b.startObject(1)
  b.addFieldOffset(0, opaqueFinish, 0)
  return b.endObject()
}

export function getLoginFinishRequest(r: Reader, t: number): LoginFinishRequest {
  return {
    opaqueFinish: r.text(r.field(t, 0)),
  }
}

export const LoginFinishRequest: Codec<LoginFinishRequest> = codec('LoginFinishRequest', putLoginFinishRequest, getLoginFinishRequest)

export interface LoginStartRequest {
  user: string
  opaqueRequest: string
}

export function putLoginStartRequest(b: Encoder, v: LoginStartRequest): number {
  const user = b.text(v.user)
  const opaqueRequest = b.text(v.opaqueRequest)
  b.startObject(2)
  b.addFieldOffset(0, user, 0)
  b.addFieldOffset(1, opaqueRequest, 0)
  return b.endObject()
}

export function getLoginStartRequest(r: Reader, t: number): LoginStartRequest {
  return {
    user: r.text(r.field(t, 0)),
    opaqueRequest: r.text(r.field(t, 1)),
  }
}

export const LoginStartRequest: Codec<LoginStartRequest> = codec('LoginStartRequest', putLoginStartRequest, getLoginStartRequest)

export interface LoginStartResponse {
  opaqueResponse: string
}

export function putLoginStartResponse(b: Encoder, v: LoginStartResponse): number {
  const opaqueResponse = b.text(v.opaqueResponse)
  b.startObject(1)
  b.addFieldOffset(0, opaqueResponse, 0)
  return b.endObject()
}

export function getLoginStartResponse(r: Reader, t: number): LoginStartResponse {
  return {
    opaqueResponse: r.text(r.field(t, 0)),
  }
}

export const LoginStartResponse: Codec<LoginStartResponse> = codec('LoginStartResponse', putLoginStartResponse, getLoginStartResponse)

/** Exactly one of the three. */
export interface NameChange {
  /** The lease under which the client answered it, as in BirthRequest. */
  lease: number
  birth?: BirthChange | undefined
  unlink?: UnlinkChange | undefined
  rename?: RenameChange | undefined
}

export function putNameChange(b: Encoder, v: NameChange): number {
  const birth = v.birth === undefined ? 0 : putBirthChange(b, v.birth)
  const unlink = v.unlink === undefined ? 0 : putUnlinkChange(b, v.unlink)
  const rename = v.rename === undefined ? 0 : putRenameChange(b, v.rename)
  b.startObject(4)
  b.addFieldU64(0, v.lease, 0)
  b.addFieldOffset(1, birth, 0)
  b.addFieldOffset(2, unlink, 0)
  b.addFieldOffset(3, rename, 0)
  return b.endObject()
}

export function getNameChange(r: Reader, t: number): NameChange {
  return {
    lease: r.u64Field(t, 0),
    birth: r.optional(r.field(t, 1), getBirthChange),
    unlink: r.optional(r.field(t, 2), getUnlinkChange),
    rename: r.optional(r.field(t, 3), getRenameChange),
  }
}

export const NameChange: Codec<NameChange> = codec('NameChange', putNameChange, getNameChange)

/** A chunk that this commit names for the first time. */
export interface NewChunk {
  chunk: number
  /** Plaintext bytes. */
  length: number
  /** Chunkservers that acknowledged it as durable. */
  servers: number[]
  /** The write ticket of its plan: proof that it was planned for this user. */
  ticket: Uint8Array
}

export function putNewChunk(b: Encoder, v: NewChunk): number {
  const servers = b.numbers32(v.servers)
  const ticket = b.bytes(v.ticket)
  b.startObject(4)
  b.addFieldU64(0, v.chunk, 0)
  b.addFieldInt32(1, v.length, 0)
  b.addFieldOffset(2, servers, 0)
  b.addFieldOffset(3, ticket, 0)
  return b.endObject()
}

export function getNewChunk(r: Reader, t: number): NewChunk {
  return {
    chunk: r.u64Field(t, 0),
    length: r.u32Field(t, 1),
    servers: r.numbers32(r.field(t, 2)),
    ticket: r.byteVector(r.field(t, 3)),
  }
}

export const NewChunk: Codec<NewChunk> = codec('NewChunk', putNewChunk, getNewChunk)

export interface OpenSessionRequest {
  device: number
  /** Ed25519 over the challenge (schema/wire/session-proof.ts). */
  signature: Uint8Array
  /** The session to take up again after a lost connection; 0 for a new one. */
  session: number
  /** Inodes that this client holds open, so that a restarted server keeps them. */
  held: number[]
  /** The highest epoch that a metadata server has proven to this client. */
  epoch: number
  epochProof: Uint8Array
}

export function putOpenSessionRequest(b: Encoder, v: OpenSessionRequest): number {
  const signature = b.bytes(v.signature)
  const held = b.numbers64(v.held)
  const epochProof = b.bytes(v.epochProof)
  b.startObject(6)
  b.addFieldInt32(0, v.device, 0)
  b.addFieldU64(2, v.session, 0)
  b.addFieldU64(4, v.epoch, 0)
  b.addFieldOffset(1, signature, 0)
  b.addFieldOffset(3, held, 0)
  b.addFieldOffset(5, epochProof, 0)
  return b.endObject()
}

export function getOpenSessionRequest(r: Reader, t: number): OpenSessionRequest {
  return {
    device: r.u32Field(t, 0),
    signature: r.byteVector(r.field(t, 1)),
    session: r.u64Field(t, 2),
    held: r.numbers64(r.field(t, 3)),
    epoch: r.u64Field(t, 4),
    epochProof: r.byteVector(r.field(t, 5)),
  }
}

export const OpenSessionRequest: Codec<OpenSessionRequest> = codec('OpenSessionRequest', putOpenSessionRequest, getOpenSessionRequest)

export interface OpenSessionResponse {
  session: number
  account: Account
  /** Replicas that the cluster keeps of a chunk, and how many must be durable before a commit. */
  replicas: number
  writeQuorum: number
  /** The lease of the user's tree that this session holds; 0: none. */
  lease: number
  /** Differs after each start of the server: leases of an earlier start ended with it. */
  boot: Uint8Array
  /** Where the metadata servers are, host:port. */
  metadata: string[]
  epoch: number
  epochProof: Uint8Array
}

export function putOpenSessionResponse(b: Encoder, v: OpenSessionResponse): number {
  const account = putAccount(b, v.account)
  const boot = b.bytes(v.boot)
  const metadata = b.texts(v.metadata)
  const epochProof = b.bytes(v.epochProof)
  b.startObject(9)
  b.addFieldU64(0, v.session, 0)
  b.addFieldInt32(2, v.replicas, 0)
  b.addFieldInt32(3, v.writeQuorum, 0)
  b.addFieldU64(4, v.lease, 0)
  b.addFieldU64(7, v.epoch, 0)
  b.addFieldOffset(1, account, 0)
  b.addFieldOffset(5, boot, 0)
  b.addFieldOffset(6, metadata, 0)
  b.addFieldOffset(8, epochProof, 0)
  return b.endObject()
}

export function getOpenSessionResponse(r: Reader, t: number): OpenSessionResponse {
  return {
    session: r.u64Field(t, 0),
    account: r.required(r.field(t, 1), getAccount),
    replicas: r.u32Field(t, 2),
    writeQuorum: r.u32Field(t, 3),
    lease: r.u64Field(t, 4),
    boot: r.byteVector(r.field(t, 5)),
    metadata: r.texts(r.field(t, 6)),
    epoch: r.u64Field(t, 7),
    epochProof: r.byteVector(r.field(t, 8)),
  }
}

export const OpenSessionResponse: Codec<OpenSessionResponse> = codec('OpenSessionResponse', putOpenSessionResponse, getOpenSessionResponse)

/** Starts a new password: only on a connection that has just proven the old one or the recovery code. */
export interface PasswordStartRequest {
  opaqueRequest: string
}

export function putPasswordStartRequest(b: Encoder, v: PasswordStartRequest): number {
  const opaqueRequest = b.text(v.opaqueRequest)
  b.startObject(1)
  b.addFieldOffset(0, opaqueRequest, 0)
  return b.endObject()
}

export function getPasswordStartRequest(r: Reader, t: number): PasswordStartRequest {
  return {
    opaqueRequest: r.text(r.field(t, 0)),
  }
}

export const PasswordStartRequest: Codec<PasswordStartRequest> = codec('PasswordStartRequest', putPasswordStartRequest, getPasswordStartRequest)

export interface PasswordStartResponse {
  opaqueResponse: string
}

export function putPasswordStartResponse(b: Encoder, v: PasswordStartResponse): number {
  const opaqueResponse = b.text(v.opaqueResponse)
  b.startObject(1)
  b.addFieldOffset(0, opaqueResponse, 0)
  return b.endObject()
}

export function getPasswordStartResponse(r: Reader, t: number): PasswordStartResponse {
  return {
    opaqueResponse: r.text(r.field(t, 0)),
  }
}

export const PasswordStartResponse: Codec<PasswordStartResponse> = codec('PasswordStartResponse', putPasswordStartResponse, getPasswordStartResponse)

export interface PlanRequest {
  count: number
  /** Chunkservers that just failed this client. */
  exclude: number[]
  /** To send an unfinished chunk elsewhere: its id and write ticket; 0 and absent for new chunks. */
  chunk: number
  ticket: Uint8Array
}

export function putPlanRequest(b: Encoder, v: PlanRequest): number {
  const exclude = b.numbers32(v.exclude)
  const ticket = b.bytes(v.ticket)
  b.startObject(4)
  b.addFieldInt32(0, v.count, 0)
  b.addFieldU64(2, v.chunk, 0)
  b.addFieldOffset(1, exclude, 0)
  b.addFieldOffset(3, ticket, 0)
  return b.endObject()
}

export function getPlanRequest(r: Reader, t: number): PlanRequest {
  return {
    count: r.u32Field(t, 0),
    exclude: r.numbers32(r.field(t, 1)),
    chunk: r.u64Field(t, 2),
    ticket: r.byteVector(r.field(t, 3)),
  }
}

export const PlanRequest: Codec<PlanRequest> = codec('PlanRequest', putPlanRequest, getPlanRequest)

export interface PlanResponse {
  plans: ChunkPlan[]
}

export function putPlanResponse(b: Encoder, v: PlanResponse): number {
  const plans = b.tables(v.plans, putChunkPlan)
  b.startObject(1)
  b.addFieldOffset(0, plans, 0)
  return b.endObject()
}

export function getPlanResponse(r: Reader, t: number): PlanResponse {
  return {
    plans: r.tables(r.field(t, 0), getChunkPlan),
  }
}

export const PlanResponse: Codec<PlanResponse> = codec('PlanResponse', putPlanResponse, getPlanResponse)

/** The digests of all windows, as payload: per window u32 little-endian index, 32 bytes digest. */
export interface ReadManifestRequest {
  inode: number
}

export function putReadManifestRequest(b: Encoder, v: ReadManifestRequest): number {
  b.startObject(1)
  b.addFieldU64(0, v.inode, 0)
  return b.endObject()
}

export function getReadManifestRequest(r: Reader, t: number): ReadManifestRequest {
  return {
    inode: r.u64Field(t, 0),
  }
}

export const ReadManifestRequest: Codec<ReadManifestRequest> = codec('ReadManifestRequest', putReadManifestRequest, getReadManifestRequest)

export interface ReadManifestResponse {
  inode: Inode
  windowCount: number
}

export function putReadManifestResponse(b: Encoder, v: ReadManifestResponse): number {
  const inode = putInode(b, v.inode)
  b.startObject(2)
  b.addFieldInt32(1, v.windowCount, 0)
  b.addFieldOffset(0, inode, 0)
  return b.endObject()
}

export function getReadManifestResponse(r: Reader, t: number): ReadManifestResponse {
  return {
    inode: r.required(r.field(t, 0), getInode),
    windowCount: r.u32Field(t, 1),
  }
}

export const ReadManifestResponse: Codec<ReadManifestResponse> = codec('ReadManifestResponse', putReadManifestResponse, getReadManifestResponse)

export interface ReadTreeStateRequest {
  pages: number[]
}

export function putReadTreeStateRequest(b: Encoder, v: ReadTreeStateRequest): number {
  const pages = b.numbers64(v.pages)
  b.startObject(1)
  b.addFieldOffset(0, pages, 0)
  return b.endObject()
}

export function getReadTreeStateRequest(r: Reader, t: number): ReadTreeStateRequest {
  return {
    pages: r.numbers64(r.field(t, 0)),
  }
}

export const ReadTreeStateRequest: Codec<ReadTreeStateRequest> = codec('ReadTreeStateRequest', putReadTreeStateRequest, getReadTreeStateRequest)

/**
 * State and pages as of one moment: the pages asked for, in that order, without bytes where there is
 * none.
 */
export interface ReadTreeStateResponse {
  counter: number
  state: Uint8Array
  pages: TreePage[]
}

export function putReadTreeStateResponse(b: Encoder, v: ReadTreeStateResponse): number {
  const state = b.bytes(v.state)
  const pages = b.tables(v.pages, putTreePage)
  b.startObject(3)
  b.addFieldU64(0, v.counter, 0)
  b.addFieldOffset(1, state, 0)
  b.addFieldOffset(2, pages, 0)
  return b.endObject()
}

export function getReadTreeStateResponse(r: Reader, t: number): ReadTreeStateResponse {
  return {
    counter: r.u64Field(t, 0),
    state: r.byteVector(r.field(t, 1)),
    pages: r.tables(r.field(t, 2), getTreePage),
  }
}

export const ReadTreeStateResponse: Codec<ReadTreeStateResponse> = codec('ReadTreeStateResponse', putReadTreeStateResponse, getReadTreeStateResponse)

export interface ReadWindowsRequest {
  inode: number
  first: number
  count: number
}

export function putReadWindowsRequest(b: Encoder, v: ReadWindowsRequest): number {
  b.startObject(3)
  b.addFieldU64(0, v.inode, 0)
  b.addFieldInt32(1, v.first, 0)
  b.addFieldInt32(2, v.count, 0)
  return b.endObject()
}

export function getReadWindowsRequest(r: Reader, t: number): ReadWindowsRequest {
  return {
    inode: r.u64Field(t, 0),
    first: r.u32Field(t, 1),
    count: r.u32Field(t, 2),
  }
}

export const ReadWindowsRequest: Codec<ReadWindowsRequest> = codec('ReadWindowsRequest', putReadWindowsRequest, getReadWindowsRequest)

/** The inode and its windows as of one moment. Windows without extents and patch are left out. */
export interface ReadWindowsResponse {
  inode: Inode
  windows: Window[]
  chunks: ChunkLocation[]
  servers: ServerAddress[]
}

export function putReadWindowsResponse(b: Encoder, v: ReadWindowsResponse): number {
  const inode = putInode(b, v.inode)
  const windows = b.tables(v.windows, putWindow)
  const chunks = b.tables(v.chunks, putChunkLocation)
  const servers = b.tables(v.servers, putServerAddress)
  b.startObject(4)
  b.addFieldOffset(0, inode, 0)
  b.addFieldOffset(1, windows, 0)
  b.addFieldOffset(2, chunks, 0)
  b.addFieldOffset(3, servers, 0)
  return b.endObject()
}

export function getReadWindowsResponse(r: Reader, t: number): ReadWindowsResponse {
  return {
    inode: r.required(r.field(t, 0), getInode),
    windows: r.tables(r.field(t, 1), getWindow),
    chunks: r.tables(r.field(t, 2), getChunkLocation),
    servers: r.tables(r.field(t, 3), getServerAddress),
  }
}

export const ReadWindowsResponse: Codec<ReadWindowsResponse> = codec('ReadWindowsResponse', putReadWindowsResponse, getReadWindowsResponse)

/** The sealed extended attributes of an inode, and the inode that vouches for them, as of one moment. */
export interface ReadXattrsRequest {
  inode: number
}

export function putReadXattrsRequest(b: Encoder, v: ReadXattrsRequest): number {
  b.startObject(1)
  b.addFieldU64(0, v.inode, 0)
  return b.endObject()
}

export function getReadXattrsRequest(r: Reader, t: number): ReadXattrsRequest {
  return {
    inode: r.u64Field(t, 0),
  }
}

export const ReadXattrsRequest: Codec<ReadXattrsRequest> = codec('ReadXattrsRequest', putReadXattrsRequest, getReadXattrsRequest)

export interface ReadXattrsResponse {
  inode: Inode
  xattrs: Uint8Array
}

export function putReadXattrsResponse(b: Encoder, v: ReadXattrsResponse): number {
  const inode = putInode(b, v.inode)
  const xattrs = b.bytes(v.xattrs)
  b.startObject(2)
  b.addFieldOffset(0, inode, 0)
  b.addFieldOffset(1, xattrs, 0)
  return b.endObject()
}

export function getReadXattrsResponse(r: Reader, t: number): ReadXattrsResponse {
  return {
    inode: r.required(r.field(t, 0), getInode),
    xattrs: r.byteVector(r.field(t, 1)),
  }
}

export const ReadXattrsResponse: Codec<ReadXattrsResponse> = codec('ReadXattrsResponse', putReadXattrsResponse, getReadXattrsResponse)

/**
 * From server to client. The answer says that the client trusts nothing it has cached any more and
 * that what it held back has been sent.
 */
export interface RecallLeaseRequest {
  lease: number
}

export function putRecallLeaseRequest(b: Encoder, v: RecallLeaseRequest): number {
  b.startObject(1)
  b.addFieldU64(0, v.lease, 0)
  return b.endObject()
}

export function getRecallLeaseRequest(r: Reader, t: number): RecallLeaseRequest {
  return {
    lease: r.u64Field(t, 0),
  }
}

export const RecallLeaseRequest: Codec<RecallLeaseRequest> = codec('RecallLeaseRequest', putRecallLeaseRequest, getRecallLeaseRequest)

/**
 * Proves the recovery code on this connection (schema/wire/session-proof.ts), after a challenge.
 * Answered with an Account whose master key is wrapped by the code.
 */
export interface RecoverRequest {
  user: string
  signature: Uint8Array
}

export function putRecoverRequest(b: Encoder, v: RecoverRequest): number {
  const user = b.text(v.user)
  const signature = b.bytes(v.signature)
  b.startObject(2)
  b.addFieldOffset(0, user, 0)
  b.addFieldOffset(1, signature, 0)
  return b.endObject()
}

export function getRecoverRequest(r: Reader, t: number): RecoverRequest {
  return {
    user: r.text(r.field(t, 0)),
    signature: r.byteVector(r.field(t, 1)),
  }
}

export const RecoverRequest: Codec<RecoverRequest> = codec('RecoverRequest', putRecoverRequest, getRecoverRequest)

export interface RegisterFinishRequest {
  invitation: Uint8Array
  user: string
  opaqueRecord: string
  /** The master key, wrapped by OPAQUE's export key. */
  wrappedMasterKey: Uint8Array
  /** The root directory's key, wrapped by the master key. */
  wrappedRootKey: Uint8Array
  root: Attributes
  /**
   * Raw Ed25519 public key of the recovery code, and the master key wrapped by the code; both empty
   * for an account without one.
   */
  recoveryKey: Uint8Array
  recoveryMasterKey: Uint8Array
}

export function putRegisterFinishRequest(b: Encoder, v: RegisterFinishRequest): number {
  const invitation = b.bytes(v.invitation)
  const user = b.text(v.user)
  const opaqueRecord = b.text(v.opaqueRecord)
  const wrappedMasterKey = b.bytes(v.wrappedMasterKey)
  const wrappedRootKey = b.bytes(v.wrappedRootKey)
  const root = putAttributes(b, v.root)
  const recoveryKey = b.bytes(v.recoveryKey)
  const recoveryMasterKey = b.bytes(v.recoveryMasterKey)
  b.startObject(8)
  b.addFieldOffset(0, invitation, 0)
  b.addFieldOffset(1, user, 0)
  b.addFieldOffset(2, opaqueRecord, 0)
  b.addFieldOffset(3, wrappedMasterKey, 0)
  b.addFieldOffset(4, wrappedRootKey, 0)
  b.addFieldOffset(5, root, 0)
  b.addFieldOffset(6, recoveryKey, 0)
  b.addFieldOffset(7, recoveryMasterKey, 0)
  return b.endObject()
}

export function getRegisterFinishRequest(r: Reader, t: number): RegisterFinishRequest {
  return {
    invitation: r.byteVector(r.field(t, 0)),
    user: r.text(r.field(t, 1)),
    opaqueRecord: r.text(r.field(t, 2)),
    wrappedMasterKey: r.byteVector(r.field(t, 3)),
    wrappedRootKey: r.byteVector(r.field(t, 4)),
    root: r.required(r.field(t, 5), getAttributes),
    recoveryKey: r.byteVector(r.field(t, 6)),
    recoveryMasterKey: r.byteVector(r.field(t, 7)),
  }
}

export const RegisterFinishRequest: Codec<RegisterFinishRequest> = codec('RegisterFinishRequest', putRegisterFinishRequest, getRegisterFinishRequest)

export interface RegisterFinishResponse {
  userId: number
  rootInode: number
}

export function putRegisterFinishResponse(b: Encoder, v: RegisterFinishResponse): number {
  b.startObject(2)
  b.addFieldInt32(0, v.userId, 0)
  b.addFieldU64(1, v.rootInode, 0)
  return b.endObject()
}

export function getRegisterFinishResponse(r: Reader, t: number): RegisterFinishResponse {
  return {
    userId: r.u32Field(t, 0),
    rootInode: r.u64Field(t, 1),
  }
}

export const RegisterFinishResponse: Codec<RegisterFinishResponse> = codec('RegisterFinishResponse', putRegisterFinishResponse, getRegisterFinishResponse)

export interface RegisterStartRequest {
  invitation: Uint8Array
  user: string
  opaqueRequest: string
}

export function putRegisterStartRequest(b: Encoder, v: RegisterStartRequest): number {
  const invitation = b.bytes(v.invitation)
  const user = b.text(v.user)
  const opaqueRequest = b.text(v.opaqueRequest)
  b.startObject(3)
  b.addFieldOffset(0, invitation, 0)
  b.addFieldOffset(1, user, 0)
  b.addFieldOffset(2, opaqueRequest, 0)
  return b.endObject()
}

export function getRegisterStartRequest(r: Reader, t: number): RegisterStartRequest {
  return {
    invitation: r.byteVector(r.field(t, 0)),
    user: r.text(r.field(t, 1)),
    opaqueRequest: r.text(r.field(t, 2)),
  }
}

export const RegisterStartRequest: Codec<RegisterStartRequest> = codec('RegisterStartRequest', putRegisterStartRequest, getRegisterStartRequest)

export interface RegisterStartResponse {
  opaqueResponse: string
}

export function putRegisterStartResponse(b: Encoder, v: RegisterStartResponse): number {
  const opaqueResponse = b.text(v.opaqueResponse)
  b.startObject(1)
  b.addFieldOffset(0, opaqueResponse, 0)
  return b.endObject()
}

export function getRegisterStartResponse(r: Reader, t: number): RegisterStartResponse {
  return {
    opaqueResponse: r.text(r.field(t, 0)),
  }
}

export const RegisterStartResponse: Codec<RegisterStartResponse> = codec('RegisterStartResponse', putRegisterStartResponse, getRegisterStartResponse)

export interface ReleaseRequest {
  inodes: number[]
}

export function putReleaseRequest(b: Encoder, v: ReleaseRequest): number {
  const inodes = b.numbers64(v.inodes)
  b.startObject(1)
  b.addFieldOffset(0, inodes, 0)
  return b.endObject()
}

export function getReleaseRequest(r: Reader, t: number): ReleaseRequest {
  return {
    inodes: r.numbers64(r.field(t, 0)),
  }
}

export const ReleaseRequest: Codec<ReleaseRequest> = codec('ReleaseRequest', putReleaseRequest, getReleaseRequest)

/** Lets go of the chunks that are kept since a restore though no file names them. */
export interface ReleaseUnknownRequest {
}

export function putReleaseUnknownRequest(b: Encoder, _v: ReleaseUnknownRequest): number {
  b.startObject(0)
  return b.endObject()
}

export function getReleaseUnknownRequest(r: Reader, _t: number): ReleaseUnknownRequest {
  r.spend(0)
  return {

  }
}

export const ReleaseUnknownRequest: Codec<ReleaseUnknownRequest> = codec('ReleaseUnknownRequest', putReleaseUnknownRequest, getReleaseUnknownRequest)

export interface ReleaseUnknownResponse {
  /** False when none were kept. */
  released: boolean
}

export function putReleaseUnknownResponse(b: Encoder, v: ReleaseUnknownResponse): number {
  b.startObject(1)
  b.addFieldInt8(0, v.released ? 1 : 0, 0)
  return b.endObject()
}

export function getReleaseUnknownResponse(r: Reader, t: number): ReleaseUnknownResponse {
  return {
    released: r.boolField(t, 0),
  }
}

export const ReleaseUnknownResponse: Codec<ReleaseUnknownResponse> = codec('ReleaseUnknownResponse', putReleaseUnknownResponse, getReleaseUnknownResponse)

/** Forgets a chunkserver that has nothing any more. */
export interface RemoveServerRequest {
  server: number
}

export function putRemoveServerRequest(b: Encoder, v: RemoveServerRequest): number {
  b.startObject(1)
  b.addFieldInt32(0, v.server, 0)
  return b.endObject()
}

export function getRemoveServerRequest(r: Reader, t: number): RemoveServerRequest {
  return {
    server: r.u32Field(t, 0),
  }
}

export const RemoveServerRequest: Codec<RemoveServerRequest> = codec('RemoveServerRequest', putRemoveServerRequest, getRemoveServerRequest)

/** See RenameRequest. */
export interface RenameChange {
  fromParent: number
  fromToken: Uint8Array
  toParent: number
  toToken: Uint8Array
  entry: Uint8Array
  inode: number
  /** The inode that the new name must still mean; 0 for none. */
  replaced: number
}

export function putRenameChange(b: Encoder, v: RenameChange): number {
  const fromToken = b.bytes(v.fromToken)
  const toToken = b.bytes(v.toToken)
  const entry = b.bytes(v.entry)
  b.startObject(7)
  b.addFieldU64(0, v.fromParent, 0)
  b.addFieldU64(2, v.toParent, 0)
  b.addFieldU64(5, v.inode, 0)
  b.addFieldU64(6, v.replaced, 0)
  b.addFieldOffset(1, fromToken, 0)
  b.addFieldOffset(3, toToken, 0)
  b.addFieldOffset(4, entry, 0)
  return b.endObject()
}

export function getRenameChange(r: Reader, t: number): RenameChange {
  return {
    fromParent: r.u64Field(t, 0),
    fromToken: r.byteVector(r.field(t, 1)),
    toParent: r.u64Field(t, 2),
    toToken: r.byteVector(r.field(t, 3)),
    entry: r.byteVector(r.field(t, 4)),
    inode: r.u64Field(t, 5),
    replaced: r.u64Field(t, 6),
  }
}

export const RenameChange: Codec<RenameChange> = codec('RenameChange', putRenameChange, getRenameChange)

export interface RenameRequest {
  operation: Operation
  fromParent: number
  fromToken: Uint8Array
  toParent: number
  toToken: Uint8Array
  /** The moved child's entry, sealed for its new place. */
  entry: Uint8Array
  /** Refuse with `exists` instead of replacing. */
  noReplace: boolean
  /**
   * The inode that the client believes it moves: a name that means another by now is refused
   * with `versionConflict`, since the sealed entry would carry the wrong key.
   */
  inode: number
}

export function putRenameRequest(b: Encoder, v: RenameRequest): number {
  const operation = putOperation(b, v.operation)
  const fromToken = b.bytes(v.fromToken)
  const toToken = b.bytes(v.toToken)
  const entry = b.bytes(v.entry)
  b.startObject(8)
  b.addFieldU64(1, v.fromParent, 0)
  b.addFieldU64(3, v.toParent, 0)
  b.addFieldInt8(6, v.noReplace ? 1 : 0, 0)
  b.addFieldU64(7, v.inode, 0)
  b.addFieldOffset(0, operation, 0)
  b.addFieldOffset(2, fromToken, 0)
  b.addFieldOffset(4, toToken, 0)
  b.addFieldOffset(5, entry, 0)
  return b.endObject()
}

export function getRenameRequest(r: Reader, t: number): RenameRequest {
  return {
    operation: r.required(r.field(t, 0), getOperation),
    fromParent: r.u64Field(t, 1),
    fromToken: r.byteVector(r.field(t, 2)),
    toParent: r.u64Field(t, 3),
    toToken: r.byteVector(r.field(t, 4)),
    entry: r.byteVector(r.field(t, 5)),
    noReplace: r.boolField(t, 6),
    inode: r.u64Field(t, 7),
  }
}

export const RenameRequest: Codec<RenameRequest> = codec('RenameRequest', putRenameRequest, getRenameRequest)

/** `replaced` is the inode that lost its name, absent when there was none. */
export interface RenameResponse {
  inode: Inode
  replaced?: Inode | undefined
  fromParent?: Inode | undefined
  toParent?: Inode | undefined
}

export function putRenameResponse(b: Encoder, v: RenameResponse): number {
  const inode = putInode(b, v.inode)
  const replaced = v.replaced === undefined ? 0 : putInode(b, v.replaced)
  const fromParent = v.fromParent === undefined ? 0 : putInode(b, v.fromParent)
  const toParent = v.toParent === undefined ? 0 : putInode(b, v.toParent)
  b.startObject(4)
  b.addFieldOffset(0, inode, 0)
  b.addFieldOffset(1, replaced, 0)
  b.addFieldOffset(2, fromParent, 0)
  b.addFieldOffset(3, toParent, 0)
  return b.endObject()
}

export function getRenameResponse(r: Reader, t: number): RenameResponse {
  return {
    inode: r.required(r.field(t, 0), getInode),
    replaced: r.optional(r.field(t, 1), getInode),
    fromParent: r.optional(r.field(t, 2), getInode),
    toParent: r.optional(r.field(t, 3), getInode),
  }
}

export const RenameResponse: Codec<RenameResponse> = codec('RenameResponse', putRenameResponse, getRenameResponse)

export interface RepairStatusRequest {
}

export function putRepairStatusRequest(b: Encoder, _v: RepairStatusRequest): number {
  b.startObject(0)
  return b.endObject()
}

export function getRepairStatusRequest(r: Reader, _t: number): RepairStatusRequest {
  r.spend(0)
  return {

  }
}

export const RepairStatusRequest: Codec<RepairStatusRequest> = codec('RepairStatusRequest', putRepairStatusRequest, getRepairStatusRequest)

export interface RepairStatusResponse {
  /** Chunks that wait for replicas, by how many they still have: 0, 1, 2, ... */
  waiting: number[]
  copying: number
  /** Since the server started. */
  copied: number
  copiedBytes: number
  failed: number
  /** Chunkservers whose chunks are being looked through. */
  lookingThrough: number[]
  /** Files with chunks that have no replica left, the first of them, and whether there are more. */
  lostInodes: number[]
  moreLostInodes: boolean
}

export function putRepairStatusResponse(b: Encoder, v: RepairStatusResponse): number {
  const waiting = b.numbers64(v.waiting)
  const lookingThrough = b.numbers32(v.lookingThrough)
  const lostInodes = b.numbers64(v.lostInodes)
  b.startObject(8)
  b.addFieldInt32(1, v.copying, 0)
  b.addFieldU64(2, v.copied, 0)
  b.addFieldU64(3, v.copiedBytes, 0)
  b.addFieldU64(4, v.failed, 0)
  b.addFieldInt8(7, v.moreLostInodes ? 1 : 0, 0)
  b.addFieldOffset(0, waiting, 0)
  b.addFieldOffset(5, lookingThrough, 0)
  b.addFieldOffset(6, lostInodes, 0)
  return b.endObject()
}

export function getRepairStatusResponse(r: Reader, t: number): RepairStatusResponse {
  return {
    waiting: r.numbers64(r.field(t, 0)),
    copying: r.u32Field(t, 1),
    copied: r.u64Field(t, 2),
    copiedBytes: r.u64Field(t, 3),
    failed: r.u64Field(t, 4),
    lookingThrough: r.numbers32(r.field(t, 5)),
    lostInodes: r.numbers64(r.field(t, 6)),
    moreLostInodes: r.boolField(t, 7),
  }
}

export const RepairStatusResponse: Codec<RepairStatusResponse> = codec('RepairStatusResponse', putRepairStatusResponse, getRepairStatusResponse)

/** A replica that could not be read or did not verify. */
export interface ReportChunkRequest {
  chunk: number
  server: number
  reason: string
  ticket: Uint8Array
}

export function putReportChunkRequest(b: Encoder, v: ReportChunkRequest): number {
  const reason = b.text(v.reason)
  const ticket = b.bytes(v.ticket)
  b.startObject(4)
  b.addFieldU64(0, v.chunk, 0)
  b.addFieldInt32(1, v.server, 0)
  b.addFieldOffset(2, reason, 0)
  b.addFieldOffset(3, ticket, 0)
  return b.endObject()
}

export function getReportChunkRequest(r: Reader, t: number): ReportChunkRequest {
  return {
    chunk: r.u64Field(t, 0),
    server: r.u32Field(t, 1),
    reason: r.text(r.field(t, 2)),
    ticket: r.byteVector(r.field(t, 3)),
  }
}

export const ReportChunkRequest: Codec<ReportChunkRequest> = codec('ReportChunkRequest', putReportChunkRequest, getReportChunkRequest)

export interface ResolveRequest {
  base: number
  /** 32-byte tokens, one after the other, one for each path component. */
  tokens: Uint8Array
  /** Hold the last inode open if everything was found (released by `release`). */
  hold: boolean
}

export function putResolveRequest(b: Encoder, v: ResolveRequest): number {
  const tokens = b.bytes(v.tokens)
  b.startObject(3)
  b.addFieldU64(0, v.base, 0)
  b.addFieldInt8(2, v.hold ? 1 : 0, 0)
  b.addFieldOffset(1, tokens, 0)
  return b.endObject()
}

export function getResolveRequest(r: Reader, t: number): ResolveRequest {
  return {
    base: r.u64Field(t, 0),
    tokens: r.byteVector(r.field(t, 1)),
    hold: r.boolField(t, 2),
  }
}

export const ResolveRequest: Codec<ResolveRequest> = codec('ResolveRequest', putResolveRequest, getResolveRequest)

/**
 * As many entries as were found; fewer than tokens when a component does not exist. The base's
 * own inode comes first when no tokens were given.
 */
export interface ResolveResponse {
  entries: ResolvedEntry[]
  base: Inode
}

export function putResolveResponse(b: Encoder, v: ResolveResponse): number {
  const entries = b.tables(v.entries, putResolvedEntry)
  const base = putInode(b, v.base)
  b.startObject(2)
  b.addFieldOffset(0, entries, 0)
  b.addFieldOffset(1, base, 0)
  return b.endObject()
}

export function getResolveResponse(r: Reader, t: number): ResolveResponse {
  return {
    entries: r.tables(r.field(t, 0), getResolvedEntry),
    base: r.required(r.field(t, 1), getInode),
  }
}

export const ResolveResponse: Codec<ResolveResponse> = codec('ResolveResponse', putResolveResponse, getResolveResponse)

export interface ResolvedEntry {
  entry: Uint8Array
  inode: Inode
}

export function putResolvedEntry(b: Encoder, v: ResolvedEntry): number {
  const entry = b.bytes(v.entry)
  const inode = putInode(b, v.inode)
  b.startObject(2)
  b.addFieldOffset(0, entry, 0)
  b.addFieldOffset(1, inode, 0)
  return b.endObject()
}

export function getResolvedEntry(r: Reader, t: number): ResolvedEntry {
  return {
    entry: r.byteVector(r.field(t, 0)),
    inode: r.required(r.field(t, 1), getInode),
  }
}

export const ResolvedEntry: Codec<ResolvedEntry> = codec('ResolvedEntry', putResolvedEntry, getResolvedEntry)

/** The records that the metadata server keeps for an inode and for the entry that names it. */
export interface RevealRequest {
  inode: number
  /** The entry's directory and token; 0 and absent for the root, which has none. */
  parent: number
  token: Uint8Array
  /** Windows from this one on, with their chunks. Entry and inode come with the first, 0. */
  firstWindow: number
}

export function putRevealRequest(b: Encoder, v: RevealRequest): number {
  const token = b.bytes(v.token)
  b.startObject(4)
  b.addFieldU64(0, v.inode, 0)
  b.addFieldU64(1, v.parent, 0)
  b.addFieldInt32(3, v.firstWindow, 0)
  b.addFieldOffset(2, token, 0)
  return b.endObject()
}

export function getRevealRequest(r: Reader, t: number): RevealRequest {
  return {
    inode: r.u64Field(t, 0),
    parent: r.u64Field(t, 1),
    token: r.byteVector(r.field(t, 2)),
    firstWindow: r.u32Field(t, 3),
  }
}

export const RevealRequest: Codec<RevealRequest> = codec('RevealRequest', putRevealRequest, getRevealRequest)

export interface RevealResponse {
  records: StoredRecord[]
  /** Where the chunks are that these records name. */
  servers: ServerAddress[]
  /** The window to go on with; 0 when there are no more. */
  nextWindow: number
}

export function putRevealResponse(b: Encoder, v: RevealResponse): number {
  const records = b.tables(v.records, putStoredRecord)
  const servers = b.tables(v.servers, putServerAddress)
  b.startObject(3)
  b.addFieldInt32(2, v.nextWindow, 0)
  b.addFieldOffset(0, records, 0)
  b.addFieldOffset(1, servers, 0)
  return b.endObject()
}

export function getRevealResponse(r: Reader, t: number): RevealResponse {
  return {
    records: r.tables(r.field(t, 0), getStoredRecord),
    servers: r.tables(r.field(t, 1), getServerAddress),
    nextWindow: r.u32Field(t, 2),
  }
}

export const RevealResponse: Codec<RevealResponse> = codec('RevealResponse', putRevealResponse, getRevealResponse)

/** As ListDevicesRequest. The device's sessions end at once, this one too if it is its own. */
export interface RevokeDeviceRequest {
  device: number
  /** Also the last device of an account without a recovery code. */
  force: boolean
}

export function putRevokeDeviceRequest(b: Encoder, v: RevokeDeviceRequest): number {
  b.startObject(2)
  b.addFieldInt32(0, v.device, 0)
  b.addFieldInt8(1, v.force ? 1 : 0, 0)
  return b.endObject()
}

export function getRevokeDeviceRequest(r: Reader, t: number): RevokeDeviceRequest {
  return {
    device: r.u32Field(t, 0),
    force: r.boolField(t, 1),
  }
}

export const RevokeDeviceRequest: Codec<RevokeDeviceRequest> = codec('RevokeDeviceRequest', putRevokeDeviceRequest, getRevokeDeviceRequest)

export interface RevokeServerRequest {
  server: number
  /** Also when it has the only replica of something. */
  force: boolean
}

export function putRevokeServerRequest(b: Encoder, v: RevokeServerRequest): number {
  b.startObject(2)
  b.addFieldInt32(0, v.server, 0)
  b.addFieldInt8(1, v.force ? 1 : 0, 0)
  return b.endObject()
}

export function getRevokeServerRequest(r: Reader, t: number): RevokeServerRequest {
  return {
    server: r.u32Field(t, 0),
    force: r.boolField(t, 1),
  }
}

export const RevokeServerRequest: Codec<RevokeServerRequest> = codec('RevokeServerRequest', putRevokeServerRequest, getRevokeServerRequest)

export interface RevokeServerResponse {
  /** Chunks without a replica on another living server. */
  lost: number
}

export function putRevokeServerResponse(b: Encoder, v: RevokeServerResponse): number {
  b.startObject(1)
  b.addFieldU64(0, v.lost, 0)
  return b.endObject()
}

export function getRevokeServerResponse(r: Reader, t: number): RevokeServerResponse {
  return {
    lost: r.u64Field(t, 0),
  }
}

export const RevokeServerResponse: Codec<RevokeServerResponse> = codec('RevokeServerResponse', putRevokeServerResponse, getRevokeServerResponse)

export interface ServerStatus {
  id: number
  rack: string
  addresses: string[]
  /**
   * alive; full; silent (no heartbeat); lost (silent for long: its replicas count no more); draining
   * (its chunks are being copied away) and drained; revoked.
   */
  state: string
  usedBytes: number
  freeBytes: number
  chunks: number
  /** Milliseconds since its last heartbeat. */
  heartbeatAgeMs: number
  /** Chunks that wait to be deleted from it. */
  deletesQueued: number
}

export function putServerStatus(b: Encoder, v: ServerStatus): number {
  const rack = b.text(v.rack)
  const addresses = b.texts(v.addresses)
  const state = b.text(v.state)
  b.startObject(9)
  b.addFieldInt32(0, v.id, 0)
  b.addFieldU64(4, v.usedBytes, 0)
  b.addFieldU64(5, v.freeBytes, 0)
  b.addFieldU64(6, v.chunks, 0)
  b.addFieldU64(7, v.heartbeatAgeMs, 0)
  b.addFieldU64(8, v.deletesQueued, 0)
  b.addFieldOffset(1, rack, 0)
  b.addFieldOffset(2, addresses, 0)
  b.addFieldOffset(3, state, 0)
  return b.endObject()
}

export function getServerStatus(r: Reader, t: number): ServerStatus {
  return {
    id: r.u32Field(t, 0),
    rack: r.text(r.field(t, 1)),
    addresses: r.texts(r.field(t, 2)),
    state: r.text(r.field(t, 3)),
    usedBytes: r.u64Field(t, 4),
    freeBytes: r.u64Field(t, 5),
    chunks: r.u64Field(t, 6),
    heartbeatAgeMs: r.u64Field(t, 7),
    deletesQueued: r.u64Field(t, 8),
  }
}

export const ServerStatus: Codec<ServerStatus> = codec('ServerStatus', putServerStatus, getServerStatus)

/** chmod, chown, utimens, extended attributes: everything but content. */
export interface SetAttributesRequest {
  operation: Operation
  inode: number
  /** With version = stored version + 1, else `versionConflict`. */
  attributes: Attributes
  /** Nanoseconds; 0 leaves it. */
  atime: bigint
  /** A directory's mtime, nanoseconds; 0 leaves it. */
  directoryMtime: bigint
  /**
   * All extended attributes, sealed as one, when their digest is another than before: they replace
   * what there was. Absent when the digest stays, or when the last one goes.
   */
  xattrs: Uint8Array
}

export function putSetAttributesRequest(b: Encoder, v: SetAttributesRequest): number {
  const operation = putOperation(b, v.operation)
  const attributes = putAttributes(b, v.attributes)
  const xattrs = b.bytes(v.xattrs)
  b.startObject(6)
  b.addFieldU64(1, v.inode, 0)
  b.addFieldInt64(3, v.atime, 0n)
  b.addFieldInt64(4, v.directoryMtime, 0n)
  b.addFieldOffset(0, operation, 0)
  b.addFieldOffset(2, attributes, 0)
  b.addFieldOffset(5, xattrs, 0)
  return b.endObject()
}

export function getSetAttributesRequest(r: Reader, t: number): SetAttributesRequest {
  return {
    operation: r.required(r.field(t, 0), getOperation),
    inode: r.u64Field(t, 1),
    attributes: r.required(r.field(t, 2), getAttributes),
    atime: r.i64Field(t, 3),
    directoryMtime: r.i64Field(t, 4),
    xattrs: r.byteVector(r.field(t, 5)),
  }
}

export const SetAttributesRequest: Codec<SetAttributesRequest> = codec('SetAttributesRequest', putSetAttributesRequest, getSetAttributesRequest)

/**
 * Replaces the password, atomically with what goes with it. Sessions of the user end, except those
 * of `keep_device`.
 */
export interface SetPasswordRequest {
  opaqueRecord: string
  /** The same master key as before, wrapped by the new export key. */
  wrappedMasterKey: Uint8Array
  /** The device whose sessions and key stay; 0 for none. */
  keepDevice: number
  revokeDevices: boolean
  /** Also when only the password would be left to get in with. */
  force: boolean
}

export function putSetPasswordRequest(b: Encoder, v: SetPasswordRequest): number {
  const opaqueRecord = b.text(v.opaqueRecord)
  const wrappedMasterKey = b.bytes(v.wrappedMasterKey)
  b.startObject(5)
  b.addFieldInt32(2, v.keepDevice, 0)
  b.addFieldInt8(3, v.revokeDevices ? 1 : 0, 0)
  b.addFieldInt8(4, v.force ? 1 : 0, 0)
  b.addFieldOffset(0, opaqueRecord, 0)
  b.addFieldOffset(1, wrappedMasterKey, 0)
  return b.endObject()
}

export function getSetPasswordRequest(r: Reader, t: number): SetPasswordRequest {
  return {
    opaqueRecord: r.text(r.field(t, 0)),
    wrappedMasterKey: r.byteVector(r.field(t, 1)),
    keepDevice: r.u32Field(t, 2),
    revokeDevices: r.boolField(t, 3),
    force: r.boolField(t, 4),
  }
}

export const SetPasswordRequest: Codec<SetPasswordRequest> = codec('SetPasswordRequest', putSetPasswordRequest, getSetPasswordRequest)

export interface SetPasswordResponse {
  sessionsEnded: number
  devicesRevoked: number
}

export function putSetPasswordResponse(b: Encoder, v: SetPasswordResponse): number {
  b.startObject(2)
  b.addFieldInt32(0, v.sessionsEnded, 0)
  b.addFieldInt32(1, v.devicesRevoked, 0)
  return b.endObject()
}

export function getSetPasswordResponse(r: Reader, t: number): SetPasswordResponse {
  return {
    sessionsEnded: r.u32Field(t, 0),
    devicesRevoked: r.u32Field(t, 1),
  }
}

export const SetPasswordResponse: Codec<SetPasswordResponse> = codec('SetPasswordResponse', putSetPasswordResponse, getSetPasswordResponse)

/** 0 for no quota. Takes effect at once, also below what is used. */
export interface SetQuotaRequest {
  user: string
  quotaBytes: number
}

export function putSetQuotaRequest(b: Encoder, v: SetQuotaRequest): number {
  const user = b.text(v.user)
  b.startObject(2)
  b.addFieldU64(1, v.quotaBytes, 0)
  b.addFieldOffset(0, user, 0)
  return b.endObject()
}

export function getSetQuotaRequest(r: Reader, t: number): SetQuotaRequest {
  return {
    user: r.text(r.field(t, 0)),
    quotaBytes: r.u64Field(t, 1),
  }
}

export const SetQuotaRequest: Codec<SetQuotaRequest> = codec('SetQuotaRequest', putSetQuotaRequest, getSetQuotaRequest)

/** Only on a connection that has just proven the password. Replaces an older code. */
export interface SetRecoveryRequest {
  recoveryKey: Uint8Array
  recoveryMasterKey: Uint8Array
}

export function putSetRecoveryRequest(b: Encoder, v: SetRecoveryRequest): number {
  const recoveryKey = b.bytes(v.recoveryKey)
  const recoveryMasterKey = b.bytes(v.recoveryMasterKey)
  b.startObject(2)
  b.addFieldOffset(0, recoveryKey, 0)
  b.addFieldOffset(1, recoveryMasterKey, 0)
  return b.endObject()
}

export function getSetRecoveryRequest(r: Reader, t: number): SetRecoveryRequest {
  return {
    recoveryKey: r.byteVector(r.field(t, 0)),
    recoveryMasterKey: r.byteVector(r.field(t, 1)),
  }
}

export const SetRecoveryRequest: Codec<SetRecoveryRequest> = codec('SetRecoveryRequest', putSetRecoveryRequest, getSetRecoveryRequest)

export interface StatfsRequest {
}

export function putStatfsRequest(b: Encoder, _v: StatfsRequest): number {
  b.startObject(0)
  return b.endObject()
}

export function getStatfsRequest(r: Reader, _t: number): StatfsRequest {
  r.spend(0)
  return {

  }
}

export const StatfsRequest: Codec<StatfsRequest> = codec('StatfsRequest', putStatfsRequest, getStatfsRequest)

export interface StatfsResponse {
  totalBytes: number
  freeBytes: number
  inodes: number
  quotaBytes: number
  usedBytes: number
}

export function putStatfsResponse(b: Encoder, v: StatfsResponse): number {
  b.startObject(5)
  b.addFieldU64(0, v.totalBytes, 0)
  b.addFieldU64(1, v.freeBytes, 0)
  b.addFieldU64(2, v.inodes, 0)
  b.addFieldU64(3, v.quotaBytes, 0)
  b.addFieldU64(4, v.usedBytes, 0)
  return b.endObject()
}

export function getStatfsResponse(r: Reader, t: number): StatfsResponse {
  return {
    totalBytes: r.u64Field(t, 0),
    freeBytes: r.u64Field(t, 1),
    inodes: r.u64Field(t, 2),
    quotaBytes: r.u64Field(t, 3),
    usedBytes: r.u64Field(t, 4),
  }
}

export const StatfsResponse: Codec<StatfsResponse> = codec('StatfsResponse', putStatfsResponse, getStatfsResponse)

export interface StoredRecord {
  /** Name of the record's table in records.fbs. */
  table: string
  /** Bytes of key and value, as they are stored. */
  key: Uint8Array
  value: Uint8Array
}

export function putStoredRecord(b: Encoder, v: StoredRecord): number {
  const table = b.text(v.table)
  const key = b.bytes(v.key)
  const value = b.bytes(v.value)
  b.startObject(3)
  b.addFieldOffset(0, table, 0)
  b.addFieldOffset(1, key, 0)
  b.addFieldOffset(2, value, 0)
  return b.endObject()
}

export function getStoredRecord(r: Reader, t: number): StoredRecord {
  return {
    table: r.text(r.field(t, 0)),
    key: r.byteVector(r.field(t, 1)),
    value: r.byteVector(r.field(t, 2)),
  }
}

export const StoredRecord: Codec<StoredRecord> = codec('StoredRecord', putStoredRecord, getStoredRecord)

/**
 * `page` is its level times 2^48 and its index among those of its level (docs/format.md); level 0
 * has versions of inodes, each level above has digests of the pages of the one below.
 */
export interface TreePage {
  page: number
  bytes: Uint8Array
}

export function putTreePage(b: Encoder, v: TreePage): number {
  const bytes = b.bytes(v.bytes)
  b.startObject(2)
  b.addFieldU64(0, v.page, 0)
  b.addFieldOffset(1, bytes, 0)
  return b.endObject()
}

export function getTreePage(r: Reader, t: number): TreePage {
  return {
    page: r.u64Field(t, 0),
    bytes: r.byteVector(r.field(t, 1)),
  }
}

export const TreePage: Codec<TreePage> = codec('TreePage', putTreePage, getTreePage)

/** See UnlinkRequest. */
export interface UnlinkChange {
  parent: number
  token: Uint8Array
  directory: boolean
  /** The inode that the name must still mean. */
  inode: number
}

export function putUnlinkChange(b: Encoder, v: UnlinkChange): number {
  const token = b.bytes(v.token)
  b.startObject(4)
  b.addFieldU64(0, v.parent, 0)
  b.addFieldInt8(2, v.directory ? 1 : 0, 0)
  b.addFieldU64(3, v.inode, 0)
  b.addFieldOffset(1, token, 0)
  return b.endObject()
}

export function getUnlinkChange(r: Reader, t: number): UnlinkChange {
  return {
    parent: r.u64Field(t, 0),
    token: r.byteVector(r.field(t, 1)),
    directory: r.boolField(t, 2),
    inode: r.u64Field(t, 3),
  }
}

export const UnlinkChange: Codec<UnlinkChange> = codec('UnlinkChange', putUnlinkChange, getUnlinkChange)

export interface UnlinkRequest {
  operation: Operation
  parent: number
  token: Uint8Array
  /** True for rmdir: the entry must be an empty directory; else it must not be a directory. */
  directory: boolean
}

export function putUnlinkRequest(b: Encoder, v: UnlinkRequest): number {
  const operation = putOperation(b, v.operation)
  const token = b.bytes(v.token)
  b.startObject(4)
  b.addFieldU64(1, v.parent, 0)
  b.addFieldInt8(3, v.directory ? 1 : 0, 0)
  b.addFieldOffset(0, operation, 0)
  b.addFieldOffset(2, token, 0)
  return b.endObject()
}

export function getUnlinkRequest(r: Reader, t: number): UnlinkRequest {
  return {
    operation: r.required(r.field(t, 0), getOperation),
    parent: r.u64Field(t, 1),
    token: r.byteVector(r.field(t, 2)),
    directory: r.boolField(t, 3),
  }
}

export const UnlinkRequest: Codec<UnlinkRequest> = codec('UnlinkRequest', putUnlinkRequest, getUnlinkRequest)

/** The inode that lost this name, as it is now (nlink 0 when it is gone or only held open). */
export interface UnlinkResponse {
  inode: Inode
  parent?: Inode | undefined
}

export function putUnlinkResponse(b: Encoder, v: UnlinkResponse): number {
  const inode = putInode(b, v.inode)
  const parent = v.parent === undefined ? 0 : putInode(b, v.parent)
  b.startObject(2)
  b.addFieldOffset(0, inode, 0)
  b.addFieldOffset(1, parent, 0)
  return b.endObject()
}

export function getUnlinkResponse(r: Reader, t: number): UnlinkResponse {
  return {
    inode: r.required(r.field(t, 0), getInode),
    parent: r.optional(r.field(t, 1), getInode),
  }
}

export const UnlinkResponse: Codec<UnlinkResponse> = codec('UnlinkResponse', putUnlinkResponse, getUnlinkResponse)

export interface UserStatus {
  userId: number
  user: string
  registered: boolean
  usedBytes: number
  inodes: number
  quotaBytes: number
  disabled: boolean
  deleting: boolean
}

export function putUserStatus(b: Encoder, v: UserStatus): number {
  const user = b.text(v.user)
  b.startObject(8)
  b.addFieldInt32(0, v.userId, 0)
  b.addFieldInt8(2, v.registered ? 1 : 0, 0)
  b.addFieldU64(3, v.usedBytes, 0)
  b.addFieldU64(4, v.inodes, 0)
  b.addFieldU64(5, v.quotaBytes, 0)
  b.addFieldInt8(6, v.disabled ? 1 : 0, 0)
  b.addFieldInt8(7, v.deleting ? 1 : 0, 0)
  b.addFieldOffset(1, user, 0)
  return b.endObject()
}

export function getUserStatus(r: Reader, t: number): UserStatus {
  return {
    userId: r.u32Field(t, 0),
    user: r.text(r.field(t, 1)),
    registered: r.boolField(t, 2),
    usedBytes: r.u64Field(t, 3),
    inodes: r.u64Field(t, 4),
    quotaBytes: r.u64Field(t, 5),
    disabled: r.boolField(t, 6),
    deleting: r.boolField(t, 7),
  }
}

export const UserStatus: Codec<UserStatus> = codec('UserStatus', putUserStatus, getUserStatus)

/** `patch`: small writes, sealed, that lie over the extents; absent when there are none. */
export interface Window {
  index: number
  extents: Extent[]
  patch: Uint8Array
}

export function putWindow(b: Encoder, v: Window): number {
  const extents = b.structs(v.extents, 24, 8, putExtent)
  const patch = b.bytes(v.patch)
  b.startObject(3)
  b.addFieldInt32(0, v.index, 0)
  b.addFieldOffset(1, extents, 0)
  b.addFieldOffset(2, patch, 0)
  return b.endObject()
}

export function getWindow(r: Reader, t: number): Window {
  return {
    index: r.u32Field(t, 0),
    extents: r.structs(r.field(t, 1), 24, getExtent),
    patch: r.byteVector(r.field(t, 2)),
  }
}

export const Window: Codec<Window> = codec('Window', putWindow, getWindow)

export interface WindowChange {
  index: number
  /** Laid over what is there, in order. */
  extents: Extent[]
  /**
   * Digest of the window's normalised extents and its patch after the change (schema/wire/content.ts);
   * the server checks it.
   */
  digest: Uint8Array
  /**
   * The window's patch after the change: small writes, sealed, that lie over its extents. Replaces the
   * one that is there. Absent: none.
   */
  patch: Uint8Array
}

export function putWindowChange(b: Encoder, v: WindowChange): number {
  const extents = b.structs(v.extents, 24, 8, putExtent)
  const digest = b.bytes(v.digest)
  const patch = b.bytes(v.patch)
  b.startObject(4)
  b.addFieldInt32(0, v.index, 0)
  b.addFieldOffset(1, extents, 0)
  b.addFieldOffset(2, digest, 0)
  b.addFieldOffset(3, patch, 0)
  return b.endObject()
}

export function getWindowChange(r: Reader, t: number): WindowChange {
  return {
    index: r.u32Field(t, 0),
    extents: r.structs(r.field(t, 1), 24, getExtent),
    digest: r.byteVector(r.field(t, 2)),
    patch: r.byteVector(r.field(t, 3)),
  }
}

export const WindowChange: Codec<WindowChange> = codec('WindowChange', putWindowChange, getWindowChange)

/**
 * Replaces the state, if it is still the one that `counter` says (0: none yet), and pages with it;
 * the new one counts one more. Pages without bytes are removed.
 */
export interface WriteTreeStateRequest {
  counter: number
  state: Uint8Array
  pages: TreePage[]
}

export function putWriteTreeStateRequest(b: Encoder, v: WriteTreeStateRequest): number {
  const state = b.bytes(v.state)
  const pages = b.tables(v.pages, putTreePage)
  b.startObject(3)
  b.addFieldU64(0, v.counter, 0)
  b.addFieldOffset(1, state, 0)
  b.addFieldOffset(2, pages, 0)
  return b.endObject()
}

export function getWriteTreeStateRequest(r: Reader, t: number): WriteTreeStateRequest {
  return {
    counter: r.u64Field(t, 0),
    state: r.byteVector(r.field(t, 1)),
    pages: r.tables(r.field(t, 2), getTreePage),
  }
}

export const WriteTreeStateRequest: Codec<WriteTreeStateRequest> = codec('WriteTreeStateRequest', putWriteTreeStateRequest, getWriteTreeStateRequest)
