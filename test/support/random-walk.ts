/**
 * A seeded choice of system calls, done to two directories in turn: one on the mount under test, one on
 * a local disk, which is right.
 */
import { createHash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  futimesSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { decodeName, encodeName } from '../../mount/crypto/name-bytes.ts'
import {
  ACCESS_ACL,
  ACL_TAG,
  DEFAULT_ACL,
  encodeAcl,
  NO_ID,
  type Acl,
  type AclEntry,
} from '../../mount/vfs/acl.ts'
import type { SystemCalls, XattrFlags } from './system-calls.ts'
import { seeded } from './seeded.ts'

const { S_IFREG, S_IFSOCK } = constants
/** Larger than a file kept inline, than a block, and than one request of the kernel. */
const lengths = [0, 1, 100, 4_096, 4_097, 70_000, 200_000]
/** Where a handle also writes, cuts and reads: far behind the rest, so that holes come to be. */
const positions = [...lengths, 1_048_576, 5_000_000]
/** Two are no UTF-8, and the same but for a byte of that. */
const names = ['a', 'b', 'c\udcff', 'c\udcfe']
const xattrNames = ['user.x', 'user.\udcff']
/** What the mode can say, more, and a list that is none. */
const entry = (tag: number, permissions: number, id = NO_ID): AclEntry => ({ tag, permissions, id })
const most = [entry(ACL_TAG.owner, 7), entry(ACL_TAG.owningGroup, 5), entry(ACL_TAG.other, 1)]
const acls: readonly Acl[] = [
  most,
  most.toSpliced(2, 0, entry(ACL_TAG.mask, 6)),
  [entry(ACL_TAG.owner, 6), entry(ACL_TAG.user, 7, 1_000), ...most.slice(1)].toSpliced(
    3,
    0,
    entry(ACL_TAG.mask, 5),
  ),
  most.slice(1),
]
const handlesMax = 4
/** Only root gives files away. */
const isRoot = process.getuid?.() === 0

/** One of the two directories that must stay equal, with its open files. */
export class Side {
  readonly root: string
  readonly calls: SystemCalls
  readonly handles: number[] = []

  constructor(root: string, calls: SystemCalls) {
    this.root = root
    this.calls = calls
  }

  /** For Node's functions, which take such names as bytes only. */
  at(path: string): Buffer {
    return encodeName(this.named(path))
  }

  /** For Python's, which have the same strings for them. */
  named(path: string): string {
    return join(this.root, path)
  }
}

/** Something done to a side; `run` gives what both must have alike. */
export interface Operation {
  readonly name: string
  run(side: Side): unknown
}

export type Outcome = { readonly value: unknown } | { readonly errno: string }

/** What an operation gives; errors of the system by their names. */
export function attempt(operation: Operation, side: Side): Outcome {
  try {
    return { value: operation.run(side) ?? null }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    return { errno: code }
  }
}

/** A walk that a seed determines. */
export class Walk {
  readonly #below: (below: number) => number
  readonly #local: Side
  readonly #mounted: Side
  readonly #lists: boolean

  /** With `lists` also of access control, which the local disk must keep. */
  constructor(start: number, local: Side, mounted: Side, lists: boolean) {
    this.#below = seeded(start)
    this.#local = local
    this.#mounted = mounted
    this.#lists = lists
  }

  /** Does one operation in both; returns what it was, and both outcomes. */
  step(): { operation: Operation; local: Outcome; mounted: Outcome } {
    const operation = this.#choose()
    const local = attempt(operation, this.#local)
    const mounted = attempt(operation, this.#mounted)
    return { operation, local, mounted }
  }

  #choose(): Operation {
    const makers = [
      () => this.#content(),
      () => this.#content(),
      () => this.#tree(),
      () => this.#tree(),
      () => this.#attributes(),
      () => (this.#lists && this.#below(2) === 0 ? this.#acls() : this.#xattrs()),
      () => this.#handleAttributes(),
      () => this.#handle(),
      () => this.#handle(),
      () => this.#handle(),
    ]
    return this.#pick(makers)()
  }

  #content(): Operation {
    const path = this.#path()
    const bytes = this.#bytes()
    const size = this.#pick(lengths)
    return this.#pick<Operation>([
      {
        name: `write ${path} ${bytes.length}`,
        run: (s) => writeFileSync(s.at(path), bytes.make()),
      },
      {
        name: `append ${path} ${bytes.length}`,
        run: (s) => writeFileSync(s.at(path), bytes.make(), { flag: 'a' }),
      },
      {
        name: `make ${path}`,
        run: (s) => writeFileSync(s.at(path), bytes.make(), { flag: 'wx' }),
      },
      { name: `truncate ${path} ${size}`, run: (s) => truncateSync(s.at(path), size) },
      { name: `read ${path}`, run: (s) => readFileSync(s.at(path)).toString('latin1') },
    ])
  }

  #tree(): Operation {
    const path = this.#path()
    const other = this.#path()
    return this.#pick<Operation>([
      { name: `mkdir ${path}`, run: (s) => mkdirSync(s.at(path)) },
      { name: `rmdir ${path}`, run: (s) => this.#rmdir(s, path) },
      { name: `unlink ${path}`, run: (s) => unlinkSync(s.at(path)) },
      { name: `rename ${path} ${other}`, run: (s) => this.#rename(s, path, other) },
      { name: `rename ${path} ${other}`, run: (s) => this.#rename(s, path, other) },
      { name: `mknod ${path}`, run: (s) => s.calls.mknod(s.named(path), S_IFREG | 0o640) },
      { name: `socket ${path}`, run: (s) => s.calls.mknod(s.named(path), S_IFSOCK | 0o600) },
      { name: `link ${path} ${other}`, run: (s) => this.#link(s, path, other) },
      {
        name: `symlink ${other} ${path}`,
        run: (s) => symlinkSync(encodeName(`x/${other}`), s.at(path)),
      },
      { name: `readlink ${path}`, run: (s) => readlink(s.at(path)) },
      { name: `list ${path}`, run: (s) => list(s.at(path)) },
    ])
  }

  #attributes(): Operation {
    const path = this.#path()
    const mode = this.#pick([0o600, 0o644, 0o755])
    const seconds = this.#below(2_000_000_000)
    return this.#pick<Operation>([
      { name: `chmod ${path}`, run: (s) => chmodSync(s.at(path), mode) },
      ...(isRoot
        ? [{ name: `chown ${path}`, run: (s: Side) => chownSync(s.at(path), seconds % 9, -1) }]
        : []),
      {
        name: `utimes ${path}`,
        run: (s) => {
          utimesSync(s.at(path), seconds, seconds + 1)
          return [statSync(s.at(path)).atimeMs, statSync(s.at(path)).mtimeMs]
        },
      },
      { name: `lstat ${path}`, run: (s) => describe(s.at(path)) },
    ])
  }

  #xattrs(): Operation {
    const path = this.#path()
    const name = this.#pick(xattrNames)
    const value = this.#pick(['', 'short', 'long'.repeat(500)])
    const flags = this.#pick<XattrFlags>([0, 0, 1, 2])
    const set: Operation = {
      name: `setxattr ${path} ${name} ${value.length} ${flags}`,
      run: (s) => s.calls.setXattr(s.named(path), name, value, flags),
    }
    return this.#pick<Operation>([
      set,
      set,
      { name: `getxattr ${path} ${name}`, run: (s) => s.calls.getXattr(s.named(path), name) },
      { name: `removexattr ${path} ${name}`, run: (s) => s.calls.removeXattr(s.named(path), name) },
      { name: `listxattr ${path}`, run: (s) => s.calls.xattrs(s.named(path)) },
    ])
  }

  #acls(): Operation {
    const path = this.#path()
    const name = this.#pick([ACCESS_ACL, DEFAULT_ACL])
    const acl = this.#pick(acls)
    const value = Buffer.from(encodeAcl(acl)).toString('latin1')
    const set: Operation = {
      name: `setxattr ${path} ${name} of ${acl.length}`,
      run: (s) => s.calls.setXattr(s.named(path), name, value, 0),
    }
    return this.#pick<Operation>([
      set,
      set,
      { name: `removexattr ${path} ${name}`, run: (s) => s.calls.removeXattr(s.named(path), name) },
      { name: `listxattr ${path}`, run: (s) => s.calls.xattrs(s.named(path)) },
      { name: `lstat ${path}`, run: (s) => describe(s.at(path)) },
    ])
  }

  /** What is changed through a descriptor, also of a file without a name. */
  #handleAttributes(): Operation {
    const [index, of] = this.#opened()
    const mode = this.#pick([0o600, 0o640, 0o711])
    const seconds = this.#below(2_000_000_000)
    return this.#pick<Operation>([
      {
        name: `handle ${index} chmod ${mode}`,
        run: (s) => {
          fchmodSync(of(s), mode)
          return fstatSync(of(s)).mode
        },
      },
      {
        name: `handle ${index} chown`,
        run: (s) => {
          fchownSync(of(s), fstatSync(of(s)).uid, seconds % 9)
          return fstatSync(of(s)).gid
        },
      },
      {
        name: `handle ${index} utimes ${seconds}`,
        run: (s) => {
          futimesSync(of(s), seconds, seconds + 1)
          return [fstatSync(of(s)).atimeMs, fstatSync(of(s)).mtimeMs]
        },
      },
    ])
  }

  /** One of the open files, by its number. */
  #opened(): [index: number, of: (side: Side) => number] {
    const index = this.#below(handlesMax)
    return [index, (side) => side.handles[index % Math.max(1, side.handles.length)] ?? -1]
  }

  #handle(): Operation {
    const path = this.#path()
    const bytes = this.#bytes()
    const position = this.#pick(positions)
    const [index, of] = this.#opened()
    if (this.#local.handles.length === 0 || this.#below(4) === 0) {
      const append = this.#below(3) === 0
      return {
        name: `open ${path}${append ? ' to append' : ''}`,
        run: (s) => open(s, path, append),
      }
    }
    return this.#pick<Operation>([
      {
        name: `handle ${index} write ${bytes.length} at ${position}`,
        run: (s) => writeSync(of(s), bytes.make(), 0, bytes.length, position),
      },
      {
        name: `handle ${index} read at ${position}`,
        run: (s) => {
          const into = Buffer.alloc(10_000)
          return into.toString('latin1', 0, readSync(of(s), into, 0, into.length, position))
        },
      },
      { name: `handle ${index} truncate ${position}`, run: (s) => ftruncateSync(of(s), position) },
      { name: `handle ${index} sync`, run: (s) => fsyncSync(of(s)) },
      { name: `handle ${index} stat`, run: (s) => fstatSync(of(s)).size + fstatSync(of(s)).nlink },
      { name: `handle ${index} close`, run: (s) => close(s, index) },
    ])
  }

  /** A removed file that is open cannot be read once its directory is gone (docs/fuse-limits.md). */
  #rmdir(side: Side, path: string): void {
    this.#closeNameless(side)
    rmdirSync(side.at(path))
  }

  /** Over a directory, it is gone as with rmdir. */
  #rename(side: Side, path: string, other: string): void {
    const at = side.at(other)
    if (existsSync(at) && lstatSync(at).isDirectory()) this.#closeNameless(side)
    renameSync(side.at(path), at)
  }

  #closeNameless(side: Side): void {
    for (let index = side.handles.length - 1; index >= 0; index--) {
      if (fstatSync(side.handles[index] ?? -1).nlink === 0) close(side, index)
    }
  }

  /** Two names of one file have pages of their own while open (docs/fuse-limits.md). */
  #link(side: Side, path: string, other: string): void {
    const inode = lstatSync(side.at(path)).ino
    if (side.handles.some((handle) => fstatSync(handle).ino === inode)) return
    linkSync(side.at(path), side.at(other))
  }

  #path(): string {
    // Shallow ones more often: they are there more often.
    const depth = 1 + Math.min(this.#below(3), this.#below(3))
    return Array.from({ length: depth }, () => this.#pick(names)).join('/')
  }

  /** Made when they are written: a long walk remembers all its operations. */
  #bytes(): { readonly length: number; make(): Buffer } {
    const length = this.#pick(lengths)
    const fill = this.#pick(names) + this.#below(1_000)
    return { length, make: () => Buffer.alloc(length, fill) }
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#below(from.length)] as T
  }
}

