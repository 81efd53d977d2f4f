/**
 * Sealing and opening the blocks of one chunk with AES-256-GCM.
 *
 * A chunk's key is its own: derived from the file's secret, the chunk's id and 32 random bytes that
 * the writing client puts into the chunk's header. So the nonce may be the block's number, and a pair
 * of key and nonce is never used twice, whatever ids a server hands out, as long as a header is used
 * for one run of blocks; {@link ChunkSealer} makes its header itself and refuses a block out of turn.
 * The associated data holds header, block number and whether it is the chunk's last block: blocks
 * swapped, dropped at the end or taken from another chunk do not open. Which bytes of the file a
 * chunk holds is authenticated elsewhere, by the digests sealed with the inode.
 */
import { createCipheriv, createDecipheriv, randomFillSync } from 'node:crypto'
import { invariant } from '../../schema/wire/invariant.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { InodeKey } from './inode-key.ts'

/** u8 format version, u8 cipher, u16 zero, 4 bytes magic, 32 bytes salt. */
export const CHUNK_HEADER_BYTES = 40
export const CHUNK_SALT_AT = 8
const VERSION = 1
const CIPHER_AES_256_GCM = 1
const MAGIC = Buffer.from('dfsC')
const MAGIC_AT = 4

const NONCE_BYTES = 12
const BLOCK_DOMAIN = Buffer.from('dfs block v1')
const CONTEXT_HEADER_AT = BLOCK_DOMAIN.length
const CONTEXT_INDEX_AT = CONTEXT_HEADER_AT + CHUNK_HEADER_BYTES
const CONTEXT_LAST_AT = CONTEXT_INDEX_AT + 4
const CONTEXT_BYTES = CONTEXT_LAST_AT + 1

/** A header for a new chunk, with a salt that was never used. */
function newChunkHeader(): Buffer {
  const header = Buffer.alloc(CHUNK_HEADER_BYTES)
  header.writeUInt8(VERSION, 0)
  header.writeUInt8(CIPHER_AES_256_GCM, 1)
  MAGIC.copy(header, MAGIC_AT)
  randomFillSync(header, CHUNK_SALT_AT)
  return header
}

/** Throws `notAuthentic` for what is no chunk header, `notSupported` for one of a newer format. */
export function parseChunkHeader(header: Uint8Array): void {
  const bytes = Buffer.from(header.buffer, header.byteOffset, header.byteLength)
  if (bytes.length < CHUNK_SALT_AT || MAGIC.compare(bytes, MAGIC_AT, CHUNK_SALT_AT) !== 0) {
    throw new DfsError('notAuthentic', 'chunk header: its mark is missing')
  }
  if (bytes[0] !== VERSION || bytes[1] !== CIPHER_AES_256_GCM) {
    const detail = `chunk header: format ${bytes[0]} with cipher ${bytes[1]} is not known here`
    throw new DfsError('notSupported', detail)
  }
  if (bytes.length !== CHUNK_HEADER_BYTES || bytes.readUInt16LE(2) !== 0) {
    throw new DfsError('notAuthentic', 'chunk header: not of the form that its version has')
  }
}

/** Blocks of a chunk of `length` plaintext bytes. */
export function blocksOf(length: number): number {
  return Math.ceil(length / limits.blockBytes)
}

/** Bytes of a chunk of `length` plaintext bytes once sealed. */
export function sealedBytesOf(length: number): number {
  return length + blocksOf(length) * limits.tagBytes
}

/** What is common to both ways: nonce and associated data, changed in place from block to block. */
class BlockContext {
  readonly nonce = Buffer.alloc(NONCE_BYTES)
  readonly associated = Buffer.alloc(CONTEXT_BYTES)

  constructor(header: Uint8Array) {
    BLOCK_DOMAIN.copy(this.associated)
    this.associated.set(header, CONTEXT_HEADER_AT)
  }

