/**
 * Attributes and inodes as tests make them up: those of an empty file, but for what is given.
 */
import type { Attributes, Inode } from '../../schema/generated/common.ts'
import { manifestDigest, NO_XATTRS } from '../../schema/wire/content.ts'
import type { InodeKey } from '../../mount/crypto/inode-key.ts'

const EMPTY_DIGEST = manifestDigest(new Uint8Array(0))

/** What an owner seals. */
export function unsealed(over: Partial<Attributes> = {}): Omit<Attributes, 'seal'> {
  return {
    kind: 1,
    mode: 0o644,
    uid: 0,
    gid: 0,
    rdev: 0,
    size: 0,
    mtime: 1n,
    version: 1,
    contentDigest: EMPTY_DIGEST,
    xattrDigest: NO_XATTRS,
    ...over,
  }
}

/** Sealed with `key`. */
export const sealedAttributes = (key: InodeKey, over: Partial<Attributes> = {}): Attributes =>
  key.sealAttributes(unsealed(over))

/** An inode with these attributes. */
export function inodeWith(inode: number, attributes: Attributes, over: Partial<Inode> = {}): Inode {
  return {
    inode,
    attributes,
    nlink: 1,
    ctime: 0n,
    atime: 0n,
    entryCount: 0,
    directoryCount: 0,
    allocatedBytes: 0,
    inline: new Uint8Array(0),
    ...over,
  }
}
