/**
 * Inodes as stat(2) tells them.
 */
import type { Attributes, Inode } from '../../schema/generated/common.ts'
import { invariant } from '../../schema/wire/invariant.ts'
import type { Stat } from './api.ts'

/** `Attributes.kind`, as in the schema. */
export const KIND = {
  file: 1,
  directory: 2,
  symlink: 3,
  fifo: 4,
  socket: 5,
  characterDevice: 6,
  blockDevice: 7,
} as const

const S_IFMT = 0o170000
export const PERMISSION_BITS = 0o7777
/** Bytes that a directory entry is counted as in a directory's size: the name, padded, and a key. */
const ENTRY_BYTES = 64
const STAT_BLOCK_BYTES = 512

/** st_mode's type bits, by kind. */
const TYPE_BITS = [0, 0o100000, 0o040000, 0o120000, 0o010000, 0o140000, 0o020000, 0o060000]

/** The kind that `mode`'s type bits say; undefined when they say none that exists. */
export function kindOfMode(mode: number): number | undefined {
  const kind = TYPE_BITS.indexOf(mode & S_IFMT)
  return kind > 0 ? kind : undefined
}

/** What a file's changes that are not committed yet add to what the server said. */
export interface LocalChanges {
  readonly size: number
  readonly mtime: bigint
  /** Bytes written that no commit has made part of the file. */
  readonly uncommittedBytes: number
}

/** `local` for a file that this mount is writing. */
export function statOf(inode: Inode, local?: LocalChanges): Stat {
  const { attributes } = inode
  const directory = attributes.kind === KIND.directory
  return {
    inode: inode.inode,
    mode: typeBits(attributes) | (attributes.mode & PERMISSION_BITS),
    nlink: directory ? 2 + inode.directoryCount : inode.nlink,
    uid: attributes.uid,
    gid: attributes.gid,
    rdev: attributes.rdev,
    size: directory ? inode.entryCount * ENTRY_BYTES : (local?.size ?? attributes.size),
    blocks: Math.ceil(bytesHeld(inode, local) / STAT_BLOCK_BYTES),
    atime: inode.atime,
    mtime: local?.mtime ?? attributes.mtime,
    ctime: inode.ctime,
    hasXattrs: attributes.xattrDigest.length > 0,
  }
}

/** An entry whose inode is damaged at the server: nothing but its kind is known. */
export function statOfDamaged(kind: number): Stat {
  const mode = TYPE_BITS[kind] ?? 0
  const none = { inode: 0, nlink: 0, uid: 0, gid: 0, rdev: 0, size: 0, blocks: 0 }
  return { ...none, mode, atime: 0n, mtime: 0n, ctime: 0n, hasXattrs: false }
}

function bytesHeld(inode: Inode, local: LocalChanges | undefined): number {
  return inode.allocatedBytes + (local?.uncommittedBytes ?? 0)
}

function typeBits(attributes: Attributes): number {
  const bits = TYPE_BITS[attributes.kind]
  invariant(bits !== undefined && bits > 0, `inode kind ${attributes.kind}`)
  return bits
}
