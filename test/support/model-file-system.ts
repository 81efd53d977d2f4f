/**
 * A file system in memory with POSIX semantics, for tests of the kernel side: what the handlers are
 * mounted on. Files are sparse; a removed file lives until its last handle is released.
 *
 * `fault` runs before each operation, to make it fail, hang or be late; `calls` counts them.
 */
import { constants } from 'node:fs'
import { DfsError } from '../../schema/wire/status.ts'
import { limits } from '../../schema/wire/limits.ts'
import { encodeName } from '../../mount/crypto/name-bytes.ts'
import type {
  DirectoryEntry,
  FileSystem,
  Handle,
  Identity,
  ModeChange,
  Owner,
  Stat,
  StoreSize,
  Target,
  XattrMode,
} from '../../mount/vfs/api.ts'

const blockBytes = 65_536
const pageEntries = 1_000

interface Node {
  readonly inode: number
  mode: number
  nlink: number
  uid: number
  gid: number
  rdev: number
  size: number
  atime: bigint
  mtime: bigint
  ctime: bigint
  opens: number
  target: string
  readonly children: Map<string, Node>
  readonly blocks: Map<number, Buffer>
  readonly xattrs: Map<string, Uint8Array>
}

interface OpenFile {
  readonly node: Node
  readonly append: boolean
}

