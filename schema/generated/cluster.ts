/**
 * Generated from schema/fbs/cluster.fbs by scripts/generate-schema.mjs. Do not edit.
 */
/* eslint-disable */
import { codec, type Encoder, type Reader } from '../wire/flatbuffer.ts'
import type { Codec } from '../wire/codec.ts'
import { type ServerAddress, getServerAddress, putServerAddress } from './common.ts'

/** Which of these chunks are not here, or damaged? */
export interface CheckChunksRequest {
  chunks: number[]
  /** Read them from end to end; else only the index is asked. */
  verify: boolean
}

export function putCheckChunksRequest(b: Encoder, v: CheckChunksRequest): number {
  const chunks = b.numbers64(v.chunks)
  b.startObject(2)
  b.addFieldInt8(1, v.verify ? 1 : 0, 0)
  b.addFieldOffset(0, chunks, 0)
  return b.endObject()
}

export function getCheckChunksRequest(r: Reader, t: number): CheckChunksRequest {
  return {
    chunks: r.numbers64(r.field(t, 0)),
    verify: r.boolField(t, 1),
  }
}

export const CheckChunksRequest: Codec<CheckChunksRequest> = codec('CheckChunksRequest', putCheckChunksRequest, getCheckChunksRequest)

export interface CheckChunksResponse {
  bad: number[]
}

export function putCheckChunksResponse(b: Encoder, v: CheckChunksResponse): number {
  const bad = b.numbers64(v.bad)
  b.startObject(1)
  b.addFieldOffset(0, bad, 0)
  return b.endObject()
}

export function getCheckChunksResponse(r: Reader, t: number): CheckChunksResponse {
  return {
    bad: r.numbers64(r.field(t, 0)),
  }
}

export const CheckChunksResponse: Codec<CheckChunksResponse> = codec('CheckChunksResponse', putCheckChunksResponse, getCheckChunksResponse)

/** Get a chunk from another chunkserver and keep it; a damaged copy here is replaced. */
export interface CopyChunkRequest {
  chunk: number
  /** To read it at the source. */
  ticket: Uint8Array
  source: ServerAddress
}

export function putCopyChunkRequest(b: Encoder, v: CopyChunkRequest): number {
  const ticket = b.bytes(v.ticket)
  const source = putServerAddress(b, v.source)
  b.startObject(3)
  b.addFieldU64(0, v.chunk, 0)
  b.addFieldOffset(1, ticket, 0)
  b.addFieldOffset(2, source, 0)
  return b.endObject()
}

export function getCopyChunkRequest(r: Reader, t: number): CopyChunkRequest {
  return {
    chunk: r.u64Field(t, 0),
    ticket: r.byteVector(r.field(t, 1)),
    source: r.required(r.field(t, 2), getServerAddress),
  }
}

export const CopyChunkRequest: Codec<CopyChunkRequest> = codec('CopyChunkRequest', putCopyChunkRequest, getCopyChunkRequest)

export interface CopyChunkResponse {
  /** Sealed bytes that are durable here now; 0 when the source failed. */
  sealedBytes: number
  /** Status number with which the source failed, and why; 0 when it did not. */
  sourceStatus: number
  detail: string
}

export function putCopyChunkResponse(b: Encoder, v: CopyChunkResponse): number {
  const detail = b.text(v.detail)
  b.startObject(3)
  b.addFieldInt32(0, v.sealedBytes, 0)
  b.addFieldInt16(1, v.sourceStatus, 0)
  b.addFieldOffset(2, detail, 0)
  return b.endObject()
}

export function getCopyChunkResponse(r: Reader, t: number): CopyChunkResponse {
  return {
    sealedBytes: r.u32Field(t, 0),
    sourceStatus: r.u16Field(t, 1),
    detail: r.text(r.field(t, 2)),
  }
}

export const CopyChunkResponse: Codec<CopyChunkResponse> = codec('CopyChunkResponse', putCopyChunkResponse, getCopyChunkResponse)

export interface HeartbeatRequest {
  usedBytes: number
  freeBytes: number
  /** Refuses new chunks. */
  full: boolean
  chunks: number
  /** Requests in progress. */
  load: number
  /** Orders carried out since the last answered heartbeat. */
  deleted: number[]
  /** Chunks written longer ago than a plan lives, of which it does not know whether a file names them. */
  unconfirmed: number[]
  /** Chunks whose copy here is damaged or gone, a bounded portion in turns until ordered to delete. */
  damaged: number[]
}

