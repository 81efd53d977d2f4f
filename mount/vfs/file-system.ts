/**
 * The file system over one client: paths and handles, POSIX semantics. Each method ends within the
 * deadlines of the requests it makes. Closing it leaves the client open, for its owner to close.
 */
import { constants } from 'node:fs'
import type { Inode } from '../../schema/generated/common.ts'
import { methods } from '../../schema/methods.ts'
import type { Log } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { ChunkClient, MetadataSession } from '../client/api.ts'
import { FreshSession } from '../freshness/fresh-session.ts'
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
} from './api.ts'
import type { AttributeChange } from './attribute-changes.ts'
import { saveAll, settleNames } from './closing.ts'
import { Compactor } from './compaction.ts'
import type { Context } from './context.ts'
import { seekData, seekHole } from './data-ranges.ts'
import { DentryCache } from './dentry-cache.ts'
import { DeferredNames } from './deferred-names.ts'
import { DirectoryOperations, isBelow } from './directory-operations.ts'
import { InodeChanges } from './inode-changes.ts'
import { InodeNumbers } from './inode-numbers.ts'
import { Listings } from './listings.ts'
import { newContext } from './new-context.ts'
import { OpenFiles, type OpenHandle } from './open-files.ts'
import { SiblingReadAhead } from './sibling-read-ahead.ts'
import { KIND, kindOfMode, statOf } from './stat.ts'
import { Tree, type Found } from './tree.ts'
import { UnbornFiles } from './unborn-files.ts'

const ACCESS_MODE = constants.O_WRONLY | constants.O_RDWR
const CACHE_BYTES_DEFAULT = 256 * 1_024 * 1_024
/** Written data is committed after this long, also when nobody asks, as disks do it. */
const SAVE_AFTER_MS = 30_000
const SAVE_CHECK_MS = 5_000

export interface FileSystemOptions {
  readonly client: { readonly session: MetadataSession; readonly chunks: ChunkClient }
  readonly log: Log
  /** Bytes of opened blocks kept for reading; 256 MiB by default. */
  readonly cacheBytes?: number
  /** Where this device remembers which tree it has seen: its profile's folder. */
  readonly stateDir?: string
  /** Refuses every change with `readOnly`. */
  readonly readOnly?: boolean
}

/**
 * Opens the user's tree. Throws `rolledBack` when it is not the one that this device has seen; and when
 * its root cannot be had or does not verify.
 */
export async function openFileSystem(options: FileSystemOptions): Promise<FileSystem> {
  const { client, log, stateDir } = options
  const session = await FreshSession.open({ session: client.session, log, stateDir })
  const fileSystem = new SealedFileSystem(options, session)
  await fileSystem.stat('/')
  return fileSystem
}

class SealedFileSystem implements FileSystem {
  readonly #context: Context
  readonly #tree: Tree
  readonly #files: OpenFiles
  readonly #unborn: UnbornFiles
  readonly #directories: DirectoryOperations
  readonly #listings: Listings
  readonly #changes: InodeChanges
  readonly #siblings: SiblingReadAhead
  readonly #compactor = new Compactor()
  readonly #readOnly: boolean
  readonly #saving: NodeJS.Timeout
  #yielding: () => Promise<void> = async () => undefined
  #closed = false

