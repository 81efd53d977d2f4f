/**
 * Generated from schema/fbs/chunk.fbs by scripts/generate-schema.mjs. Do not edit.
 */
/* eslint-disable */
import { codec, type Encoder, type Reader } from '../wire/flatbuffer.ts'
import type { Codec } from '../wire/codec.ts'
import { type ServerAddress, getServerAddress, putServerAddress } from './common.ts'

/** Between chunkservers: a whole chunk, for a new replica. Payload: all sealed blocks. */
export interface FetchChunkRequest {
  chunk: number
  ticket: Uint8Array
}

export function putFetchChunkRequest(b: Encoder, v: FetchChunkRequest): number {
  const ticket = b.bytes(v.ticket)
  b.startObject(2)
  b.addFieldU64(0, v.chunk, 0)
  b.addFieldOffset(1, ticket, 0)
  return b.endObject()
}

export function getFetchChunkRequest(r: Reader, t: number): FetchChunkRequest {
  return {
    chunk: r.u64Field(t, 0),
    ticket: r.byteVector(r.field(t, 1)),
  }
}

export const FetchChunkRequest: Codec<FetchChunkRequest> = codec('FetchChunkRequest', putFetchChunkRequest, getFetchChunkRequest)

export interface FetchChunkResponse {
  header: Uint8Array
  sealedBytes: number
  /** CRC-32 of each sealed block as it was when the chunk was written, u32 little-endian. */
  checksums: Uint8Array
}

export function putFetchChunkResponse(b: Encoder, v: FetchChunkResponse): number {
  const header = b.bytes(v.header)
  const checksums = b.bytes(v.checksums)
  b.startObject(3)
  b.addFieldInt32(1, v.sealedBytes, 0)
  b.addFieldOffset(0, header, 0)
  b.addFieldOffset(2, checksums, 0)
  return b.endObject()
}

export function getFetchChunkResponse(r: Reader, t: number): FetchChunkResponse {
  return {
    header: r.byteVector(r.field(t, 0)),
    sealedBytes: r.u32Field(t, 1),
    checksums: r.byteVector(r.field(t, 2)),
  }
}

export const FetchChunkResponse: Codec<FetchChunkResponse> = codec('FetchChunkResponse', putFetchChunkResponse, getFetchChunkResponse)

/** Payload: the sealed blocks from `first_block` on. */
export interface ReadChunkRequest {
  chunk: number
  ticket: Uint8Array
  firstBlock: number
  /** 0 for all up to the end. */
  blockCount: number
}

export function putReadChunkRequest(b: Encoder, v: ReadChunkRequest): number {
  const ticket = b.bytes(v.ticket)
  b.startObject(4)
  b.addFieldU64(0, v.chunk, 0)
  b.addFieldInt32(2, v.firstBlock, 0)
  b.addFieldInt32(3, v.blockCount, 0)
  b.addFieldOffset(1, ticket, 0)
  return b.endObject()
}

export function getReadChunkRequest(r: Reader, t: number): ReadChunkRequest {
  return {
    chunk: r.u64Field(t, 0),
    ticket: r.byteVector(r.field(t, 1)),
    firstBlock: r.u32Field(t, 2),
    blockCount: r.u32Field(t, 3),
  }
}

export const ReadChunkRequest: Codec<ReadChunkRequest> = codec('ReadChunkRequest', putReadChunkRequest, getReadChunkRequest)

export interface ReadChunkResponse {
  header: Uint8Array
  /** Sealed bytes of the whole chunk. */
  sealedBytes: number
}

export function putReadChunkResponse(b: Encoder, v: ReadChunkResponse): number {
  const header = b.bytes(v.header)
  b.startObject(2)
  b.addFieldInt32(1, v.sealedBytes, 0)
  b.addFieldOffset(0, header, 0)
  return b.endObject()
}

export function getReadChunkResponse(r: Reader, t: number): ReadChunkResponse {
  return {
    header: r.byteVector(r.field(t, 0)),
    sealedBytes: r.u32Field(t, 1),
  }
}

export const ReadChunkResponse: Codec<ReadChunkResponse> = codec('ReadChunkResponse', putReadChunkResponse, getReadChunkResponse)

export interface ServerFailure {
  server: number
  status: number
  detail: string
}

export function putServerFailure(b: Encoder, v: ServerFailure): number {
  const detail = b.text(v.detail)
  b.startObject(3)
  b.addFieldInt32(0, v.server, 0)
  b.addFieldInt16(1, v.status, 0)
  b.addFieldOffset(2, detail, 0)
  return b.endObject()
}

export function getServerFailure(r: Reader, t: number): ServerFailure {
  return {
    server: r.u32Field(t, 0),
    status: r.u16Field(t, 1),
    detail: r.text(r.field(t, 2)),
  }
}

export const ServerFailure: Codec<ServerFailure> = codec('ServerFailure', putServerFailure, getServerFailure)

/** Payload: the sealed blocks, until the end of the stream. */
export interface WriteChunkRequest {
  chunk: number
  ticket: Uint8Array
  /** Sealing header: format version, cipher, salt. Kept as given. */
  header: Uint8Array
  /** The servers that it still has to reach behind this one. */
  chain: ServerAddress[]
}

export function putWriteChunkRequest(b: Encoder, v: WriteChunkRequest): number {
  const ticket = b.bytes(v.ticket)
  const header = b.bytes(v.header)
  const chain = b.tables(v.chain, putServerAddress)
  b.startObject(4)
  b.addFieldU64(0, v.chunk, 0)
  b.addFieldOffset(1, ticket, 0)
  b.addFieldOffset(2, header, 0)
  b.addFieldOffset(3, chain, 0)
  return b.endObject()
}

export function getWriteChunkRequest(r: Reader, t: number): WriteChunkRequest {
  return {
    chunk: r.u64Field(t, 0),
    ticket: r.byteVector(r.field(t, 1)),
    header: r.byteVector(r.field(t, 2)),
    chain: r.tables(r.field(t, 3), getServerAddress),
  }
}

export const WriteChunkRequest: Codec<WriteChunkRequest> = codec('WriteChunkRequest', putWriteChunkRequest, getWriteChunkRequest)

/** Answered when the chunk is durable here and on the whole chain behind. */
export interface WriteChunkResponse {
  /** Sealed bytes stored. */
  sealedBytes: number
  /** Servers on which it is durable, this one first. */
  servers: number[]
  /** Servers of the chain on which it is not, and why. */
  failed: ServerFailure[]
}

export function putWriteChunkResponse(b: Encoder, v: WriteChunkResponse): number {
  const servers = b.numbers32(v.servers)
  const failed = b.tables(v.failed, putServerFailure)
  b.startObject(3)
  b.addFieldInt32(0, v.sealedBytes, 0)
  b.addFieldOffset(1, servers, 0)
  b.addFieldOffset(2, failed, 0)
  return b.endObject()
}

export function getWriteChunkResponse(r: Reader, t: number): WriteChunkResponse {
  return {
    sealedBytes: r.u32Field(t, 0),
    servers: r.numbers32(r.field(t, 1)),
    failed: r.tables(r.field(t, 2), getServerFailure),
  }
}

export const WriteChunkResponse: Codec<WriteChunkResponse> = codec('WriteChunkResponse', putWriteChunkResponse, getWriteChunkResponse)
