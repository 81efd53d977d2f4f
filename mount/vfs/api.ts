/**
 * The file system as its users see it: paths and handles, POSIX semantics, DfsError for errors.
 *
 * It knows nothing of FUSE; `dfs-mount` and the `dfs` command are both written against it. Paths are
 * absolute, `/`-separated, relative to the user's root. Every method ends within its deadline.
 */

/** What stat(2) tells; times in nanoseconds since 1970. */
export interface Stat {
  readonly inode: number
  /** File type bits and permission bits, as in st_mode. */
  readonly mode: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  readonly rdev: number
  readonly size: number
  /** 512-byte units. */
  readonly blocks: number
  readonly atime: bigint
  readonly mtime: bigint
  readonly ctime: bigint
  /** It has extended attributes. */
  readonly hasXattrs: boolean
}

export interface DirectoryEntry {
  readonly name: string
  /** Of an inode that is damaged at the server, its kind and otherwise zeros; asking for it is EIO. */
  readonly stat: Stat
}

export interface StoreSize {
  readonly totalBytes: number
  readonly freeBytes: number
  readonly inodes: number
}

/** An open file: a small number, as the kernel likes them. */
export type Handle = number

/** By name, or an open file, also when it has no name any more. */
export type Target = string | Handle

/**
 * XATTR_CREATE and XATTR_REPLACE of setxattr(2), or neither. The last is neither for an access control list,
 * and the set-group-ID bit goes with the mode that the list sets.
 */
export type XattrMode = 'create' | 'replace' | 'either' | 'dropsSetGroupId'

/** Permission bits made from those that a file has. */
export type ModeChange = (mode: number) => number

/** Which file a handle is open on. */
export interface Identity {
  readonly inode: number
  readonly nlink: number
  /** Becomes another number when data that could be read was given up because it could not be saved. */
  readonly failures: number
}

export interface FileSystem {
  /**
   * There while nobody else can change the tree, and the same object as long as that lasts without a
   * break.
   */
  readonly soleUse: object | undefined
  /** `yielding` is called when the sole use is over, and waited for before others get at the tree. */
  onYield(yielding: () => Promise<void>): void
  identity(handle: Handle): Identity

  stat(path: string): Promise<Stat>
  /** Attributes of an open file, also when it has no name any more. */
  statHandle(handle: Handle): Promise<Stat>
  /** All entries, without `.` and `..`. */
  list(path: string): Promise<DirectoryEntry[]>
  /** Entries page by page, for directories too large for memory. */
  listPages(path: string): AsyncIterable<DirectoryEntry[]>

  /** `flags` as open(2) takes them: access mode, O_TRUNC, O_APPEND. */
  open(path: string, flags: number): Promise<Handle>
  /** Creates and opens; `flags` with O_EXCL refuses what exists. `mode` are permission bits. */
  create(path: string, mode: number, flags: number, owner: Owner): Promise<Handle>
  /** Fills `into` from `position` as far as the file goes; bytes read, fewer only at its end. */
  read(handle: Handle, into: Uint8Array, position: number): number | Promise<number>
  /** The first byte of data at `position` or behind it; undefined when only a hole is left. */
  seekData(handle: Handle, position: number): Promise<number | undefined>
  /** The same for a hole; the end of the file is one. Undefined when `position` is not in the file. */
  seekHole(handle: Handle, position: number): Promise<number | undefined>
  /** Takes all of `bytes` (copied or sealed before it resolves). With O_APPEND, `position` is ignored. */
  write(handle: Handle, bytes: Uint8Array, position: number): number | Promise<number>
  truncateHandle(handle: Handle, size: number): Promise<void>
  /** Makes the file durable and visible to others; throws what went wrong since the last one. */
  fsync(handle: Handle): Promise<void>
  /** Makes all changes of names durable; throws which of them was answered and could not be kept. */
  fsyncDirectory(): Promise<void>
  /** As fsync; called for each close(2) of a descriptor. */
  flush(handle: Handle): Promise<void>
  /** The handle is gone after this, whatever it throws. */
  release(handle: Handle): Promise<void>

  truncate(path: string, size: number): Promise<void>
  mkdir(path: string, mode: number, owner: Owner): Promise<void>
  /** fifo or socket or device node; `mode` with type bits. */
  mknod(path: string, mode: number, rdev: number, owner: Owner): Promise<void>
  symlink(target: string, path: string, owner: Owner): Promise<void>
  readlink(path: string): Promise<string>
  link(existing: string, path: string): Promise<void>
  unlink(path: string): Promise<void>
  rmdir(path: string): Promise<void>
  rename(from: string, to: string): Promise<void>
  /** An access control list changes with the mode, as acl(5) has it. */
  chmod(target: Target, mode: number | ModeChange): Promise<void>
  /** -1 leaves an id as it is. */
  chown(target: Target, uid: number, gid: number): Promise<void>
  /** Nanoseconds since 1970. */
  utimens(target: Target, atime: bigint, mtime: bigint): Promise<void>
  /** Value of an extended attribute. Throws `noAttribute`, and `notSupported` as setXattr does. */
  getXattr(target: Target, name: string): Promise<Uint8Array>
  listXattrs(target: Target): Promise<string[]>
  /**
   * Names begin with `user.` or `trusted.`, or are those of access control lists; others are `notSupported`.
   * A list is replaced whatever `mode` says; that of an inode itself changes its mode, and goes where the mode
   * says all of it. Throws `invalidArgument` for what is no list, `forbidden` for a default one of what is no
   * directory. `value` may be reused after.
   */
  setXattr(target: Target, name: string, value: Uint8Array, mode: XattrMode): Promise<void>
  /** Throws `noAttribute`, but not for an access control list. */
  removeXattr(target: Target, name: string): Promise<void>
  statfs(): Promise<StoreSize>

  /** Flushes every open file, releases what is held, ends the session. */
  close(): Promise<void>
}

/** Who makes a file, directory or node. */
export interface Owner {
  readonly uid: number
  readonly gid: number
  /** Permission bits that it does not get, unless its directory has a default ACL; none if absent. */
  readonly umask?: number
}
