/**
 * The digests of a file's windows, and what a file without content or with sealed inline content has
 * instead. Pure.
 */
import {
  DIGEST_BYTES,
  inlineDigest,
  MANIFEST_ENTRY_BYTES,
  manifestDigest,
} from '../../schema/wire/content.ts'
import { invariant } from '../../schema/wire/invariant.ts'

/** Digest by window; windows without extents are not in it. */
export type Manifest = Map<number, Uint8Array>

export const EMPTY_CONTENT_DIGEST = manifestDigest(new Uint8Array(0))

/** The manifest as it is hashed: in order of window. */
export function manifestBytes(manifest: Manifest): Uint8Array {
  const bytes = Buffer.allocUnsafe(manifest.size * MANIFEST_ENTRY_BYTES)
  let at = 0
  for (const window of [...manifest.keys()].sort((a, b) => a - b)) {
    const digest = manifest.get(window)
    invariant(digest?.length === DIGEST_BYTES, 'a window digest is a SHA-256')
    bytes.writeUInt32LE(window, at)
    bytes.set(digest, at + 4)
    at += MANIFEST_ENTRY_BYTES
  }
  return bytes
}

/** The content digest of a small file's sealed bytes. */
export function digestOf(sealedInline: Uint8Array): Uint8Array {
  return sealedInline.length === 0 ? EMPTY_CONTENT_DIGEST : inlineDigest(sealedInline)
}

export function sameDigest(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return Buffer.compare(a, b) === 0
}