export class ModelFileSystem implements FileSystem {
  fault: (operation: keyof FileSystem, subject: string) => void | Promise<void> = () => undefined
  readonly calls = new Map<string, number>()
  /** Sizes of the writes that came, bytes; the last thousand. */
  readonly writeSizes: number[] = []
  readonly #open = new Map<Handle, OpenFile>()
  #lastInode = 0
  #lastHandle = 0
  readonly #root = this.#node(constants.S_IFDIR | 0o755, {
    uid: process.geteuid?.() ?? 0,
    gid: process.getegid?.() ?? 0,
  })

  get openFiles(): number {
    return this.#open.size
  }

  /** Set by tests; {@link yieldTree} ends it. */
  soleUse: object | undefined
  #yielding: () => Promise<void> = async () => undefined

  onYield(yielding: () => Promise<void>): void {
    this.#yielding = yielding
  }

  /** What happens before somebody else gets at the tree. */
  async yieldTree(): Promise<void> {
    this.soleUse = undefined
    await this.#yielding()
  }

  identity(handle: Handle): Identity {
    const { inode, nlink } = this.#file(handle).node
    return { inode, nlink, failures: 0 }
  }

  async stat(path: string): Promise<Stat> {
    await this.#enter('stat', path)
    return toStat(this.#walk(path))
  }

  async statHandle(handle: Handle): Promise<Stat> {
    await this.#enter('statHandle', String(handle))
    return toStat(this.#file(handle).node)
  }

  async list(path: string): Promise<DirectoryEntry[]> {
    await this.#enter('list', path)
    return entriesOf(this.#directory(path))
  }

  async *listPages(path: string): AsyncIterable<DirectoryEntry[]> {
    await this.#enter('listPages', path)
    const all = entriesOf(this.#directory(path))
    for (let at = 0; at < all.length; at += pageEntries) yield all.slice(at, at + pageEntries)
  }

  async open(path: string, flags: number): Promise<Handle> {
    await this.#enter('open', path)
    const node = this.#walk(path)
    if (isDirectory(node)) throw new DfsError('isDirectory', path)
    if ((flags & constants.O_TRUNC) !== 0) resize(node, 0)
    return this.#opened(node, flags)
  }

  async create(path: string, mode: number, flags: number, owner: Owner): Promise<Handle> {
    await this.#enter('create', path)
    const [parent, name] = this.#parent(path)
    const existing = parent.children.get(name)
    if (existing !== undefined) {
      if ((flags & constants.O_EXCL) !== 0) throw new DfsError('exists', path)
      return this.#opened(existing, flags)
    }
    const node = this.#node(constants.S_IFREG | mode, owner)
    this.#insert(parent, name, node)
    return this.#opened(node, flags)
  }

  read(handle: Handle, into: Uint8Array, position: number): number | Promise<number> {
    const late = this.#enterNow('read', String(handle))
    if (late !== undefined) return late.then(() => this.#read(handle, into, position))
    return this.#read(handle, into, position)
  }

  async seekData(handle: Handle, position: number): Promise<number | undefined> {
    await this.#enter('seekData', String(handle))
    const { blocks, size } = this.#file(handle).node
    const starts = [...blocks.keys()].map((block) => Math.max(position, block * blockBytes))
    const ahead = starts.filter((at) => blocks.has(Math.floor(at / blockBytes)) && at < size)
    return ahead.length === 0 ? undefined : Math.min(...ahead)
  }

  async seekHole(handle: Handle, position: number): Promise<number | undefined> {
    await this.#enter('seekHole', String(handle))
    const { blocks, size } = this.#file(handle).node
    if (position >= size) return undefined
    let at = position
    while (at < size && blocks.has(Math.floor(at / blockBytes))) {
      at = (Math.floor(at / blockBytes) + 1) * blockBytes
    }
    return Math.min(at, size)
  }

  write(handle: Handle, bytes: Uint8Array, position: number): number | Promise<number> {
    if (this.writeSizes.length >= pageEntries) this.writeSizes.shift()
    this.writeSizes.push(bytes.length)
    const late = this.#enterNow('write', String(handle))
    if (late !== undefined) return late.then(() => this.#write(handle, bytes, position))
    return this.#write(handle, bytes, position)
  }

  async truncateHandle(handle: Handle, size: number): Promise<void> {
    await this.#enter('truncateHandle', String(handle))
    resize(this.#file(handle).node, size)
  }

  async fsyncDirectory(): Promise<void> {
    await this.#enter('fsyncDirectory', '')
  }

  async fsync(handle: Handle): Promise<void> {
    await this.#enter('fsync', String(handle))
    this.#file(handle)
  }

  async flush(handle: Handle): Promise<void> {
    await this.#enter('flush', String(handle))
    this.#file(handle)
  }

  async release(handle: Handle): Promise<void> {
    const { node } = this.#file(handle)
    this.#open.delete(handle)
    node.opens--
    await this.#enter('release', String(handle))
  }

  async truncate(path: string, size: number): Promise<void> {
    await this.#enter('truncate', path)
    resize(this.#walk(path), size)
  }

  async mkdir(path: string, mode: number, owner: Owner): Promise<void> {
    await this.#enter('mkdir', path)
    const [parent, name] = this.#parent(path)
    this.#insert(parent, name, this.#node(constants.S_IFDIR | mode, owner))
    parent.nlink++
  }

  async mknod(path: string, mode: number, rdev: number, owner: Owner): Promise<void> {
    await this.#enter('mknod', path)
    const [parent, name] = this.#parent(path)
    const node = this.#node(mode, owner)
    node.rdev = rdev
    this.#insert(parent, name, node)
  }

  async symlink(target: string, path: string, owner: Owner): Promise<void> {
    await this.#enter('symlink', path)
    const [parent, name] = this.#parent(path)
    const node = this.#node(constants.S_IFLNK | 0o777, owner)
    node.target = target
    node.size = encodeName(target).length
    this.#insert(parent, name, node)
  }

  async readlink(path: string): Promise<string> {
    await this.#enter('readlink', path)
    return this.#walk(path).target
  }

  async link(existing: string, path: string): Promise<void> {
    await this.#enter('link', path)
    const node = this.#walk(existing)
    const [parent, name] = this.#parent(path)
    this.#insert(parent, name, node)
    node.nlink++
  }

  async unlink(path: string): Promise<void> {
    await this.#enter('unlink', path)
    const [parent, name] = this.#parent(path)
    const node = this.#walk(path)
    if (isDirectory(node)) throw new DfsError('isDirectory', path)
    parent.children.delete(name)
    node.nlink--
    touch(parent)
  }

  async rmdir(path: string): Promise<void> {
    await this.#enter('rmdir', path)
    const [parent, name] = this.#parent(path)
    const node = this.#directory(path)
    if (node.children.size > 0) throw new DfsError('notEmpty', path)
    parent.children.delete(name)
    parent.nlink--
    touch(parent)
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#enter('rename', `${from} -> ${to}`)
    const node = this.#walk(from)
    const [source, name] = this.#parent(from)
    const [target, newName] = this.#parent(to)
    const old = target.children.get(newName)
    if (old === node) return
    if (old !== undefined) this.#checkReplacing(node, old, to)
    source.children.delete(name)
    target.children.set(newName, node)
    if (old !== undefined) old.nlink--
    if (isDirectory(node)) {
      source.nlink--
      if (old === undefined) target.nlink++
    }
    touch(source)
    touch(target)
  }

  async chmod(target: Target, mode: number | ModeChange): Promise<void> {
    await this.#enter('chmod', String(target))
    const node = this.#target(target)
    const bits = typeof mode === 'number' ? mode : mode(node.mode & 0o7777)
    node.mode = (node.mode & constants.S_IFMT) | bits
    node.ctime = now()
  }

  async chown(target: Target, uid: number, gid: number): Promise<void> {
    await this.#enter('chown', String(target))
    const node = this.#target(target)
    if (uid !== -1) node.uid = uid
    if (gid !== -1) node.gid = gid
    node.ctime = now()
  }

  async utimens(target: Target, atime: bigint, mtime: bigint): Promise<void> {
    await this.#enter('utimens', String(target))
    Object.assign(this.#target(target), { atime, mtime, ctime: now() })
  }

  async getXattr(target: Target, name: string): Promise<Uint8Array> {
    await this.#enter('getXattr', String(target))
    const value = this.#target(target).xattrs.get(name)
    if (value === undefined) throw new DfsError('noAttribute', name)
    return value
  }

  async listXattrs(target: Target): Promise<string[]> {
    await this.#enter('listXattrs', String(target))
    return [...this.#target(target).xattrs.keys()]
  }

  async setXattr(target: Target, name: string, value: Uint8Array, mode: XattrMode): Promise<void> {
    await this.#enter('setXattr', String(target))
    const { xattrs } = this.#target(target)
    if (mode === 'create' && xattrs.has(name)) throw new DfsError('exists', name)
    if (mode === 'replace' && !xattrs.has(name)) throw new DfsError('noAttribute', name)
    xattrs.set(name, Uint8Array.from(value))
  }

  async removeXattr(target: Target, name: string): Promise<void> {
    await this.#enter('removeXattr', String(target))
    if (!this.#target(target).xattrs.delete(name)) throw new DfsError('noAttribute', name)
  }

  async statfs(): Promise<StoreSize> {
    await this.#enter('statfs', '/')
    return { totalBytes: 640e12, freeBytes: 320e12, inodes: this.#lastInode }
  }

  async close(): Promise<void> {
    await this.#enter('close', '/')
  }

  async #enter(operation: keyof FileSystem, subject: string): Promise<void> {
    await this.#enterNow(operation, subject)
  }

  #enterNow(operation: keyof FileSystem, subject: string): Promise<void> | undefined {
    this.calls.set(operation, (this.calls.get(operation) ?? 0) + 1)
    const wait = this.fault(operation, subject)
    return wait instanceof Promise ? wait : undefined
  }

  #node(asked: number, { uid, gid, umask = 0 }: Owner): Node {
    const mode = asked & ~umask
    const time = now()
    const isTree = (mode & constants.S_IFMT) === constants.S_IFDIR
    const times = { atime: time, mtime: time, ctime: time }
    const owned = { mode, nlink: isTree ? 2 : 1, uid, gid, rdev: 0, size: 0, ...times }
    const inode = ++this.#lastInode
    return {
      inode,
      ...owned,
      opens: 0,
      target: '',
      children: new Map(),
      blocks: new Map(),
      xattrs: new Map(),
    }
  }

  #walk(path: string): Node {
    let node = this.#root
    for (const name of path.split('/').filter((part) => part !== '')) {
      if (!isDirectory(node)) throw new DfsError('notDirectory', path)
      checkName(name)
      const child = node.children.get(name)
      if (child === undefined) throw new DfsError('notFound', path)
      node = child
    }
    return node
  }

  #target(target: Target): Node {
    return typeof target === 'string' ? this.#walk(target) : this.#file(target).node
  }

  #directory(path: string): Node {
    const node = this.#walk(path)
    if (!isDirectory(node)) throw new DfsError('notDirectory', path)
    return node
  }

  #parent(path: string): [Node, string] {
    const at = path.lastIndexOf('/')
    const name = path.slice(at + 1)
    checkName(name)
    return [this.#directory(path.slice(0, at)), name]
  }

  #insert(parent: Node, name: string, node: Node): void {
    if (parent.children.has(name)) throw new DfsError('exists', name)
    parent.children.set(name, node)
    touch(parent)
  }

  #checkReplacing(node: Node, old: Node, to: string): void {
    if (isDirectory(old) && !isDirectory(node)) throw new DfsError('isDirectory', to)
    if (!isDirectory(old) && isDirectory(node)) throw new DfsError('notDirectory', to)
    if (old.children.size > 0) throw new DfsError('notEmpty', to)
  }

  #opened(node: Node, flags: number): Handle {
    node.opens++
    this.#open.set(++this.#lastHandle, { node, append: (flags & constants.O_APPEND) !== 0 })
    return this.#lastHandle
  }

  #file(handle: Handle): OpenFile {
    const file = this.#open.get(handle)
    if (file === undefined) throw new DfsError('badHandle', `handle ${handle} is not open`)
    return file
  }

  #read(handle: Handle, into: Uint8Array, position: number): number {
    const { node } = this.#file(handle)
    const count = Math.max(0, Math.min(into.length, node.size - position))
    for (let done = 0; done < count;) {
      const at = position + done
      const start = at % blockBytes
      const piece = Math.min(count - done, blockBytes - start)
      const block = node.blocks.get(Math.floor(at / blockBytes))
      if (block === undefined) into.fill(0, done, done + piece)
      else into.set(block.subarray(start, start + piece), done)
      done += piece
    }
    return count
  }

  #write(handle: Handle, bytes: Uint8Array, position: number): number {
    const { node, append } = this.#file(handle)
    const from = append ? node.size : position
    for (let done = 0; done < bytes.length;) {
      const at = from + done
      const start = at % blockBytes
      const piece = Math.min(bytes.length - done, blockBytes - start)
      const index = Math.floor(at / blockBytes)
      const block = node.blocks.get(index) ?? Buffer.alloc(blockBytes)
      node.blocks.set(index, block)
      block.set(bytes.subarray(done, done + piece), start)
      done += piece
    }
    node.size = Math.max(node.size, from + bytes.length)
    touch(node)
    return bytes.length
  }
}

