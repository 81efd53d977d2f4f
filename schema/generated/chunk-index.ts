/**
 * Generated from schema/fbs/chunk-index.fbs by scripts/generate-schema.mjs. Do not edit.
 */
/* eslint-disable */
import { codec, type Encoder, type Reader } from '../wire/flatbuffer.ts'
import type { Codec } from '../wire/codec.ts'

/** Why a chunk is not served any more. */
export interface ChunkDamage {
  reason: string
  foundMs: number
}

export function putChunkDamage(b: Encoder, v: ChunkDamage): number {
  const reason = b.text(v.reason)
  b.startObject(2)
  b.addFieldU64(1, v.foundMs, 0)
  b.addFieldOffset(0, reason, 0)
  return b.endObject()
}

export function getChunkDamage(r: Reader, t: number): ChunkDamage {
  return {
    reason: r.text(r.field(t, 0)),
    foundMs: r.u64Field(t, 1),
  }
}

export const ChunkDamage: Codec<ChunkDamage> = codec('ChunkDamage', putChunkDamage, getChunkDamage)

export interface ChunkIndexFormat {
  version: number
  /** Random, made with the index. */
  store: Uint8Array
}

export function putChunkIndexFormat(b: Encoder, v: ChunkIndexFormat): number {
  const store = b.bytes(v.store)
  b.startObject(2)
  b.addFieldInt32(0, v.version, 0)
  b.addFieldOffset(1, store, 0)
  return b.endObject()
}

export function getChunkIndexFormat(r: Reader, t: number): ChunkIndexFormat {
  return {
    version: r.u32Field(t, 0),
    store: r.byteVector(r.field(t, 1)),
  }
}

export const ChunkIndexFormat: Codec<ChunkIndexFormat> = codec('ChunkIndexFormat', putChunkIndexFormat, getChunkIndexFormat)

/** One stored chunk. */
export interface ChunkRecord {
  /** Bytes of all sealed blocks. */
  sealedBytes: number
  /** Milliseconds since 1970 when it became durable here. */
  writtenMs: number
  /** The sealed bytes are in RocksDB; otherwise in a file of their own. */
  small: boolean
  /** Not served any more; the reason stands in ChunkDamage. */
  damaged: boolean
  /** Of a small chunk: its sealing header and the CRC-32 of its one block. A file holds its own. */
  header: Uint8Array
  crc: number
}

export function putChunkRecord(b: Encoder, v: ChunkRecord): number {
  const header = b.bytes(v.header)
  b.startObject(6)
  b.addFieldInt32(0, v.sealedBytes, 0)
  b.addFieldU64(1, v.writtenMs, 0)
  b.addFieldInt8(2, v.small ? 1 : 0, 0)
  b.addFieldInt8(3, v.damaged ? 1 : 0, 0)
  b.addFieldInt32(5, v.crc, 0)
  b.addFieldOffset(4, header, 0)
  return b.endObject()
}

export function getChunkRecord(r: Reader, t: number): ChunkRecord {
  return {
    sealedBytes: r.u32Field(t, 0),
    writtenMs: r.u64Field(t, 1),
    small: r.boolField(t, 2),
    damaged: r.boolField(t, 3),
    header: r.byteVector(r.field(t, 4)),
    crc: r.u32Field(t, 5),
  }
}

export const ChunkRecord: Codec<ChunkRecord> = codec('ChunkRecord', putChunkRecord, getChunkRecord)

/** Exact sums over all chunk records, written in the batch that changes them. */
export interface ChunkTotals {
  chunks: number
  sealedBytes: number
}

export function putChunkTotals(b: Encoder, v: ChunkTotals): number {
  b.startObject(2)
  b.addFieldU64(0, v.chunks, 0)
  b.addFieldU64(1, v.sealedBytes, 0)
  return b.endObject()
}

export function getChunkTotals(r: Reader, t: number): ChunkTotals {
  return {
    chunks: r.u64Field(t, 0),
    sealedBytes: r.u64Field(t, 1),
  }
}

export const ChunkTotals: Codec<ChunkTotals> = codec('ChunkTotals', putChunkTotals, getChunkTotals)

/** Where the scrub of all chunks goes on. */
export interface ScrubState {
  nextChunk: number
  roundStartedMs: number
  /** Rounds over all chunks that came to their end. */
  rounds: number
}

export function putScrubState(b: Encoder, v: ScrubState): number {
  b.startObject(3)
  b.addFieldU64(0, v.nextChunk, 0)
  b.addFieldU64(1, v.roundStartedMs, 0)
  b.addFieldU64(2, v.rounds, 0)
  return b.endObject()
}

export function getScrubState(r: Reader, t: number): ScrubState {
  return {
    nextChunk: r.u64Field(t, 0),
    roundStartedMs: r.u64Field(t, 1),
    rounds: r.u64Field(t, 2),
  }
}

export const ScrubState: Codec<ScrubState> = codec('ScrubState', putScrubState, getScrubState)
