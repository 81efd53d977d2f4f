/**
 * What is known of the tree while this mount holds its lease: names, also those that do not exist,
 * inodes, and which directories are known whole. True, not just likely: nobody else changes the tree,
 * and every change of ours passes through here.
 *
 * An answer of the server is kept only if nothing it tells of was changed since it was asked for, and
 * the lease was held all the time. Changes that overlap on one name or inode leave it unknown.
 * Everything is forgotten with the lease. Pure; memory is bounded by entries and bytes.
 */
import { LRUCache } from 'lru-cache'
import type { Inode } from '../../schema/generated/common.ts'
import type { Lease, LeaseTerm } from '../client/lease.ts'
import type { Dentry } from './dentry-cache.ts'

/** Names known, about 1 KiB each with their keys. */
const NAMES_MAX = 32_768
/** Inodes known, and their bytes. */
const INODES_MAX = 65_536
const INODE_BYTES_MAX = 48 * 1_048_576
const INODE_BYTES = 640
/** Names in all directories that are known whole, about 100 bytes each. */
const LISTED_NAMES_MAX = 262_144
/** Names and inodes whose last change is remembered. */
const CHANGES_MAX = 65_536

export const ABSENT = Symbol('no such name')

/** When an answer was asked for. */
export interface Asked {
  readonly term: LeaseTerm | undefined
  readonly at: number
}

interface Running {
  count: number
  contended: boolean
}

const nameKey = (directory: number, name: string): string => `${directory}/${name}`

