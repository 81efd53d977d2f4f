/**
 * Files that only this mount knows: made under the lease of the tree, and sent to the server when
 * they are closed or synced, with their content, in one request.
 *
 * A file stays unborn only while a handle for writing is open on it and nothing is done to it but
 * writing, reading, and changing its attributes; before anything else about the tree is asked or
 * changed that could touch it, {@link UnbornFiles.settle} sends it. What was never closed or synced
 * is lost with the process, as with any file system.
 */
import type { Attributes, Inode } from '../../schema/generated/common.ts'
import type { BirthChange } from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { LeaseTerm } from '../client/lease.ts'
import { InodeKey } from '../crypto/inode-key.ts'
import type { Context } from './context.ts'
import type { InodeNumbers } from './inode-numbers.ts'
import { ABSENT } from './leased-tree.ts'
import type { NewOwnerAndMode } from './made-in.ts'
import { newInode, nowNs } from './new-inode.ts'
import type { SharedFile } from './shared-file.ts'
import { KIND } from './stat.ts'
import type { Found, Tree } from './tree.ts'

const NO_BYTES = new Uint8Array(0)
/** Files that may be unborn at once: more are made at the server. */
const UNBORN_MAX = 1_024

/** What a file's birth needs beside the file. */
export interface Birth {
  readonly term: LeaseTerm
  readonly parent: number
  readonly name: string
  readonly token: Buffer
  readonly entry: Buffer
  /** Nanoseconds; 0 for when it is born. */
  atime: bigint
  /** Set while it is under way. */
  running: Promise<void> | undefined
}

/** Content that a file is born with. */
export interface BirthContent {
  /** Sealed, of version 1. */
  readonly attributes: Attributes
  readonly inline: Uint8Array
  /** Of the first window. */
  readonly patch: Uint8Array
  /** Makes it the file's committed content, once `inode` has it. */
  readonly adopt: (inode: Inode) => void
}

/** What the server says of a file that was born. */
interface Born {
  readonly inode: Inode
  readonly parent?: Inode | undefined
}

export class UnbornFiles {
  readonly #context: Context
  readonly #tree: Tree
  readonly #numbers: InodeNumbers
  readonly #files = new Set<SharedFile>()

  constructor(context: Context, tree: Tree, numbers: InodeNumbers) {
    this.#context = context
    this.#tree = tree
    this.#numbers = numbers
  }

