/**
 * Reading whole directories: because somebody asks for it, or because so many single names were asked
 * for that all of them at once is cheaper.
 */
import type { Inode } from '../../schema/generated/common.ts'
import type { ListResponse } from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { InodeKey } from '../crypto/inode-key.ts'
import type { DirectoryEntry } from './api.ts'
import type { Context } from './context.ts'
import { ABSENT } from './leased-tree.ts'
import type { OpenFiles } from './open-files.ts'
import { KIND, statOf, statOfDamaged } from './stat.ts'
import type { Asking, Tree } from './tree.ts'
import type { UnbornFiles } from './unborn-files.ts'

const NO_BYTES = new Uint8Array(0)
/** Entries of one page of a listing. */
const PAGE_ENTRIES = 512
/** Entries of the largest directory that is remembered whole. */
const NAMES_LEARNT_MAX = 65_536

/** A directory by number, with what opens its entries. */
interface Directory {
  readonly inode: number
  readonly key: InodeKey
}

/** A page that was asked for. */
interface AskedPage {
  readonly asking: Asking
  readonly response: Promise<ListResponse>
}

export class Listings {
  readonly #context: Context
  readonly #tree: Tree
  readonly #files: OpenFiles
  readonly #unborn: UnbornFiles

  constructor(context: Context, tree: Tree, files: OpenFiles, unborn: UnbornFiles) {
    this.#context = context
    this.#tree = tree
    this.#files = files
    this.#unborn = unborn
  }

  /** Entries page by page; a page that holds one that does not verify throws `notAuthentic`. */
  async *pages(path: string): AsyncGenerator<DirectoryEntry[]> {
    const found = await this.#tree.resolve(path)
    if (found.inode.attributes.kind !== KIND.directory) {
      throw new DfsError('notDirectory', `${path} is no directory`)
    }
    const directory = { inode: found.inode.inode, key: found.key }
    const known = this.#knownEntries(directory.inode)
    if (known !== undefined) {
      if (known.length > 0) yield known
      return
    }
    for await (const page of this.#read(directory, path)) {
      yield page
    }
  }

  /** Makes all names of a directory known, if the lease lasts. */
  async learn(directory: Directory, path: string): Promise<void> {
    const pages = this.#read(directory, path)
    while ((await pages.next()).done !== true);
  }

  /** The next page is under way while one is opened. */
  async *#read(directory: Directory, path: string): AsyncGenerator<DirectoryEntry[]> {
    const { leased } = this.#context
    await this.#unborn.settle()
    const whole = leased.ask()
    const names = new Set<string>()
    let after: Uint8Array = NO_BYTES
    let asked: AskedPage | undefined = this.#ask(directory, after)
    while (asked !== undefined) {
      const { asking } = asked
      const { entries, more }: ListResponse = await asked.response
      const last = entries.at(-1)
      asked = more && last !== undefined ? this.#ask(directory, last.token) : undefined
      // Whether it comes is of interest only when its turn has come.
      asked?.response.catch(() => undefined)
      const page: DirectoryEntry[] = []
      for (const listed of entries) {
        const token = Buffer.from(listed.token)
        if (Buffer.compare(token, after) <= 0) {
          throw new DfsError('notAuthentic', `${path}: its entries came out of order`)
        }
        after = token
        const entry = this.#entry(directory, { ...listed, token }, asking, path)
        page.push(entry)
        if (names.size < NAMES_LEARNT_MAX) names.add(entry.name)
      }
      if (page.length > 0) yield page
    }
    if (names.size < NAMES_LEARNT_MAX) leased.learnNames(whole, directory.inode, names)
  }

  #ask({ inode }: Directory, after: Uint8Array): AskedPage {
    const asking = this.#tree.ask()
    const request = { directory: inode, after, limit: PAGE_ENTRIES }
    return { asking, response: this.#context.session.read(methods.list, request) }
  }

  #entry(
    directory: Directory,
    { token, entry, inode }: { token: Buffer; entry: Uint8Array; inode?: Inode | undefined },
    asking: Asking,
    path: string,
  ): DirectoryEntry {
    if (inode === undefined) {
      const { name, kind } = directory.key.openEntry(token, entry)
      const said = 'the server says that the inode of an entry is damaged'
      this.#context.log.error({ path, name }, said)
      return { name, stat: statOfDamaged(kind) }
    }
    const { name } = this.#open(directory, { token, entry, inode }, asking, path)
    return { name, stat: this.#statOf(inode) }
  }

  #open(
    directory: Directory,
    listed: { token: Buffer; entry: Uint8Array; inode: Inode },
    asking: Asking,
    path: string,
  ): { readonly name: string } {
    try {
      return this.#tree.open(directory, undefined, listed, asking)
    } catch (error) {
      if (error instanceof DfsError) {
        const fields = { path, inode: listed.inode.inode, cause: error.message }
        this.#context.log.error(fields, 'a bad directory entry')
      }
      throw error
    }
  }

  /** All entries of a directory, when they are known under the lease. */
  #knownEntries(directory: number): DirectoryEntry[] | undefined {
    const { leased } = this.#context
    const names = leased.names(directory)
    if (names === undefined) return undefined
    const entries: DirectoryEntry[] = []
    for (const name of names) {
      const dentry = leased.lookup(directory, name)
      const inode =
        dentry === undefined || dentry === ABSENT ? undefined : leased.inode(dentry.inode)
      if (inode === undefined) return undefined
      entries.push({ name, stat: this.#statOf(inode) })
    }
    return entries
  }

  #statOf(inode: Inode): DirectoryEntry['stat'] {
    return statOf(inode, this.#files.file(inode.inode)?.file.localChanges)
  }
}
