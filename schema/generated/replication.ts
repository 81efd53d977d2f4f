/**
 * Generated from schema/fbs/replication.fbs by scripts/generate-schema.mjs. Do not edit.
 */
/* eslint-disable */
import { codec, type Encoder, type Reader } from '../wire/flatbuffer.ts'
import type { Codec } from '../wire/codec.ts'

/** From the metadata server to the standby; the payload is log records, one behind the other. */
export interface AppendLogRequest {
  epoch: number
  /** Number of the first record, and how many there are. */
  first: number
  count: number
  /** Bytes of the payload. */
  bytes: number
  /** The metadata server's last number. */
  number: number
}

export function putAppendLogRequest(b: Encoder, v: AppendLogRequest): number {
  b.startObject(5)
  b.addFieldU64(0, v.epoch, 0)
  b.addFieldU64(1, v.first, 0)
  b.addFieldInt32(2, v.count, 0)
  b.addFieldInt32(3, v.bytes, 0)
  b.addFieldU64(4, v.number, 0)
  return b.endObject()
}

export function getAppendLogRequest(r: Reader, t: number): AppendLogRequest {
  return {
    epoch: r.u64Field(t, 0),
    first: r.u64Field(t, 1),
    count: r.u32Field(t, 2),
    bytes: r.u32Field(t, 3),
    number: r.u64Field(t, 4),
  }
}

export const AppendLogRequest: Codec<AppendLogRequest> = codec('AppendLogRequest', putAppendLogRequest, getAppendLogRequest)

/** All of them are durable at the standby. */
export interface AppendLogResponse {
  number: number
}

export function putAppendLogResponse(b: Encoder, v: AppendLogResponse): number {
  b.startObject(1)
  b.addFieldU64(0, v.number, 0)
  return b.endObject()
}

export function getAppendLogResponse(r: Reader, t: number): AppendLogResponse {
  return {
    number: r.u64Field(t, 0),
  }
}

export const AppendLogResponse: Codec<AppendLogResponse> = codec('AppendLogResponse', putAppendLogResponse, getAppendLogResponse)

/** Log records behind a number, as many as fit; none when there are no more. */
export interface CopyLogRequest {
  after: number
  mark: number
}

export function putCopyLogRequest(b: Encoder, v: CopyLogRequest): number {
  b.startObject(2)
  b.addFieldU64(0, v.after, 0)
  b.addFieldU64(1, v.mark, 0)
  return b.endObject()
}

export function getCopyLogRequest(r: Reader, t: number): CopyLogRequest {
  return {
    after: r.u64Field(t, 0),
    mark: r.u64Field(t, 1),
  }
}

export const CopyLogRequest: Codec<CopyLogRequest> = codec('CopyLogRequest', putCopyLogRequest, getCopyLogRequest)

export interface CopyLogResponse {
  records: Uint8Array
  number: number
}

export function putCopyLogResponse(b: Encoder, v: CopyLogResponse): number {
  const records = b.bytes(v.records)
  b.startObject(2)
  b.addFieldU64(1, v.number, 0)
  b.addFieldOffset(0, records, 0)
  return b.endObject()
}

export function getCopyLogResponse(r: Reader, t: number): CopyLogResponse {
  return {
    records: r.byteVector(r.field(t, 0)),
    number: r.u64Field(t, 1),
  }
}

export const CopyLogResponse: Codec<CopyLogResponse> = codec('CopyLogResponse', putCopyLogResponse, getCopyLogResponse)

/** A page of the store, while it goes on changing. */
export interface CopyPageRequest {
  after: Uint8Array
}

export function putCopyPageRequest(b: Encoder, v: CopyPageRequest): number {
  const after = b.bytes(v.after)
  b.startObject(1)
  b.addFieldOffset(0, after, 0)
  return b.endObject()
}

export function getCopyPageRequest(r: Reader, t: number): CopyPageRequest {
  return {
    after: r.byteVector(r.field(t, 0)),
  }
}

