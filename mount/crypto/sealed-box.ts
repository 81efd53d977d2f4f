/**
 * Sealing something small (a directory entry, inline content, a wrapped key) with AES-256-GCM.
 *
 * Form: u8 format version 1, u8 cipher 1 (AES-256-GCM), 12 bytes random nonce, ciphertext, 16 bytes
 * tag. The nonce is always fresh from the system's random source, so one key may seal many boxes:
 * each directory and each file has its own keys, far below the 2^32 boxes where 96 random bits get
 * thin. Version and cipher are authenticated too: they are part of the associated data.
 */
import { createCipheriv, createDecipheriv, randomFillSync } from 'node:crypto'
import { DfsError } from '../../schema/wire/status.ts'

const VERSION = 1
const CIPHER_AES_256_GCM = 1
const PREFIX_BYTES = 2
const NONCE_BYTES = 12
const TAG_BYTES = 16
const HEAD_BYTES = PREFIX_BYTES + NONCE_BYTES

/** Bytes that sealing adds. */
export const BOX_OVERHEAD_BYTES = HEAD_BYTES + TAG_BYTES

/** Seals `plain` under a 32-byte key; `context` must be given again to open it. */
export function sealBox(key: Uint8Array, context: Uint8Array, plain: Uint8Array): Buffer {
  const box = Buffer.allocUnsafe(plain.length + BOX_OVERHEAD_BYTES)
  box[0] = VERSION
  box[1] = CIPHER_AES_256_GCM
  randomFillSync(box, PREFIX_BYTES, NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, box.subarray(PREFIX_BYTES, HEAD_BYTES))
  cipher.setAAD(Buffer.concat([box.subarray(0, PREFIX_BYTES), context]))
  cipher.update(plain).copy(box, HEAD_BYTES)
  cipher.final()
  cipher.getAuthTag().copy(box, HEAD_BYTES + plain.length)
  return box
}

/**
 * Opens what {@link sealBox} made; `what` names it in errors. Throws `notAuthentic` when the key, the
 * context or a bit of it is another, `notSupported` when a newer dfs sealed it.
 */
export function openBox(
  key: Uint8Array,
  context: Uint8Array,
  box: Uint8Array,
  what: string,
): Buffer {
  if (box.length < BOX_OVERHEAD_BYTES) {
    throw new DfsError('notAuthentic', `${what}: ${box.length} bytes cannot be a sealed box`)
  }
  if (box[0] !== VERSION || box[1] !== CIPHER_AES_256_GCM) {
    const detail = `${what}: sealed in format ${box[0]} with cipher ${box[1]}, not known here`
    throw new DfsError('notSupported', detail)
  }
  const decipher = createDecipheriv('aes-256-gcm', key, box.subarray(PREFIX_BYTES, HEAD_BYTES), {
    authTagLength: TAG_BYTES,
  })
  decipher.setAAD(Buffer.concat([box.subarray(0, PREFIX_BYTES), context]))
  decipher.setAuthTag(box.subarray(box.length - TAG_BYTES))
  const plain = decipher.update(box.subarray(HEAD_BYTES, box.length - TAG_BYTES))
  try {
    decipher.final()
  } catch (cause) {
    plain.fill(0)
    throw new DfsError('notAuthentic', `${what}: does not verify under its owner's key`, { cause })
  }
  return plain
}
