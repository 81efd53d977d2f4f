/**
 * Log records: the changes of one committed batch as bytes, as they are kept in the store and sent to
 * a standby. Pure.
 *
 * A record is u64 mark of the batch before, u64 mark of this batch, u64 milliseconds since 1970, then
 * its changes; a change is u8 1 to put or 0 to delete, u32 length of the key, u32 length of the value,
 * key, value. Little-endian. In a message each record follows its u32 length. Marks are random, so two
 * stores that have the same mark at a number have the same history up to there.
 */
import { DfsError } from '../../../schema/wire/status.ts'
import type { Change } from '../../store/ordered-store.ts'

const HEAD_BYTES = 24
const CHANGE_HEAD_BYTES = 9
const LENGTH_BYTES = 4

export interface LogRecordHead {
  readonly previousMark: number
  readonly mark: number
  /** When the batch was written, milliseconds since 1970. */
  readonly atMs: number
}

/** Bytes of a record with these changes. */
export function recordBytes(changes: readonly Change[]): number {
  return HEAD_BYTES + changesBytes(changes)
}

export function encodeRecord(head: LogRecordHead, changes: readonly Change[]): Buffer {
  const record = Buffer.allocUnsafe(recordBytes(changes))
  record.writeBigUInt64LE(BigInt(head.previousMark), 0)
  record.writeBigUInt64LE(BigInt(head.mark), 8)
  record.writeBigUInt64LE(BigInt(head.atMs), 16)
  putChanges(record, HEAD_BYTES, changes)
  return record
}

export function decodeHead(record: Buffer): LogRecordHead {
  if (record.length < HEAD_BYTES) throw malformed('shorter than its head')
  return {
    previousMark: Number(record.readBigUInt64LE(0)),
    mark: Number(record.readBigUInt64LE(8)),
    atMs: Number(record.readBigUInt64LE(16)),
  }
}

/** The changes of a record; views into it. Throws `frameMalformed`. */
export function changesOf(record: Buffer): Change[] {
  return decodeChanges(record.subarray(HEAD_BYTES))
}

export function encodeChanges(changes: readonly Change[]): Buffer {
  const bytes = Buffer.allocUnsafe(changesBytes(changes))
  putChanges(bytes, 0, changes)
  return bytes
}

/** Throws `frameMalformed` for anything that {@link encodeChanges} does not make. */
export function decodeChanges(bytes: Buffer): Change[] {
  const changes: Change[] = []
  let at = 0
  while (at < bytes.length) {
    if (bytes.length - at < CHANGE_HEAD_BYTES) throw malformed('a change is cut short')
    const kind = bytes.readUInt8(at)
    const keyEnd = at + CHANGE_HEAD_BYTES + bytes.readUInt32LE(at + 1)
    const end = keyEnd + bytes.readUInt32LE(at + 5)
    const key = bytes.subarray(at + CHANGE_HEAD_BYTES, keyEnd)
    if (end > bytes.length || kind > 1 || key.length === 0) throw malformed('a change is not one')
    changes.push({ key, value: kind === 1 ? bytes.subarray(keyEnd, end) : undefined })
    at = end
  }
  return changes
}

/** Records as one payload. */
export function framed(records: readonly Buffer[]): Buffer {
  const parts: Buffer[] = []
  for (const record of records) {
    const length = Buffer.allocUnsafe(LENGTH_BYTES)
    length.writeUInt32LE(record.length)
    parts.push(length, record)
  }
  return Buffer.concat(parts)
}

/** The records of a payload; views into it. Throws `frameMalformed`. */
export function unframed(payload: Buffer): Buffer[] {
  const records: Buffer[] = []
  let at = 0
  while (at < payload.length) {
    if (payload.length - at < LENGTH_BYTES) throw malformed('a length is cut short')
    const start = at + LENGTH_BYTES
    const end = start + payload.readUInt32LE(at)
    if (end > payload.length) throw malformed('a record is cut short')
    records.push(payload.subarray(start, end))
    at = end
  }
  return records
}

function changesBytes(changes: readonly Change[]): number {
  let bytes = 0
  for (const { key, value } of changes) {
    bytes += CHANGE_HEAD_BYTES + key.length + (value?.length ?? 0)
  }
  return bytes
}

function putChanges(into: Buffer, start: number, changes: readonly Change[]): void {
  let at = start
  for (const { key, value } of changes) {
    into.writeUInt8(value === undefined ? 0 : 1, at)
    into.writeUInt32LE(key.length, at + 1)
    into.writeUInt32LE(value?.length ?? 0, at + 5)
    at += CHANGE_HEAD_BYTES
    into.set(key, at)
    at += key.length
    if (value === undefined) continue
    into.set(value, at)
    at += value.length
  }
}

function malformed(why: string): DfsError {
  return new DfsError('frameMalformed', `a log record is damaged: ${why}`)
}