export const CopyPageRequest: Codec<CopyPageRequest> = codec('CopyPageRequest', putCopyPageRequest, getCopyPageRequest)

export interface CopyPageResponse {
  /** Changes as in a log record (server/metadata/standby/log-record.ts). */
  changes: Uint8Array
  /** The last key; empty when there is no more. */
  last: Uint8Array
  /** The last batch that was written when the page had been read. */
  number: number
}

export function putCopyPageResponse(b: Encoder, v: CopyPageResponse): number {
  const changes = b.bytes(v.changes)
  const last = b.bytes(v.last)
  b.startObject(3)
  b.addFieldU64(2, v.number, 0)
  b.addFieldOffset(0, changes, 0)
  b.addFieldOffset(1, last, 0)
  return b.endObject()
}

export function getCopyPageResponse(r: Reader, t: number): CopyPageResponse {
  return {
    changes: r.byteVector(r.field(t, 0)),
    last: r.byteVector(r.field(t, 1)),
    number: r.u64Field(t, 2),
  }
}

export const CopyPageResponse: Codec<CopyPageResponse> = codec('CopyPageResponse', putCopyPageResponse, getCopyPageResponse)

/** From the standby, on each new connection. */
export interface FollowRequest {
  epoch: number
  /** The last batch that it has, and that batch's mark; 0 and 0 for an empty store. */
  number: number
  mark: number
  /** host:port under which others reach it, best first. */
  addresses: string[]
  /** Nothing is acknowledged before the standby has it. */
  sync: boolean
  /** Milliseconds without the standby after which commits are acknowledged all the same; 0 for never. */
  fallbackMs: number
}

export function putFollowRequest(b: Encoder, v: FollowRequest): number {
  const addresses = b.texts(v.addresses)
  b.startObject(6)
  b.addFieldU64(0, v.epoch, 0)
  b.addFieldU64(1, v.number, 0)
  b.addFieldU64(2, v.mark, 0)
  b.addFieldInt8(4, v.sync ? 1 : 0, 0)
  b.addFieldInt32(5, v.fallbackMs, 0)
  b.addFieldOffset(3, addresses, 0)
  return b.endObject()
}

export function getFollowRequest(r: Reader, t: number): FollowRequest {
  return {
    epoch: r.u64Field(t, 0),
    number: r.u64Field(t, 1),
    mark: r.u64Field(t, 2),
    addresses: r.texts(r.field(t, 3)),
    sync: r.boolField(t, 4),
    fallbackMs: r.u32Field(t, 5),
  }
}

export const FollowRequest: Codec<FollowRequest> = codec('FollowRequest', putFollowRequest, getFollowRequest)

export interface FollowResponse {
  epoch: number
  number: number
  mark: number
  /**
   * The standby's store is a beginning of ours, and the batches that it lacks are coming. Else it
   * copies anew, beginning with the batch behind `number`.
   */
  follows: boolean
}

export function putFollowResponse(b: Encoder, v: FollowResponse): number {
  b.startObject(4)
  b.addFieldU64(0, v.epoch, 0)
  b.addFieldU64(1, v.number, 0)
  b.addFieldU64(2, v.mark, 0)
  b.addFieldInt8(3, v.follows ? 1 : 0, 0)
  return b.endObject()
}

export function getFollowResponse(r: Reader, t: number): FollowResponse {
  return {
    epoch: r.u64Field(t, 0),
    number: r.u64Field(t, 1),
    mark: r.u64Field(t, 2),
    follows: r.boolField(t, 3),
  }
}

export const FollowResponse: Codec<FollowResponse> = codec('FollowResponse', putFollowResponse, getFollowResponse)

/** From the operator to the metadata server: there is no standby any more. */
export interface ForgetStandbyRequest {
}

export function putForgetStandbyRequest(b: Encoder, _v: ForgetStandbyRequest): number {
  b.startObject(0)
  return b.endObject()
}

export function getForgetStandbyRequest(r: Reader, _t: number): ForgetStandbyRequest {
  r.spend(0)
  return {

  }
}