  /**
   * Makes a regular file that only this mount knows, and gives it to `open`. False when it must be
   * made at the server. Throws `exists`, and what finding the directory or opening throws.
   */
  async make(
    path: string,
    from: NewOwnerAndMode,
    open: (found: Found) => SharedFile,
  ): Promise<boolean> {
    const { leased } = this.#context
    const { fresh } = leased
    if (fresh === undefined || this.#files.size >= UNBORN_MAX) return false
    const { directory, name } = await this.#tree.parentOf(path)
    const parent = directory.inode.inode
    const soon = this.#context.acls.madeIn(directory, KIND.file, from, path)
    const made = soon instanceof Promise ? await soon : soon
    // Births bring no extended attributes.
    if (made.acls !== undefined) return false
    if (leased.lookup(parent, name) === undefined) await this.#refuseExisting(path)
    const known = leased.lookup(parent, name)
    if (known === undefined) return false
    if (known !== ABSENT) throw new DfsError('exists', `${path} exists`)
    const term = leased.fresh
    const inode = this.#numbers.take()
    if (term !== fresh || inode === undefined) return false
    // From here on nothing is waited for: a recall finds the file, or comes before it.
    const key = InodeKey.generate()
    const { token, entry } = directory.key.sealEntry(name, { kind: KIND.file, key })
    const found = { inode: newInode(inode, key, KIND.file, made), key }
    const file = open(found)
    file.birth = { term: fresh, parent, name, token, entry, atime: 0n, running: undefined }
    file.changedSinceMs = Date.now()
    this.#files.add(file)
    leased.made(parent, name, { token, entry, kind: KIND.file, inode, key }, found.inode)
    this.#patchParent(parent, found.inode.ctime)
    return true
  }

  /**
   * Sends a file to the server, with `content` unless it is on its way already; resolves when it is born. Throws
   * why it cannot be: `staleLease`, `exists`, `notFound` (its directory is gone), `quotaExceeded`, …
   */
  async bear(file: SharedFile, content?: BirthContent): Promise<void> {
    const { birth } = file
    if (birth === undefined) return
    birth.running ??= this.#bear(file, birth, content).finally(() => {
      birth.running = undefined
    })
    await birth.running
  }

  /** Sends every unborn file that `of` selects; failures are left for their handles to report. */
  async settle(of: (file: SharedFile) => boolean = () => true): Promise<void> {
    if (this.#files.size === 0) return
    const selected = [...this.#files].filter((file) => {
      const { birth } = file
      // What was lost with its lease would be refused again and again.
      return birth !== undefined && birth.term.state !== 'lost' && of(file)
    })
    await Promise.all(
      selected.map(async (file) =>
        this.bear(file).catch((error: unknown) => {
          const fields = { err: error, inode: file.id, path: file.path }
          this.#context.log.debug(fields, 'an unborn file could not be sent yet')
        }),
      ),
    )
  }

  /** Changes attributes of an unborn file, which travel with its birth. */
  change(file: SharedFile, attributes: Omit<Attributes, 'seal'>, atime: bigint | undefined): void {
    const { birth, committed } = file
    if (birth === undefined) return
    if (atime !== undefined) birth.atime = atime
    const inode = {
      ...committed.inode,
      attributes: committed.key.sealAttributes(attributes),
      atime: atime ?? committed.inode.atime,
      ctime: nowNs(),
    }
    committed.adopt(inode)
    this.#context.leased.put(inode)
  }

  /** The last handle of a file that could not be born is gone. */
  drop(file: SharedFile): void {
    const { birth } = file
    if (birth === undefined) return
    this.#files.delete(file)
    this.#context.leased.forget(birth.parent, birth.name, file.id)
  }

  async #bear(file: SharedFile, birth: Birth, content: BirthContent | undefined): Promise<void> {
    const { session, verifier, leased } = this.#context
    const { inode, key } = file.committed
    const { attributes } = content ?? inode
    const { inline = NO_BYTES, patch = NO_BYTES } = content ?? {}
    const started = verifier.start()
    const change = leased.change([[birth.parent, birth.name]], [birth.parent, inode.inode])
    try {
      const { parent, token, entry, atime } = birth
      const answer = await this.#send(file, birth, {
        inode: inode.inode,
        parent,
        token,
        entry,
        attributes,
        inline,
        patch,
        hold: true,
        atime,
      })
      session.held(inode.inode)
      file.birth = undefined
      this.#files.delete(file)
      verifier.verify(answer.inode, key, started, file.path)
      const born = { ...answer.inode, inline }
      if (content === undefined) file.committed.adopt(born)
      else content.adopt(born)
      change.name(parent, birth.name, { token, entry, kind: KIND.file, inode: inode.inode, key })
      change.inode(born)
      change.inode(answer.parent)
    } finally {
      change.end()
    }
  }

  /** By itself, or behind the changes of names that are held back. */
  #send(file: SharedFile, { term }: Birth, birth: BirthChange): Promise<Born> {
    const { session, journal } = this.#context
    if (journal.idle) {
      return session.mutate(methods.birth, {
        ...birth,
        terse: true,
        // Read when it is sent, at each attempt: the lease may end in good order in between.
        get lease() {
          return term.named
        },
      })
    }
    const born = new Promise<Born>((resolve, reject) => {
      const done = (inodes: ReadonlyMap<number, Inode>): void => {
        const inode = inodes.get(birth.inode)
        if (inode !== undefined) resolve({ inode, parent: inodes.get(birth.parent) })
        else
          reject(new DfsError('notAuthentic', `${file.path}: the answer is not to what was asked`))
      }
      journal.append({
        change: { birth },
        term,
        path: file.path,
        keys: [],
        done,
        failed: reject,
      })
    })
    void journal.settle()
    return born
  }

  async #refuseExisting(path: string): Promise<void> {
    try {
      await this.#tree.resolve(path)
    } catch (error) {
      if (error instanceof DfsError && error.code === 'notFound') return
      throw error
    }
    throw new DfsError('exists', `${path} exists`)
  }

  /** The directory as it looks with the new entry. */
  #patchParent(parent: number, now: bigint): void {
    const { leased } = this.#context
    const inode = leased.inode(parent)
    if (inode === undefined) return
    leased.put({
      ...inode,
      attributes: { ...inode.attributes, mtime: now },
      ctime: now,
      entryCount: inode.entryCount + 1,
    })
  }
}
