/**
 * The numbers of the FUSE protocol between the kernel and a file system, as far as dfs speaks it:
 * version 7.34 of linux/fuse.h. All of it is little-endian on the machines dfs runs on.
 */

/** What we say we speak; the kernel adapts to it. */
export const VERSION = { major: 7, minor: 34 } as const

/** Bytes of what stands before each request and each answer. */
export const REQUEST_HEADER_BYTES = 40
export const REPLY_HEADER_BYTES = 16
export const WRITE_HEADER_BYTES = REQUEST_HEADER_BYTES + 40

/** Bytes of the parts of answers. */
export const ATTR_BYTES = 88
export const ENTRY_BYTES = 40 + ATTR_BYTES
export const DIRENT_BYTES = 24
export const INIT_REPLY_BYTES = 64
export const STATFS_BYTES = 80

/** The kernel's number for the root of a mount. */
export const ROOT_ID = 1

export const OPCODE = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  readlink: 5,
  symlink: 6,
  mknod: 8,
  mkdir: 9,
  unlink: 10,
  rmdir: 11,
  rename: 12,
  link: 13,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  fsync: 20,
  setxattr: 21,
  getxattr: 22,
  listxattr: 23,
  removexattr: 24,
  flush: 25,
  init: 26,
  opendir: 27,
  readdir: 28,
  releasedir: 29,
  fsyncdir: 30,
  create: 35,
  destroy: 38,
  batchForget: 42,
  readdirplus: 44,
  lseek: 46,
} as const

export type OperationName = keyof typeof OPCODE

/** Above every opcode we serve. */
export const OPCODES_MAX = 64

/** What both sides can do, told at the start. */
export const INIT = {
  /** Several reads of one file at once. */
  asyncRead: 1 << 0,
  /** O_TRUNC comes with the open. */
  atomicTruncate: 1 << 3,
  bigWrites: 1 << 5,
  /** The umask comes with requests to make something, and is ours to apply. */
  dontMask: 1 << 6,
  /** Listings bring attributes along, where the kernel thinks that they will be asked for. */
  readdirplus: 1 << 13,
  readdirplusAuto: 1 << 14,
  /** Lookups and listings of one directory side by side. */
  parallelDirectories: 1 << 18,
  /** The kernel enforces access control lists, which it asks for as extended attributes. */
  accessControl: 1 << 20,
  /** The answer says how many pages a request may have. */
  maxPages: 1 << 22,
  /** We take set-uid and set-gid away where the kernel says so; it need not ask before each write. */
  killPrivileges: 1 << 28,
  /** Requests to set an extended attribute have flags of their own. */
  setXattrFlags: 1 << 29,
} as const

/** What a request to change attributes changes. */
export const SETATTR = {
  mode: 1 << 0,
  uid: 1 << 1,
  gid: 1 << 2,
  size: 1 << 3,
  atime: 1 << 4,
  mtime: 1 << 5,
  handle: 1 << 6,
  atimeNow: 1 << 7,
  mtimeNow: 1 << 8,
  killPrivileges: 1 << 11,
} as const

/** In the request to write: set-uid and set-gid go. */
export const WRITE_KILL_PRIVILEGES = 1 << 2
/** In the requests to open and create. */
export const OPEN_KILL_PRIVILEGES = 1 << 0

/** In the request to set an extended attribute: set-gid goes with an access control list. */
export const SETXATTR_DROPS_SET_GID = 1 << 0

/** In the answer to an open. */
export const OPENED = {
  /** The pages that the kernel has of the file still hold. */
  keepCache: 1 << 1,
  /** Closing it needs no word to us. */
  noFlush: 1 << 5,
} as const

/**
 * Most bytes the kernel moves in one request: what it can at most (`fs.fuse.max_pages_limit`). Kernels before
 * 4.20 move no more than {@link OLD_TRANSFER_BYTES}.
 */
export const TRANSFER_BYTES = 1_048_576
export const OLD_TRANSFER_BYTES = 131_072
export const PAGE_BYTES = 4_096
/** Requests that the kernel has under way without a program that waits for each: read-ahead, releases. */
export const BACKGROUND_MAX = 32
/** What programs are told to read and write at once, bytes. */
export const PREFERRED_BYTES = 131_072

/** Kinds of lseek(2) that come to us; the kernel knows the others by itself. */
export const SEEK = { data: 3, hole: 4 } as const