function entriesOf(node: Node): DirectoryEntry[] {
  return [...node.children].map(([name, child]) => ({ name, stat: toStat(child) }))
}

function toStat(node: Node): Stat {
  const { inode, mode, nlink, uid, gid, rdev, size, atime, mtime, ctime, xattrs } = node
  const blocks = node.blocks.size * (blockBytes / 512)
  const times = { atime, mtime, ctime }
  return { inode, mode, nlink, uid, gid, rdev, size, blocks, ...times, hasXattrs: xattrs.size > 0 }
}

function resize(node: Node, size: number): void {
  if (size > limits.fileBytesMax) throw new DfsError('fileTooLarge', String(size))
  for (const [index, block] of node.blocks) {
    const start = index * blockBytes
    if (start >= size) node.blocks.delete(index)
    else if (start + blockBytes > size) block.fill(0, size - start)
  }
  node.size = size
  touch(node)
}

function touch(node: Node): void {
  node.mtime = now()
  node.ctime = node.mtime
}

function checkName(name: string): void {
  if (encodeName(name).length > limits.nameBytesMax) throw new DfsError('nameTooLong', name)
}

function isDirectory(node: Node): boolean {
  return (node.mode & constants.S_IFMT) === constants.S_IFDIR
}

function now(): bigint {
  return BigInt(Date.now()) * 1_000_000n
}