export function putHeartbeatRequest(b: Encoder, v: HeartbeatRequest): number {
  const deleted = b.numbers64(v.deleted)
  const unconfirmed = b.numbers64(v.unconfirmed)
  const damaged = b.numbers64(v.damaged)
  b.startObject(8)
  b.addFieldU64(0, v.usedBytes, 0)
  b.addFieldU64(1, v.freeBytes, 0)
  b.addFieldInt8(2, v.full ? 1 : 0, 0)
  b.addFieldU64(3, v.chunks, 0)
  b.addFieldInt32(4, v.load, 0)
  b.addFieldOffset(5, deleted, 0)
  b.addFieldOffset(6, unconfirmed, 0)
  b.addFieldOffset(7, damaged, 0)
  return b.endObject()
}

export function getHeartbeatRequest(r: Reader, t: number): HeartbeatRequest {
  return {
    usedBytes: r.u64Field(t, 0),
    freeBytes: r.u64Field(t, 1),
    full: r.boolField(t, 2),
    chunks: r.u64Field(t, 3),
    load: r.u32Field(t, 4),
    deleted: r.numbers64(r.field(t, 5)),
    unconfirmed: r.numbers64(r.field(t, 6)),
    damaged: r.numbers64(r.field(t, 7)),
  }
}

export const HeartbeatRequest: Codec<HeartbeatRequest> = codec('HeartbeatRequest', putHeartbeatRequest, getHeartbeatRequest)

export interface HeartbeatResponse {
  /** Orders: chunks to delete. Repeated until reported as deleted. */
  deletes: number[]
  /** Of `unconfirmed`: those that files name. The rest come as orders to delete. */
  confirmed: number[]
  ticketKeys: TicketKey[]
  /** The server is not known here: register again. */
  register: boolean
  /** Where the metadata servers are, host:port. */
  metadata: string[]
}

export function putHeartbeatResponse(b: Encoder, v: HeartbeatResponse): number {
  const deletes = b.numbers64(v.deletes)
  const confirmed = b.numbers64(v.confirmed)
  const ticketKeys = b.tables(v.ticketKeys, putTicketKey)
  const metadata = b.texts(v.metadata)
  b.startObject(5)
  b.addFieldInt8(3, v.register ? 1 : 0, 0)
  b.addFieldOffset(0, deletes, 0)
  b.addFieldOffset(1, confirmed, 0)
  b.addFieldOffset(2, ticketKeys, 0)
  b.addFieldOffset(4, metadata, 0)
  return b.endObject()
}

export function getHeartbeatResponse(r: Reader, t: number): HeartbeatResponse {
  return {
    deletes: r.numbers64(r.field(t, 0)),
    confirmed: r.numbers64(r.field(t, 1)),
    ticketKeys: r.tables(r.field(t, 2), getTicketKey),
    register: r.boolField(t, 3),
    metadata: r.texts(r.field(t, 4)),
  }
}

export const HeartbeatResponse: Codec<HeartbeatResponse> = codec('HeartbeatResponse', putHeartbeatResponse, getHeartbeatResponse)

/** First contact, without a certificate: a one-time token buys one. */
export interface JoinRequest {
  token: Uint8Array
  /** PKCS#10, DER. */
  certificateRequest: Uint8Array
  rack: string
}

export function putJoinRequest(b: Encoder, v: JoinRequest): number {
  const token = b.bytes(v.token)
  const certificateRequest = b.bytes(v.certificateRequest)
  const rack = b.text(v.rack)
  b.startObject(3)
  b.addFieldOffset(0, token, 0)
  b.addFieldOffset(1, certificateRequest, 0)
  b.addFieldOffset(2, rack, 0)
  return b.endObject()
}

export function getJoinRequest(r: Reader, t: number): JoinRequest {
  return {
    token: r.byteVector(r.field(t, 0)),
    certificateRequest: r.byteVector(r.field(t, 1)),
    rack: r.text(r.field(t, 2)),
  }
}

export const JoinRequest: Codec<JoinRequest> = codec('JoinRequest', putJoinRequest, getJoinRequest)

export interface JoinResponse {
  server: number
  certificatePem: string
  cluster: Uint8Array
}

