/**
 * One request of the kernel, read in place. There is one of these a mount, for the request at hand:
 * handlers take from it what they need before they return.
 */
import { DfsError } from '../../schema/wire/status.ts'
import { decodeName } from '../crypto/name-bytes.ts'
import { REQUEST_HEADER_BYTES } from './protocol.ts'

const WORD = 4_294_967_296

export class KernelRequest {
  bytes: Buffer = Buffer.alloc(REQUEST_HEADER_BYTES)
  length = 0
  opcode = 0
  /** Names the request in its answer. */
  unique = 0
  /** The inode that it is about, as the kernel numbers it. */
  nodeId = 0
  /** Whose program asks. */
  uid = 0
  gid = 0
  #textAt = 0

  /** Begins with a request of `length` bytes. */
  load(bytes: Buffer, length: number): void {
    this.bytes = bytes
    this.length = length
    this.opcode = bytes.readUInt32LE(4)
    this.unique = this.#wideAt(8)
    this.nodeId = this.#wideAt(16)
    this.uid = bytes.readUInt32LE(24)
    this.gid = bytes.readUInt32LE(28)
  }

  /** A word of the request's own part, `at` bytes into it. */
  u32(at: number): number {
    return this.bytes.readUInt32LE(REQUEST_HEADER_BYTES + at)
  }

  /** Exact up to 2^53. */
  u64(at: number): number {
    return this.#wideAt(REQUEST_HEADER_BYTES + at)
  }

  i64(at: number): bigint {
    return this.bytes.readBigInt64LE(REQUEST_HEADER_BYTES + at)
  }

  /** The name or target that stands `at` bytes into the request's own part. */
  text(at: number): string {
    this.#textAt = REQUEST_HEADER_BYTES + at
    return this.nextText()
  }

  /** The text behind the one read last. */
  nextText(): string {
    const from = this.#textAt
    const end = this.bytes.indexOf(0, from)
    if (end === -1 || end >= this.length) {
      throw new DfsError('invalidArgument', 'a request of the kernel ends within a name')
    }
    this.#textAt = end + 1
    return decodeName(this.bytes, from, end)
  }

  /** A copy of `length` bytes behind the text read last. */
  copyAfterText(length: number): Buffer {
    const end = Math.min(this.#textAt + length, this.length)
    return Buffer.from(this.bytes.subarray(this.#textAt, end))
  }

  #wideAt(at: number): number {
    return this.bytes.readUInt32LE(at + 4) * WORD + this.bytes.readUInt32LE(at)
  }
}
