/**
 * Files that were removed, or replaced by a rename, while this mount has them open.
 *
 * libfuse wants such a file to keep a name and renames it to `.fuse_hidden` and 16 hex digits. Our file
 * system keeps an open file without any name, so no such name ever exists in it: the rename is
 * understood as what it stands for, and the hidden name leads to the open handle.
 *
 * When it stands for a replacement, the next request of the same thread renames the new file over the
 * old one, and that must be one step for everybody else. As a removal looks the same so far, it is
 * put off for a moment; whoever asks for that name, or for its directory, waits.
 */
import { posix } from 'node:path'
import { DfsError } from '../../schema/wire/status.ts'
import type { Log } from '../../schema/rpc/api.ts'
import type { FileSystem, Handle } from '../vfs/api.ts'
import type { Request } from './binding.ts'

/**
 * How long a removal waits to turn out a replacement, ms: libfuse needs a tenth of one, and longer when its
 * thread does not get the processor.
 */
const replacementMs = 10

/**
 * How long a closed file may still count as open with libfuse, ms: close(2) does not wait for its
 * release, and libfuse counts after our answer.
 */
const closingMs = 5_000
/** Paths of closing files remembered. */
const closingMax = 10_000

const hiddenName = /^\.fuse_hidden[0-9a-f]{16}$/

interface Removal {
  readonly path: string
  /** The libfuse thread that asked; its next request tells what it was. */
  readonly thread: Request
  /** Makes it a replacement; undefined once that is decided either way. */
  replace: ((renamed: Promise<void>) => void) | undefined
  done: Promise<void>
}

/** True for a name that libfuse keeps for itself. */
export function isHidden(path: string): boolean {
  // The cheap test first: this runs for each request with a path.
  return path.includes('/.fuse_hidden') && hiddenName.test(posix.basename(path))
}

/** The open files of a mount, and those among them without a name. */
export class HiddenFiles {
  readonly #fs: FileSystem
  readonly #log: Log
  /** Open handles with their inode, undefined until it was asked for. Bounded by what is open. */
  readonly #open = new Map<Handle, number | undefined>()
  /** Hidden name to inode. Bounded by what is open. */
  readonly #hidden = new Map<string, number>()
  /** Paths of files just closed, with when, oldest first. */
  readonly #closing = new Map<string, number>()
  readonly #removals = new Map<string, Removal>()

  constructor(fs: FileSystem, log: Log) {
    this.#fs = fs
    this.#log = log
  }

  opened(handle: Handle): void {
    this.#open.set(handle, undefined)
  }

  /** Notes what an open file's attributes say, so that nobody need ask again. */
  learned(handle: Handle, inode: number): void {
    if (this.#open.has(handle)) this.#open.set(handle, inode)
  }

  /** `path` is the file's name now. */
  released(handle: Handle, path: string): void {
    this.#open.delete(handle)
    const now = performance.now()
    for (const [oldest, when] of this.#closing) {
      if (now - when < closingMs && this.#closing.size < closingMax) break
      this.#closing.delete(oldest)
    }
    this.#closing.delete(path)
    this.#closing.set(path, now)
  }

  /** An open handle of the file with this hidden name. Throws DfsError `notFound`. */
  handleOf(path: string): Handle {
    const inode = this.#hidden.get(posix.basename(path))
    if (inode !== undefined) {
      for (const [handle, its] of this.#open) if (its === inode) return handle
    }
    throw new DfsError('notFound', `${path}: libfuse's name of a file that is not open`)
  }

  /** Gives an open file its hidden name, and removes it unless it is about to be replaced. */
  async hide(path: string, hidden: string, thread: Request): Promise<void> {
    await this.settled(path)
    const { inode } = await this.#fs.stat(path)
    if (!(await this.#isOpen(inode)) && !this.#closing.has(path)) {
      throw new DfsError('notPermitted', `${hidden}: this name is libfuse's; choose another`)
    }
    this.#hidden.set(posix.basename(hidden), inode)
    const removal: Removal = { path, thread, replace: undefined, done: Promise.resolve() }
    removal.done = this.#remove(removal)
    this.#removals.set(path, removal)
  }

  /** Forgets a hidden name: the file was closed. */
  forget(path: string): void {
    this.#hidden.delete(posix.basename(path))
  }

  /** Renames; over a file that was just hidden by the same thread, in one step. */
  async rename(from: string, to: string, thread: Request): Promise<void> {
    const removal = this.#removals.get(to)
    if (removal?.thread !== thread || removal.replace === undefined) {
      await this.settledBelow(from)
      await this.settledBelow(to)
      await this.#fs.rename(from, to)
      return
    }
    const renamed = this.#fs.rename(from, to)
    removal.replace(renamed)
    await renamed
  }

  /**
   * Waits until `path`, and what it says of its own entries, is what the last answered request left;
   * undefined when it is already.
   */
  settled(path: string): Promise<void> | undefined {
    // The cheap test first: this runs for each request with a path.
    if (this.#removals.size === 0) return undefined
    return this.#whenDone((removed) => removed === path || posix.dirname(removed) === path)
  }

  /** As `settled`, for `path` and all below it. */
  async settledBelow(path: string): Promise<void> {
    const below = path === '/' ? path : `${path}/`
    await this.#whenDone((removed) => removed === path || removed.startsWith(below))
  }

  #whenDone(concerns: (removed: string) => boolean): Promise<void> | undefined {
    const waits: Promise<void>[] = []
    for (const { path, done } of this.#removals.values()) if (concerns(path)) waits.push(done)
    return waits.length === 0 ? undefined : Promise.all(waits).then(() => undefined)
  }

  async #remove(removal: Removal): Promise<void> {
    const { path } = removal
    let replacement: Promise<void> | undefined
    await new Promise<void>((resolve) => {
      // After the poll, a request that libfuse sent in time has been seen, however late the timer was.
      const timer = setTimeout(() => setImmediate(resolve), replacementMs)
      removal.replace = (renamed) => {
        clearTimeout(timer)
        removal.replace = undefined
        replacement = renamed
        resolve()
      }
    })
    removal.replace = undefined
    try {
      await (replacement ?? this.#fs.unlink(path))
    } catch (error) {
      // The thread that replaces reports its own failure.
      if (replacement === undefined && !(error instanceof DfsError && error.code === 'notFound')) {
        this.#log.error({ path, err: error }, 'an open file that was removed still has its name')
      }
    } finally {
      this.#removals.delete(path)
    }
  }

  async #isOpen(inode: number): Promise<boolean> {
    let found = false
    for (const [handle, known] of this.#open) {
      const its = known ?? (await this.#inodeOf(handle))
      found ||= its === inode
    }
    return found
  }

  async #inodeOf(handle: Handle): Promise<number | undefined> {
    try {
      const { inode } = await this.#fs.statHandle(handle)
      this.learned(handle, inode)
      return inode
    } catch (error) {
      // Closed meanwhile, or one that cannot be asked: not the file that is being removed.
      this.#log.debug({ handle, err: error }, 'no attributes of an open file')
      return undefined
    }
  }
}