export const ForgetStandbyRequest: Codec<ForgetStandbyRequest> = codec('ForgetStandbyRequest', putForgetStandbyRequest, getForgetStandbyRequest)

/** First contact, without a certificate: a one-time token for standbys. */
export interface JoinStandbyRequest {
  token: Uint8Array
  /** 32 random bytes: the same claim repeated after a lost answer gets the same answer. */
  claim: Uint8Array
}

export function putJoinStandbyRequest(b: Encoder, v: JoinStandbyRequest): number {
  const token = b.bytes(v.token)
  const claim = b.bytes(v.claim)
  b.startObject(2)
  b.addFieldOffset(0, token, 0)
  b.addFieldOffset(1, claim, 0)
  return b.endObject()
}

export function getJoinStandbyRequest(r: Reader, t: number): JoinStandbyRequest {
  return {
    token: r.byteVector(r.field(t, 0)),
    claim: r.byteVector(r.field(t, 1)),
  }
}

export const JoinStandbyRequest: Codec<JoinStandbyRequest> = codec('JoinStandbyRequest', putJoinStandbyRequest, getJoinStandbyRequest)

/** All that a metadata server has beside its store. Whoever gets this can become the metadata server. */
export interface JoinStandbyResponse {
  standby: number
  /** PKCS#8 PEM of the cluster's authority. */
  authorityKeyPem: string
  cluster: Uint8Array
  replicas: number
  writeQuorum: number
}

export function putJoinStandbyResponse(b: Encoder, v: JoinStandbyResponse): number {
  const authorityKeyPem = b.text(v.authorityKeyPem)
  const cluster = b.bytes(v.cluster)
  b.startObject(5)
  b.addFieldInt32(0, v.standby, 0)
  b.addFieldInt32(3, v.replicas, 0)
  b.addFieldInt32(4, v.writeQuorum, 0)
  b.addFieldOffset(1, authorityKeyPem, 0)
  b.addFieldOffset(2, cluster, 0)
  return b.endObject()
}

export function getJoinStandbyResponse(r: Reader, t: number): JoinStandbyResponse {
  return {
    standby: r.u32Field(t, 0),
    authorityKeyPem: r.text(r.field(t, 1)),
    cluster: r.byteVector(r.field(t, 2)),
    replicas: r.u32Field(t, 3),
    writeQuorum: r.u32Field(t, 4),
  }
}

export const JoinStandbyResponse: Codec<JoinStandbyResponse> = codec('JoinStandbyResponse', putJoinStandbyResponse, getJoinStandbyResponse)

/** From the metadata server to clients that it carries sessions of. */
export interface MetadataServersRequest {
  addresses: string[]
}

export function putMetadataServersRequest(b: Encoder, v: MetadataServersRequest): number {
  const addresses = b.texts(v.addresses)
  b.startObject(1)
  b.addFieldOffset(0, addresses, 0)
  return b.endObject()
}

export function getMetadataServersRequest(r: Reader, t: number): MetadataServersRequest {
  return {
    addresses: r.texts(r.field(t, 0)),
  }
}

export const MetadataServersRequest: Codec<MetadataServersRequest> = codec('MetadataServersRequest', putMetadataServersRequest, getMetadataServersRequest)

/** From the operator to a standby. */
export interface PromoteRequest {
}

export function putPromoteRequest(b: Encoder, _v: PromoteRequest): number {
  b.startObject(0)
  return b.endObject()
}

export function getPromoteRequest(r: Reader, _t: number): PromoteRequest {
  r.spend(0)
  return {

  }
}

export const PromoteRequest: Codec<PromoteRequest> = codec('PromoteRequest', putPromoteRequest, getPromoteRequest)

export interface PromoteResponse {
  epoch: number
  number: number
}

export function putPromoteResponse(b: Encoder, v: PromoteResponse): number {
  b.startObject(2)
  b.addFieldU64(0, v.epoch, 0)
  b.addFieldU64(1, v.number, 0)
  return b.endObject()
}