  constructor({ client, log, cacheBytes, readOnly }: FileSystemOptions, session: FreshSession) {
    const { chunks } = client
    this.#context = newContext(session, {
      chunks,
      log,
      cacheBytes: cacheBytes ?? CACHE_BYTES_DEFAULT,
    })
    const { journal } = this.#context
    this.#readOnly = readOnly ?? false
    this.#tree = new Tree(this.#context, new DentryCache(), {
      settle: async (inode) =>
        this.#unborn.settle(inode === undefined ? undefined : ({ id }) => id === inode),
      learn: async (directory, path) => this.#listings.learn(directory, path),
    })
    const numbers = new InodeNumbers(session, log)
    this.#unborn = new UnbornFiles(this.#context, this.#tree, numbers)
    session.lease.onRecall(async () => {
      const settled = this.#unborn.settle().then(() => journal.settle())
      await Promise.all([settled, session.tellHolds(), this.#yielding()])
    })
    this.#files = new OpenFiles(this.#context, this.#compactor, this.#unborn)
    const parts = [this.#context, this.#tree, this.#files, this.#unborn] as const
    const deferred = new DeferredNames(this.#context, this.#tree, this.#files, numbers)
    this.#directories = new DirectoryOperations(...parts, deferred)
    this.#listings = new Listings(...parts)
    this.#changes = new InodeChanges(...parts)
    this.#siblings = new SiblingReadAhead(this.#context, this.#tree, this.#files)
    this.#saving = setInterval(() => {
      void this.#files.saveOlderThan(SAVE_AFTER_MS)
    }, SAVE_CHECK_MS)
    this.#saving.unref()
  }

  get soleUse(): object | undefined {
    return this.#context.leased.fresh
  }

  onYield(yielding: () => Promise<void>): void {
    this.#yielding = yielding
  }

  identity(handle: Handle): Identity {
    const { inode } = this.#files.get(handle).file.committed
    return {
      inode: inode.inode,
      nlink: inode.nlink,
      failures: this.#context.givenUp.count,
    }
  }

  async stat(path: string): Promise<Stat> {
    const { inode } = await this.#tree.resolve(path)
    return this.#statOf(inode)
  }

  async statHandle(handle: Handle): Promise<Stat> {
    const { file } = this.#files.get(handle)
    await file.refreshed()
    return statOf(file.committed.inode, file.localChanges)
  }

  async list(path: string): Promise<DirectoryEntry[]> {
    const entries: DirectoryEntry[] = []
    for await (const page of this.#listings.pages(path)) entries.push(...page)
    return entries
  }

  listPages(path: string): AsyncIterable<DirectoryEntry[]> {
    return this.#listings.pages(path)
  }

  async open(path: string, flags: number): Promise<Handle> {
    if ((flags & (constants.O_WRONLY | constants.O_RDWR | constants.O_TRUNC)) !== 0) {
      this.#refuseReadOnly()
    }
    const found = await this.#tree.resolve(path, true)
    const handle = await this.#openFound(found, path, flags)
    if ((flags & ACCESS_MODE) === constants.O_RDONLY) this.#siblings.opened(found, path)
    return handle
  }

  async create(path: string, mode: number, flags: number, owner: Owner): Promise<Handle> {
    this.#refuseReadOnly()
    try {
      const unborn = await this.#createUnborn(path, mode, flags, owner)
      if (unborn !== undefined) return unborn
      const from = { kind: KIND.file, mode, owner, hold: true }
      const found = await this.#directories.create(path, from)
      return await this.#openFound(found, path, flags)
    } catch (error) {
      const exists = error instanceof DfsError && error.code === 'exists'
      if (!exists || (flags & constants.O_EXCL) !== 0) throw error
      return this.open(path, flags)
    }
  }

  read(handle: Handle, into: Uint8Array, position: number): number | Promise<number> {
    this.#context.freshness.requireTree()
    const open = this.#files.get(handle)
    if (!open.readable) throw new DfsError('badHandle', `handle ${handle} is not open for reading`)
    return open.reader.read(into, position, open.ahead)
  }

  async seekData(handle: Handle, position: number): Promise<number | undefined> {
    this.#context.freshness.requireTree()
    return seekData(this.#files.get(handle).file, position)
  }

  async seekHole(handle: Handle, position: number): Promise<number | undefined> {
    this.#context.freshness.requireTree()
    return seekHole(this.#files.get(handle).file, position)
  }

  write(handle: Handle, bytes: Uint8Array, position: number): number | Promise<number> {
    return this.#files.write(this.#writable(handle), bytes, position)
  }

  async truncateHandle(handle: Handle, size: number): Promise<void> {
    this.#writable(handle).file.resize(size)
  }

  async fsync(handle: Handle): Promise<void> {
    await this.#files.save(this.#files.get(handle))
    await this.fsyncDirectory()
  }

  async fsyncDirectory(): Promise<void> {
    const { journal } = this.#context
    await journal.settle()
    journal.report()
  }

  async flush(handle: Handle): Promise<void> {
    await this.#files.save(this.#files.get(handle))
  }

  async release(handle: Handle): Promise<void> {
    await this.#files.release(handle)
  }

  async truncate(path: string, size: number): Promise<void> {
    const handle = await this.open(path, constants.O_WRONLY)
    try {
      await this.truncateHandle(handle, size)
    } finally {
      await this.release(handle)
    }
  }

  async mkdir(path: string, mode: number, owner: Owner): Promise<void> {
    this.#refuseReadOnly()
    await this.#directories.mkdir(path, mode, owner)
  }

  async mknod(path: string, mode: number, rdev: number, owner: Owner): Promise<void> {
    this.#refuseReadOnly()
    const kind = kindOfMode(mode) ?? KIND.file
    if (kind === KIND.directory || kind === KIND.symlink) {
      throw new DfsError('invalidArgument', `mknod makes no ${mode.toString(8)}`)
    }
    await this.#directories.create(path, { kind, mode, owner, rdev })
  }

  async symlink(target: string, path: string, owner: Owner): Promise<void> {
    this.#refuseReadOnly()
    await this.#directories.symlink(target, path, owner)
  }

  async readlink(path: string): Promise<string> {
    return this.#directories.readlink(path)
  }

  async link(existing: string, path: string): Promise<void> {
    this.#refuseReadOnly()
    await this.#directories.link(existing, path)
  }

  async unlink(path: string): Promise<void> {
    this.#refuseReadOnly()
    await this.#directories.remove(path, false)
  }

  async rmdir(path: string): Promise<void> {
    this.#refuseReadOnly()
    await this.#directories.remove(path, true)
  }

  async rename(from: string, to: string): Promise<void> {
    this.#refuseReadOnly()
    if (isBelow(from, to)) {
      await this.#tree.resolve(from)
      throw new DfsError('wouldLoop', `${from} cannot move below itself`)
    }
    await this.#directories.rename(from, to)
  }

  async chmod(target: Target, mode: number | ModeChange): Promise<void> {
    await this.#change(target, { mode })
  }

  async chown(target: Target, uid: number, gid: number): Promise<void> {
    await this.#change(target, {
      ...(uid === -1 ? {} : { uid }),
      ...(gid === -1 ? {} : { gid }),
    })
  }

  async utimens(target: Target, atime: bigint, mtime: bigint): Promise<void> {
    await this.#change(target, { atime, mtime })
  }

  async getXattr(target: Target, name: string): Promise<Uint8Array> {
    return this.#changes.getXattr(target, name)
  }

  async listXattrs(target: Target): Promise<string[]> {
    return this.#changes.listXattrs(target)
  }

  async setXattr(target: Target, name: string, value: Uint8Array, mode: XattrMode): Promise<void> {
    this.#refuseReadOnly()
    await this.#changes.setXattr(target, name, value, mode)
  }

  async removeXattr(target: Target, name: string): Promise<void> {
    this.#refuseReadOnly()
    await this.#changes.removeXattr(target, name)
  }

  async statfs(): Promise<StoreSize> {
    return this.#context.session.read(methods.statfs, {})
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#saving)
    this.#compactor.close()
    await saveAll(this.#files)
    await settleNames(this.#context.journal, this.#context.log)
    this.#files.releaseAll()
    await this.#context.freshness.close()
    this.#context.cache.clear()
  }

  /** A new file for writing, when it need not be made at the server yet. */
  async #createUnborn(
    path: string,
    mode: number,
    flags: number,
    owner: Owner,
  ): Promise<Handle | undefined> {
    // Who only reads never flushes: the file must be there when it was made.
    if ((flags & (constants.O_WRONLY | constants.O_RDWR)) === 0) return undefined
    let handle: Handle | undefined
    await this.#unborn.make(path, { mode, owner }, (found) => {
      handle = this.#files.open(found, path, flags)
      return this.#files.get(handle).file
    })
    return handle
  }

  async #openFound(found: Found, path: string, flags: number): Promise<Handle> {
    const { kind } = found.inode.attributes
    try {
      if (kind === KIND.directory) throw new DfsError('isDirectory', `${path} is a directory`)
      if (kind !== KIND.file) throw new DfsError('notSupported', `${path} is no regular file`)
      const handle = this.#files.open(found, path, flags)
      if ((flags & constants.O_TRUNC) !== 0) {
        const { file } = this.#files.get(handle)
        if (file.size > 0) file.resize(0)
      }
      return handle
    } catch (error) {
      this.#context.session.release(found.inode.inode)
      if (error instanceof DfsError && error.code === 'notAuthentic') {
        this.#context.verifier.refused(path, error)
      }
      throw error
    }
  }

  async #change(target: Target, change: AttributeChange): Promise<void> {
    this.#refuseReadOnly()
    await this.#changes.change(target, change)
  }

  #writable(handle: Handle): OpenHandle {
    const open = this.#files.get(handle)
    if (!open.writable) throw new DfsError('badHandle', `handle ${handle} is not open for writing`)
    return open
  }

  /** The stat of an inode that an answer just told of. */
  #statOf(inode: Inode): Stat {
    const open = this.#files.file(inode.inode)
    if (open === undefined) return statOf(inode)
    // What the server does not know yet, the file itself knows best.
    if (open.file.birth === undefined) open.file.committed.adopt(inode)
    return statOf(open.file.committed.inode, open.file.localChanges)
  }

  #refuseReadOnly(): void {
    if (this.#readOnly) throw new DfsError('readOnly', 'this file system was opened read-only')
  }
}
