/**
 * The inode of an empty file or directory that this mount makes under a number of its own.
 */
import type { Inode } from '../../schema/generated/common.ts'
import { NO_XATTRS } from '../../schema/wire/content.ts'
import type { InodeKey } from '../crypto/inode-key.ts'
import type { NewOwnerAndMode } from './made-in.ts'
import { EMPTY_CONTENT_DIGEST } from './manifest.ts'
import { KIND, PERMISSION_BITS } from './stat.ts'

const NO_BYTES = new Uint8Array(0)

/** Nanoseconds since 1970. */
export const nowNs = (): bigint => BigInt(Date.now()) * 1_000_000n

/** Sealed, of version 1, as the server will have it but for its times. */
export function newInode(
  inode: number,
  key: InodeKey,
  kind: number,
  { mode, owner }: NewOwnerAndMode,
): Inode {
  const now = nowNs()
  const attributes = key.sealAttributes({
    kind,
    mode: mode & PERMISSION_BITS,
    uid: owner.uid,
    gid: owner.gid,
    rdev: 0,
    size: 0,
    mtime: now,
    version: 1,
    contentDigest: EMPTY_CONTENT_DIGEST,
    xattrDigest: NO_XATTRS,
  })
  return {
    inode,
    attributes,
    nlink: kind === KIND.directory ? 2 : 1,
    ctime: now,
    atime: now,
    entryCount: 0,
    directoryCount: 0,
    allocatedBytes: 0,
    inline: NO_BYTES,
  }
}