  set(index: number, last: boolean): void {
    this.nonce.writeUInt32LE(index, 0)
    this.associated.writeUInt32LE(index, CONTEXT_INDEX_AT)
    this.associated[CONTEXT_LAST_AT] = last ? 1 : 0
  }
}

/** Seals one new chunk, block by block, in order, once. */
export class ChunkSealer {
  readonly header: Uint8Array
  readonly #key: Buffer
  readonly #context: BlockContext
  #next = 0
  #ended = false

  constructor(key: InodeKey, chunk: number) {
    this.header = newChunkHeader()
    this.#key = key.chunkKey(this.header, chunk)
    this.#context = new BlockContext(this.header)
  }

  /**
   * Seals the next block into `into` from `at` on and returns where it ends: plaintext length + 16
   * further. Only the last block may be shorter than limits.blockBytes; none is empty.
   */
  seal(plain: Uint8Array, last: boolean, into: Buffer, at: number): number {
    invariant(!this.#ended, 'the chunk has its last block already')
    invariant(this.#next < limits.chunkBlocksMax, 'a chunk holds limits.chunkBlocksMax blocks')
    const full = plain.length === limits.blockBytes
    invariant(
      full || (last && plain.length > 0 && plain.length < limits.blockBytes),
      'block length',
    )
    invariant(into.length - at >= plain.length + limits.tagBytes, 'the sealed block fits')
    this.#context.set(this.#next, last)
    this.#next++
    this.#ended = last
    const cipher = createCipheriv('aes-256-gcm', this.#key, this.#context.nonce)
    cipher.setAAD(this.#context.associated)
    into.set(cipher.update(plain), at)
    cipher.final()
    into.set(cipher.getAuthTag(), at + plain.length)
    if (last) this.erase()
    return at + plain.length + limits.tagBytes
  }

  /** Zeroes the chunk's key; nothing can be sealed any more. */
  erase(): void {
    this.#ended = true
    this.#key.fill(0)
  }
}

/** Opens blocks of one chunk, in any order. */
export class ChunkOpener {
  readonly #key: Buffer
  readonly #context: BlockContext
  readonly #chunk: number
  readonly #length: number

  /**
   * `length` is the chunk's plaintext length as the metadata server says; a wrong one makes its last
   * block fail. Throws `notAuthentic` or `notSupported` for a bad header.
   */
  constructor(key: InodeKey, options: { chunk: number; header: Uint8Array; length: number }) {
    this.#key = key.chunkKey(options.header, options.chunk)
    this.#context = new BlockContext(options.header)
    this.#chunk = options.chunk
    this.#length = options.length
  }

  /** Plaintext bytes of a block. */
  plainBytes(index: number): number {
    return Math.min(limits.blockBytes, this.#length - index * limits.blockBytes)
  }

  /** The plaintext of block `index`, in memory of its own. Throws `notAuthentic`. */
  open(index: number, sealed: Uint8Array): Buffer {
    const plainBytes = this.plainBytes(index)
    if (plainBytes <= 0 || sealed.length !== plainBytes + limits.tagBytes)
      throw this.#refusal(index)
    this.#context.set(index, (index + 1) * limits.blockBytes >= this.#length)
    const decipher = createDecipheriv('aes-256-gcm', this.#key, this.#context.nonce, {
      authTagLength: limits.tagBytes,
    })
    decipher.setAAD(this.#context.associated)
    decipher.setAuthTag(sealed.subarray(plainBytes))
    const plain = decipher.update(sealed.subarray(0, plainBytes))
    try {
      decipher.final()
    } catch (cause) {
      throw this.#refusal(index, cause)
    }
    return plain
  }

  /** Zeroes the chunk's key. */
  erase(): void {
    this.#key.fill(0)
  }

  #refusal(index: number, cause?: unknown): DfsError {
    const detail = `chunk ${this.#chunk}: block ${index} does not verify under its file's key`
    return new DfsError('notAuthentic', detail, { cause })
  }
}