export function putJoinResponse(b: Encoder, v: JoinResponse): number {
  const certificatePem = b.text(v.certificatePem)
  const cluster = b.bytes(v.cluster)
  b.startObject(3)
  b.addFieldInt32(0, v.server, 0)
  b.addFieldOffset(1, certificatePem, 0)
  b.addFieldOffset(2, cluster, 0)
  return b.endObject()
}

export function getJoinResponse(r: Reader, t: number): JoinResponse {
  return {
    server: r.u32Field(t, 0),
    certificatePem: r.text(r.field(t, 1)),
    cluster: r.byteVector(r.field(t, 2)),
  }
}

export const JoinResponse: Codec<JoinResponse> = codec('JoinResponse', putJoinResponse, getJoinResponse)

/** Sent once on each new connection; the certificate says which server it is. */
export interface RegisterRequest {
  rack: string
  addresses: string[]
  totalBytes: number
  freeBytes: number
  chunks: number
  /** The highest epoch that a metadata server has proven to it. */
  epoch: number
  epochProof: Uint8Array
  /** Random id of its store, made with it: with another one than before, what it had may be gone. */
  store: Uint8Array
}

export function putRegisterRequest(b: Encoder, v: RegisterRequest): number {
  const rack = b.text(v.rack)
  const addresses = b.texts(v.addresses)
  const epochProof = b.bytes(v.epochProof)
  const store = b.bytes(v.store)
  b.startObject(8)
  b.addFieldU64(2, v.totalBytes, 0)
  b.addFieldU64(3, v.freeBytes, 0)
  b.addFieldU64(4, v.chunks, 0)
  b.addFieldU64(5, v.epoch, 0)
  b.addFieldOffset(0, rack, 0)
  b.addFieldOffset(1, addresses, 0)
  b.addFieldOffset(6, epochProof, 0)
  b.addFieldOffset(7, store, 0)
  return b.endObject()
}

export function getRegisterRequest(r: Reader, t: number): RegisterRequest {
  return {
    rack: r.text(r.field(t, 0)),
    addresses: r.texts(r.field(t, 1)),
    totalBytes: r.u64Field(t, 2),
    freeBytes: r.u64Field(t, 3),
    chunks: r.u64Field(t, 4),
    epoch: r.u64Field(t, 5),
    epochProof: r.byteVector(r.field(t, 6)),
    store: r.byteVector(r.field(t, 7)),
  }
}

export const RegisterRequest: Codec<RegisterRequest> = codec('RegisterRequest', putRegisterRequest, getRegisterRequest)

export interface RegisterResponse {
  heartbeatMs: number
  ticketKeys: TicketKey[]
  /**
   * When the metadata server's store was restored from a backup; 0 if never. What was confirmed
   * before may not be known any more: a chunkserver asks once about everything that it has.
   */
  restored: bigint
  epoch: number
  epochProof: Uint8Array
}

export function putRegisterResponse(b: Encoder, v: RegisterResponse): number {
  const ticketKeys = b.tables(v.ticketKeys, putTicketKey)
  const epochProof = b.bytes(v.epochProof)
  b.startObject(5)
  b.addFieldInt32(0, v.heartbeatMs, 0)
  b.addFieldInt64(2, v.restored, 0n)
  b.addFieldU64(3, v.epoch, 0)
  b.addFieldOffset(1, ticketKeys, 0)
  b.addFieldOffset(4, epochProof, 0)
  return b.endObject()
}

export function getRegisterResponse(r: Reader, t: number): RegisterResponse {
  return {
    heartbeatMs: r.u32Field(t, 0),
    ticketKeys: r.tables(r.field(t, 1), getTicketKey),
    restored: r.i64Field(t, 2),
    epoch: r.u64Field(t, 3),
    epochProof: r.byteVector(r.field(t, 4)),
  }
}

export const RegisterResponse: Codec<RegisterResponse> = codec('RegisterResponse', putRegisterResponse, getRegisterResponse)

export interface TicketKey {
  id: number
  secret: Uint8Array
}

export function putTicketKey(b: Encoder, v: TicketKey): number {
  const secret = b.bytes(v.secret)
  b.startObject(2)
  b.addFieldInt32(0, v.id, 0)
  b.addFieldOffset(1, secret, 0)
  return b.endObject()
}

export function getTicketKey(r: Reader, t: number): TicketKey {
  return {
    id: r.u32Field(t, 0),
    secret: r.byteVector(r.field(t, 1)),
  }
}

export const TicketKey: Codec<TicketKey> = codec('TicketKey', putTicketKey, getTicketKey)
