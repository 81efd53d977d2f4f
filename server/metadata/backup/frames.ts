/**
 * A store's records as bytes, for a backup: frames of whole records, so that a reader needs no more
 * memory than one of them.
 *
 *   frame    u32 bytes that follow, then records: u16 key bytes, u32 value bytes, key, value
 *   the end  u32 0, then u64 records, u64 damaged records that were left out
 *
 * All numbers are little-endian. Left out of every backup is what a restored store may not go on with:
 * sessions, their logged answers, the ticket keys, the log, and who the standby was.
 */
import { DfsError } from '../../../schema/wire/status.ts'
import type { Entry, OrderedStore } from '../../store/ordered-store.ts'
import { keys } from '../store/keys.ts'
import { layout, type Kind } from '../store/layout.ts'

/** Bytes of records after which a frame ends. */
const FRAME_BYTES = 262_144
/** Bytes of a frame that a reader accepts: one with the largest record behind others. */
export const FRAME_BYTES_MAX = 64 * 1_048_576
const RECORD_HEAD_BYTES = 6
const LENGTH_BYTES = 4
/** Bytes of the counts that follow the last frame. */
export const COUNTS_BYTES = 16

const LEFT_OUT: ReadonlySet<string> = new Set(
  ([layout.sessions, layout.replies, layout.logRecords] as Kind<unknown>[]).map(
    ({ letter }) => letter,
  ),
)

/** What a backup holds. */
export interface RecordCounts {
  readonly records: number
  /** Records that did not match their checksums, and are not in it. */
  readonly damaged: number
}

/**
 * All records of a store as of now, as frames, the end included. The walk is over when the generator
 * is: whoever breaks off calls `return`.
 */
export async function* recordFrames(
  store: Pick<OrderedStore, 'scan'>,
): AsyncGenerator<Buffer, RecordCounts> {
  const scan = store.scan({ from: Buffer.of(0), to: Buffer.alloc(64, 255) })
  let [records, damaged, bytes] = [0, 0, 0]
  let pieces: Uint8Array[] = []
  try {
    for (let page = await scan.next(); page.length > 0; page = await scan.next()) {
      for (const { key, value } of page) {
        if (LEFT_OUT.has(String.fromCharCode(key.readUInt8(0)))) continue
        if (key.equals(keys.ticketKeys) || key.equals(keys.standby)) continue
        if (value === undefined) {
          damaged++
          continue
        }
        records++
        const head = Buffer.allocUnsafe(RECORD_HEAD_BYTES)
        head.writeUInt16LE(key.length, 0)
        head.writeUInt32LE(value.length, 2)
        pieces.push(head, key, value)
        bytes += head.length + key.length + value.length
      }
      if (bytes < FRAME_BYTES) continue
      yield framed(pieces, bytes)
      pieces = []
      bytes = 0
    }
    if (bytes > 0) yield framed(pieces, bytes)
    yield theEnd({ records, damaged })
    return { records, damaged }
  } finally {
    await scan.close()
  }
}

function framed(pieces: readonly Uint8Array[], bytes: number): Buffer {
  const length = Buffer.allocUnsafe(LENGTH_BYTES)
  length.writeUInt32LE(bytes)
  return Buffer.concat([length, ...pieces])
}

function theEnd({ records, damaged }: RecordCounts): Buffer {
  const end = Buffer.alloc(LENGTH_BYTES + COUNTS_BYTES)
  end.writeBigUInt64LE(BigInt(records), LENGTH_BYTES)
  end.writeBigUInt64LE(BigInt(damaged), LENGTH_BYTES + 8)
  return end
}

/** The counts behind the last frame. */
export const countsOf = (bytes: Buffer): RecordCounts => ({
  records: Number(bytes.readBigUInt64LE(0)),
  damaged: Number(bytes.readBigUInt64LE(8)),
})

/** The records of one frame, without its length. Throws `recordCorrupt`. */
export function recordsOf(frame: Buffer): Entry[] {
  const entries: Entry[] = []
  let at = 0
  while (at < frame.length) {
    const headEnd = at + RECORD_HEAD_BYTES
    if (headEnd > frame.length) throw malformed()
    const keyEnd = headEnd + frame.readUInt16LE(at)
    const valueEnd = keyEnd + frame.readUInt32LE(at + 2)
    if (keyEnd === headEnd || valueEnd > frame.length) throw malformed()
    entries.push({ key: frame.subarray(headEnd, keyEnd), value: frame.subarray(keyEnd, valueEnd) })
    at = valueEnd
  }
  return entries
}

const malformed = (): DfsError =>
  new DfsError('recordCorrupt', 'records of a backup that do not fit into their frame')
