/**
 * Reading ahead from file to file: who reads some small files of a directory mostly reads the others, and
 * one after the other each costs two round trips.
 *
 * Under the lease, once two small files of a directory were opened for reading (or one, when that was of
 * use in other directories), the next ones in the order of the listing are fetched into the caches, many at
 * a time. At most {@link AHEAD_FILES_MAX} that
 * nobody has opened yet: a reader with another order in mind gets no more than these.
 */
import { LRUCache } from 'lru-cache'
import type { Inode } from '../../schema/generated/common.ts'
import type { Context } from './context.ts'
import { ABSENT } from './leased-tree.ts'
import type { OpenFiles } from './open-files.ts'
import { KIND } from './stat.ts'
import type { Found, Tree } from './tree.ts'

/** Files opened in a directory before others are fetched. */
const OPENED_MIN = 2
/** Bytes of the largest file that is fetched whole. */
const FILE_BYTES_MAX = 131_072
/** Files of one directory that are fetched and not opened yet. */
const AHEAD_FILES_MAX = 16
/** Files that are being fetched, of all directories. */
const UNDER_WAY_MAX = 16
/** Fetched files that say something about the readers, and after how many the older ones count half. */
const LATELY_MIN = 32
const LATELY_MAX = 512
/** Directories whose readers are remembered. */
const DIRECTORIES_MAX = 256

interface Reading {
  opened: number
  /** Inodes that were fetched and not opened yet. */
  readonly ahead: Set<number>
  readonly names: Iterator<string>
}

export class SiblingReadAhead {
  readonly #context: Pick<Context, 'leased' | 'log'>
  readonly #tree: Pick<Tree, 'knownDirectoryOf'>
  readonly #files: Pick<OpenFiles, 'isKnown' | 'readAhead'>
  readonly #readings = new LRUCache<number, Reading>({ max: DIRECTORIES_MAX })
  #underWay = 0
  /** Files fetched, and those of them that were opened then: lately. */
  #fetched = 0
  #used = 0

  constructor(
    context: Pick<Context, 'leased' | 'log'>,
    tree: Pick<Tree, 'knownDirectoryOf'>,
    files: Pick<OpenFiles, 'isKnown' | 'readAhead'>,
  ) {
    this.#context = context
    this.#tree = tree
    this.#files = files
  }

  /** A file was opened for reading; returns at once. */
  opened({ inode }: Found, path: string): void {
    if (!isWorthFetching(inode)) return
    const directory = this.#tree.knownDirectoryOf(path)
    if (directory === undefined) return
    const reading = this.#readings.get(directory) ?? this.#begin(directory)
    if (reading === undefined) return
    if (reading.ahead.delete(inode.inode)) this.#used++
    reading.opened++
    // In batches: many that are asked for together cost less than one after the other.
    if ((reading.opened < OPENED_MIN && !this.#isOfUse) || reading.ahead.size > AHEAD_FILES_MAX / 2)
      return
    const folder = path.slice(0, path.lastIndexOf('/') + 1)
    while (reading.ahead.size < AHEAD_FILES_MAX && this.#underWay < UNDER_WAY_MAX) {
      const next = reading.names.next()
      if (next.done === true) return
      const found = this.#unread(directory, next.value)
      if (found === undefined) continue
      reading.ahead.add(found.inode.inode)
      this.#fetch(found, folder + next.value)
    }
  }

  #begin(directory: number): Reading | undefined {
    const names = this.#context.leased.names(directory)
    if (names === undefined) return undefined
    const reading = { opened: 0, ahead: new Set<number>(), names: names.values() }
    this.#readings.set(directory, reading)
    return reading
  }

  /** What a name means, if that is a small file that nobody has read. */
  #unread(directory: number, name: string): Found | undefined {
    const { leased } = this.#context
    const dentry = leased.lookup(directory, name)
    if (dentry === undefined || dentry === ABSENT || dentry.kind !== KIND.file) return undefined
    const inode = leased.inode(dentry.inode)
    if (inode === undefined || !isWorthFetching(inode) || leased.isChanging(inode.inode)) {
      return undefined
    }
    return this.#files.isKnown(inode.inode) ? undefined : { inode, key: dentry.key }
  }

  /** Lately most of what was fetched was opened then: so it will be in the next directory. */
  get #isOfUse(): boolean {
    return this.#fetched >= LATELY_MIN && this.#used > this.#fetched / 2
  }

  #fetch(found: Found, path: string): void {
    this.#underWay++
    if (++this.#fetched >= LATELY_MAX) {
      this.#fetched /= 2
      this.#used /= 2
    }
    this.#files
      .readAhead(found, path)
      .catch((error: unknown) => {
        // Whoever wants it will ask again, and be told.
        this.#context.log.debug({ err: error, path }, 'a file could not be read ahead')
      })
      .finally(() => {
        this.#underWay--
      })
  }
}

/** Small, and not in its inode already. */
const isWorthFetching = ({ attributes: { size }, inline }: Inode): boolean =>
  size > 0 && size <= FILE_BYTES_MAX && inline.length === 0