function open(side: Side, path: string, append: boolean): void {
  if (side.handles.length >= handlesMax) return
  if (existsSync(side.at(path)) && statSync(side.at(path)).nlink > 1) return
  side.handles.push(openSync(side.at(path), append ? 'a+' : 'r+'))
}

function close(side: Side, index: number): void {
  const [handle] = side.handles.splice(index % Math.max(1, side.handles.length), 1)
  if (handle !== undefined) closeSync(handle)
}

function list(path: Buffer): string[] {
  return readdirSync(path, { encoding: 'buffer' })
    .map((name) => decodeName(name))
    .sort()
}

function readlink(path: Buffer): string {
  return decodeName(readlinkSync(path, { encoding: 'buffer' }))
}

function describe(path: Buffer): unknown {
  const stat = lstatSync(path)
  // The size and links of a directory differ from one file system to the next.
  return stat.isDirectory() ? stat.mode : [stat.mode, stat.size, stat.nlink, stat.uid, stat.gid]
}

/** The whole tree of a side below `path`, as something that can be compared. */
export function tree(side: Side, path = side.root): unknown {
  const bytes = encodeName(path)
  const stat = lstatSync(bytes)
  if (stat.isSymbolicLink()) return `-> ${readlink(bytes)}`
  const known = [describe(bytes), side.calls.xattrs(path)]
  if (stat.isFile()) return [...known, digest(readFileSync(bytes))]
  if (!stat.isDirectory()) return known
  const below = list(bytes).map((name) => [name, tree(side, join(path, name))])
  return [...known, ...below]
}

const digest = (bytes: Buffer): string => createHash('sha1').update(bytes).digest('hex')