export function getPromoteResponse(r: Reader, t: number): PromoteResponse {
  return {
    epoch: r.u64Field(t, 0),
    number: r.u64Field(t, 1),
  }
}

export const PromoteResponse: Codec<PromoteResponse> = codec('PromoteResponse', putPromoteResponse, getPromoteResponse)

/** Who knows the highest epoch tells it; asked between metadata servers and by the operator. */
export interface ReplicationStatusRequest {
  epoch: number
  epochProof: Uint8Array
}

export function putReplicationStatusRequest(b: Encoder, v: ReplicationStatusRequest): number {
  const epochProof = b.bytes(v.epochProof)
  b.startObject(2)
  b.addFieldU64(0, v.epoch, 0)
  b.addFieldOffset(1, epochProof, 0)
  return b.endObject()
}

export function getReplicationStatusRequest(r: Reader, t: number): ReplicationStatusRequest {
  return {
    epoch: r.u64Field(t, 0),
    epochProof: r.byteVector(r.field(t, 1)),
  }
}

export const ReplicationStatusRequest: Codec<ReplicationStatusRequest> = codec('ReplicationStatusRequest', putReplicationStatusRequest, getReplicationStatusRequest)

export interface ReplicationStatusResponse {
  /** primary, standby, copying, or superseded. */
  role: string
  epoch: number
  epochProof: Uint8Array
  /** The last batch here. */
  number: number
  /** The other server: its standby's, or that which it follows; absent when there is none. */
  addresses: string[]
  connected: boolean
  /** The last batch of the metadata server and of the standby, as known here. */
  primaryNumber: number
  standbyNumber: number
  /** Milliseconds for which the standby has lacked the oldest batch that it lacks. */
  lagMs: number
  sync: boolean
  /** Commits are acknowledged only with the standby, now. */
  waits: boolean
  fallbackMs: number
  /** Bytes of the log that is kept. */
  logBytes: number
}

export function putReplicationStatusResponse(b: Encoder, v: ReplicationStatusResponse): number {
  const role = b.text(v.role)
  const epochProof = b.bytes(v.epochProof)
  const addresses = b.texts(v.addresses)
  b.startObject(13)
  b.addFieldU64(1, v.epoch, 0)
  b.addFieldU64(3, v.number, 0)
  b.addFieldInt8(5, v.connected ? 1 : 0, 0)
  b.addFieldU64(6, v.primaryNumber, 0)
  b.addFieldU64(7, v.standbyNumber, 0)
  b.addFieldU64(8, v.lagMs, 0)
  b.addFieldInt8(9, v.sync ? 1 : 0, 0)
  b.addFieldInt8(10, v.waits ? 1 : 0, 0)
  b.addFieldInt32(11, v.fallbackMs, 0)
  b.addFieldU64(12, v.logBytes, 0)
  b.addFieldOffset(0, role, 0)
  b.addFieldOffset(2, epochProof, 0)
  b.addFieldOffset(4, addresses, 0)
  return b.endObject()
}

export function getReplicationStatusResponse(r: Reader, t: number): ReplicationStatusResponse {
  return {
    role: r.text(r.field(t, 0)),
    epoch: r.u64Field(t, 1),
    epochProof: r.byteVector(r.field(t, 2)),
    number: r.u64Field(t, 3),
    addresses: r.texts(r.field(t, 4)),
    connected: r.boolField(t, 5),
    primaryNumber: r.u64Field(t, 6),
    standbyNumber: r.u64Field(t, 7),
    lagMs: r.u64Field(t, 8),
    sync: r.boolField(t, 9),
    waits: r.boolField(t, 10),
    fallbackMs: r.u32Field(t, 11),
    logBytes: r.u64Field(t, 12),
  }
}

export const ReplicationStatusResponse: Codec<ReplicationStatusResponse> = codec('ReplicationStatusResponse', putReplicationStatusResponse, getReplicationStatusResponse)
