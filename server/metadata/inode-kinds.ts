/**
 * What an inode can be; the numbers of `Attributes.kind`.
 */
import type { InodeRecord } from '../../schema/generated/records.ts'

export const InodeKind = {
  file: 1,
  directory: 2,
  symbolicLink: 3,
  fifo: 4,
  socket: 5,
  characterDevice: 6,
  blockDevice: 7,
} as const

/** The largest of them. */
export const INODE_KIND_MAX = 7

export const isDirectory = (record: InodeRecord): boolean =>
  record.inode.attributes.kind === InodeKind.directory
export const isFile = (record: InodeRecord): boolean =>
  record.inode.attributes.kind === InodeKind.file
