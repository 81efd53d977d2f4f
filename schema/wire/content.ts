/**
 * Digests that describe a file's content without revealing it: of a window's extents, of the list of
 * windows, of inline bytes; and of its extended attributes. The client seals the result with the inode, so a server that drops,
 * moves, re-serves or invents an extent is found out. All are SHA-256 with a domain in front.
 */
import { createHash } from 'node:crypto'
import type { Extent } from '../generated/common.ts'

const WINDOW_DOMAIN = Buffer.from('dfs window v1\0')
const PATCHED_DOMAIN = Buffer.from('dfs patched window v1\0')
const WINDOWS_DOMAIN = Buffer.from('dfs windows v1\0')
const INLINE_DOMAIN = Buffer.from('dfs inline v1\0')
const XATTR_DOMAIN = Buffer.from('dfs xattr v1\0')

/** Bytes of an extent as it is hashed: chunk u64, offset, length, chunk offset u32, little-endian. */
const EXTENT_BYTES = 20
/** Bytes of a window in the manifest: index u32 little-endian, digest. */
export const MANIFEST_ENTRY_BYTES = 36
export const DIGEST_BYTES = 32

/** No patch. */
export const NO_PATCH = new Uint8Array(0)

/** Digest of a window's normalised extents, and of the sealed patch over them if there is one. */
export function windowDigest(extents: readonly Extent[], patch: Uint8Array = NO_PATCH): Uint8Array {
  const bytes = Buffer.allocUnsafe(extents.length * EXTENT_BYTES)
  let at = 0
  for (const extent of extents) {
    bytes.writeUInt32LE(extent.chunk % 0x1_0000_0000, at)
    bytes.writeUInt32LE(Math.floor(extent.chunk / 0x1_0000_0000), at + 4)
    bytes.writeUInt32LE(extent.offset, at + 8)
    bytes.writeUInt32LE(extent.length, at + 12)
    bytes.writeUInt32LE(extent.chunkOffset, at + 16)
    at += EXTENT_BYTES
  }
  if (patch.length === 0) return createHash('sha256').update(WINDOW_DOMAIN).update(bytes).digest()
  const patchDigest = createHash('sha256').update(patch).digest()
  return createHash('sha256').update(PATCHED_DOMAIN).update(patchDigest).update(bytes).digest()
}

/**
 * Digest of a file's windows. `manifest` is their entries in order of index: u32 little-endian
 * index, 32 bytes of window digest; windows without extents and patch are not in it. An empty file has the
 * digest of the empty manifest.
 */
export function manifestDigest(manifest: Uint8Array): Uint8Array {
  return createHash('sha256').update(WINDOWS_DOMAIN).update(manifest).digest()
}

/** A window in the manifest. */
export function manifestEntry(index: number, digest: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(MANIFEST_ENTRY_BYTES)
  bytes.writeUInt32LE(index, 0)
  bytes.set(digest, 4)
  return bytes
}

/** The digest of no extended attributes. */
export const NO_XATTRS = new Uint8Array(0)

/** Digest of an inode's sealed extended attributes. */
export function xattrDigest(sealed: Uint8Array): Uint8Array {
  if (sealed.length === 0) return NO_XATTRS
  return createHash('sha256').update(XATTR_DOMAIN).update(sealed).digest()
}

/** Digest of the sealed inline bytes of a small file or a symbolic link's sealed target. */
export function inlineDigest(sealed: Uint8Array): Uint8Array {
  return createHash('sha256').update(INLINE_DOMAIN).update(sealed).digest()
}
