/**
 * The extended attributes of one inode as one record, ready to be sealed: all names and values,
 * padded, so that a server learns neither how many there are nor what they are called.
 *
 *   u16 count, then for each: u8 bytes of the name, u32 bytes of the value, name, value; then zeros up
 *   to a multiple of 64 bytes.
 */
import { invariant } from '../../schema/wire/invariant.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { decodeName, encodeName } from './name-bytes.ts'

/** Names with their values. */
export type Xattrs = ReadonlyMap<string, Uint8Array>

const PADDING_BYTES = 64
const COUNT_BYTES = 2
const HEAD_BYTES = 5

/** Throws `noSpace` when all together are more than an inode may have. */
export function encodeXattrs(xattrs: Xattrs): Buffer {
  let bytes = COUNT_BYTES
  let namesBytes = 0
  for (const [name, value] of xattrs) {
    const nameBytes = encodeName(name).length
    invariant(nameBytes <= limits.nameBytesMax, 'the name was checked')
    namesBytes += nameBytes + 1
    bytes += HEAD_BYTES + nameBytes + value.length
  }
  const padded = Math.ceil(bytes / PADDING_BYTES) * PADDING_BYTES
  if (padded > limits.xattrsBytesMax || namesBytes > limits.xattrNamesBytesMax) {
    throw new DfsError(
      'noSpace',
      `${bytes} bytes of extended attributes; one file has at most ${limits.xattrsBytesMax}`,
    )
  }
  const record = Buffer.alloc(padded)
  let at = record.writeUInt16LE(xattrs.size, 0)
  for (const [name, value] of xattrs) {
    const nameAt = at + HEAD_BYTES
    const nameBytes = encodeName(name)
    const valueAt = nameAt + nameBytes.length
    record.writeUInt8(nameBytes.length, at)
    record.writeUInt32LE(value.length, at + 1)
    record.set(nameBytes, nameAt)
    record.set(value, valueAt)
    at = valueAt + value.length
  }
  return record
}

/** Throws `notAuthentic` for what {@link encodeXattrs} did not make. The values are copies. */
export function decodeXattrs(record: Buffer): Map<string, Uint8Array> {
  const refuse = (): never => {
    throw new DfsError('notAuthentic', 'extended attributes: the record is cut short')
  }
  if (record.length < COUNT_BYTES) refuse()
  const xattrs = new Map<string, Uint8Array>()
  let at = COUNT_BYTES
  for (let left = record.readUInt16LE(0); left > 0; left--) {
    if (at + HEAD_BYTES > record.length) refuse()
    const nameAt = at + HEAD_BYTES
    const valueAt = nameAt + record.readUInt8(at)
    const end = valueAt + record.readUInt32LE(at + 1)
    if (end > record.length) refuse()
    const name = decodeName(record, nameAt, valueAt)
    xattrs.set(name, new Uint8Array(record.subarray(valueAt, end)))
    at = end
  }
  return xattrs
}