export class LeasedTree {
  readonly #lease: Pick<Lease, 'term' | 'fresh'>
  readonly #names = new LRUCache<string, Dentry | typeof ABSENT>({ max: NAMES_MAX })
  readonly #inodes = new LRUCache<number, Inode>({
    max: INODES_MAX,
    maxSize: INODE_BYTES_MAX,
    sizeCalculation: ({ inline }) => INODE_BYTES + inline.length,
  })
  readonly #listed = new LRUCache<number, Set<string>>({
    maxSize: LISTED_NAMES_MAX,
    sizeCalculation: (names) => names.size + 1,
  })
  readonly #changed = new LRUCache<string, number>({
    max: CHANGES_MAX,
    dispose: (at, _key, reason) => {
      if (reason === 'evict') this.#changedFloor = Math.max(this.#changedFloor, at)
    },
  })
  /** Changes that are not remembered one by one were not after this. */
  #changedFloor = 0
  readonly #running = new Map<string, Running>()
  #term: LeaseTerm | undefined
  #now = 0

  constructor(lease: Pick<Lease, 'term' | 'fresh'>) {
    this.#lease = lease
  }

  /** The lease under which answers may be given from here, if there is one at this moment. */
  get fresh(): LeaseTerm | undefined {
    const { fresh } = this.#lease
    if (fresh !== undefined) this.#enter(fresh)
    return fresh
  }

  /** What a name means; undefined when that is not known. */
  lookup(directory: number, name: string): Dentry | typeof ABSENT | undefined {
    if (this.fresh === undefined) return undefined
    const known = this.#names.get(nameKey(directory, name))
    if (known !== undefined) return known
    return this.#listed.get(directory)?.has(name) === false ? ABSENT : undefined
  }

  inode(inode: number): Inode | undefined {
    return this.fresh === undefined ? undefined : this.#inodes.get(inode)
  }

  /** A change of this inode is under way. */
  isChanging(inode: number): boolean {
    return this.#running.has(String(inode))
  }

  /** All names of a directory, when they are known. */
  names(directory: number): ReadonlySet<string> | undefined {
    return this.fresh === undefined ? undefined : this.#listed.get(directory)
  }

  /** To be called before a request whose answer is to be kept. */
  ask(): Asked {
    const { term } = this.#lease
    if (term !== undefined) this.#enter(term)
    return { term, at: ++this.#now }
  }

  learnName(asked: Asked, directory: number, name: string, dentry: Dentry | typeof ABSENT): void {
    const key = nameKey(directory, name)
    if (!this.#mayLearn(asked, key)) return
    this.#names.set(key, dentry)
    const listed = this.#listed.get(directory)
    if (listed === undefined || listed.has(name) === (dentry !== ABSENT)) return
    this.#listed.delete(directory)
  }

  learnInode(asked: Asked, inode: Inode): void {
    if (this.#mayLearn(asked, String(inode.inode))) this.#inodes.set(inode.inode, inode)
  }

  /** A listing that is complete. */
  learnNames(asked: Asked, directory: number, names: Set<string>): void {
    if (this.#mayLearn(asked, nameKey(directory, ''))) this.#listed.set(directory, names)
  }

  /** A change of names and inodes begins; until it ends they are as before. */
  change(names: readonly (readonly [number, string])[], inodes: readonly number[]): Change {
    const keys = [
      ...names.map(([directory, name]) => nameKey(directory, name)),
      ...inodes.map(String),
    ]
    for (const key of keys) {
      const running = this.#running.get(key)
      if (running === undefined) this.#running.set(key, { count: 1, contended: false })
      else {
        running.count++
        running.contended = true
      }
    }
    const asked = this.ask()
    return new Change((now) => this.#end(asked, { names, inodes, now }))
  }

  /** A file that only this mount knows was made, or is another by now. To be called while fresh. */
  made(directory: number, name: string, dentry: Dentry, inode: Inode): void {
    this.#setName(directory, name, dentry)
    this.#inodes.set(inode.inode, inode)
    for (const key of [nameKey(directory, name), nameKey(directory, ''), String(inode.inode)]) {
      this.#changed.set(key, ++this.#now)
    }
  }

  /** An inode that only this mount knows, or knows better. */
  put(inode: Inode): void {
    // What is not trusted at this moment may be again: it must not be what was before.
    if (this.fresh === undefined) this.#inodes.delete(inode.inode)
    else this.#inodes.set(inode.inode, inode)
    this.#changed.set(String(inode.inode), ++this.#now)
  }

  /** As the server has an inode that we changed, without its content: once we change it no more. */
  learnChanged(asked: Asked, inode: Inode): void {
    const known = this.#inodes.get(inode.inode)
    if (known === undefined || !this.#mayLearn(asked, String(inode.inode))) return
    this.#inodes.set(inode.inode, { ...inode, inline: known.inline })
  }

  /** What we believed to have changed is not so. */
  forgetAll(): void {
    this.#forgetAll()
    this.#changed.clear()
    this.#changedFloor = ++this.#now
  }

  /** A file that only this mount knew will never be. */
  forget(directory: number, name: string, inode: number): void {
    this.#forgetName(directory, name)
    this.#inodes.delete(inode)
  }

  #enter(term: LeaseTerm): void {
    if (this.#term === term) return
    this.#term = term
    this.#forgetAll()
  }

  #forgetAll(): void {
    this.#names.clear()
    this.#inodes.clear()
    this.#listed.clear()
  }

  #mayLearn({ term, at }: Asked, key: string): boolean {
    if (term === undefined || term !== this.#lease.term || term !== this.#term) return false
    return (this.#changed.get(key) ?? this.#changedFloor) < at
  }

  #end(
    { term }: Asked,
    {
      names,
      inodes,
      now,
    }: {
      names: readonly (readonly [number, string])[]
      inodes: readonly number[]
      now: After
    },
  ): void {
    const kept = term !== undefined && term === this.#lease.term && term === this.#term
    for (const [directory, name] of names) {
      const key = nameKey(directory, name)
      const dentry = now.names.get(key)
      const alone = this.#leave(key)
      if (kept && alone && dentry !== undefined) this.#setName(directory, name, dentry)
      else this.#forgetName(directory, name)
      this.#changed.set(key, ++this.#now)
      this.#changed.set(nameKey(directory, ''), this.#now)
    }
    for (const inode of inodes) {
      const after = now.inodes.get(inode)
      const alone = this.#leave(String(inode))
      if (kept && alone && after !== undefined) this.#inodes.set(inode, after)
      else this.#inodes.delete(inode)
      this.#changed.set(String(inode), ++this.#now)
    }
    for (const inode of now.forgotten) {
      this.#inodes.delete(inode)
      this.#changed.set(String(inode), ++this.#now)
    }
    if (kept && now.empty !== undefined) this.#listed.set(now.empty, new Set())
    if (kept && now.made !== undefined) this.#inodes.set(now.made.inode, now.made)
  }

  /** A change of this name or inode is over; false when another one overlapped it. */
  #leave(key: string): boolean {
    const running = this.#running.get(key)
    if (running === undefined) return true
    if (--running.count === 0) this.#running.delete(key)
    return !running.contended
  }

  #setName(directory: number, name: string, dentry: Dentry | typeof ABSENT): void {
    this.#names.set(nameKey(directory, name), dentry)
    const listed = this.#listed.get(directory)
    if (listed === undefined) return
    if (dentry === ABSENT) listed.delete(name)
    else listed.add(name)
    // Its size is another now.
    this.#listed.set(directory, listed)
  }

  #forgetName(directory: number, name: string): void {
    this.#names.delete(nameKey(directory, name))
    this.#listed.delete(directory)
  }
}

interface After {
  readonly names: Map<string, Dentry | typeof ABSENT>
  readonly inodes: Map<number, Inode>
  /** Inodes that turned out to have changed, too. */
  readonly forgotten: Set<number>
  /** An inode that did not exist before. */
  made: Inode | undefined
  /** A new directory. */
  empty: number | undefined
}

/** A change under way: what is known after it. What is not told is not known. */
export class Change {
  readonly #end: (after: After) => void
  readonly #after: After = {
    names: new Map(),
    inodes: new Map(),
    forgotten: new Set(),
    made: undefined,
    empty: undefined,
  }

  constructor(end: (after: After) => void) {
    this.#end = end
  }

  name(directory: number, name: string, dentry: Dentry | typeof ABSENT): void {
    this.#after.names.set(nameKey(directory, name), dentry)
  }

  inode(inode: Inode | undefined): void {
    if (inode !== undefined) this.#after.inodes.set(inode.inode, inode)
  }

  /** An inode that changed in a way that is not known. */
  forget(inode: number): void {
    this.#after.forgotten.add(inode)
  }

  /** An inode that came into being. */
  made(inode: Inode, isDirectory: boolean): void {
    this.#after.made = inode
    if (isDirectory) this.#after.empty = inode.inode
  }

  /** The change is over, whether it succeeded or not. */
  end(): void {
    this.#end(this.#after)
  }
}
