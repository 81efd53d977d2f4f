/**
 * Making, moving and removing names.
 */
import type { Attributes, Inode } from '../../schema/generated/common.ts'
import { methods } from '../../schema/methods.ts'
import { NO_XATTRS } from '../../schema/wire/content.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { InodeKey } from '../crypto/inode-key.ts'
import { decodeName, encodeName } from '../crypto/name-bytes.ts'
import type { Owner } from './api.ts'
import { openedInline } from './committed-content.ts'
import { Conflicts } from './conflicts.ts'
import type { Context } from './context.ts'
import type { Dentry } from './dentry-cache.ts'
import type { DeferredNames } from './deferred-names.ts'
import { ABSENT } from './leased-tree.ts'
import { closedUntilListed } from './made-in.ts'
import { digestOf, EMPTY_CONTENT_DIGEST } from './manifest.ts'
import type { OpenFiles } from './open-files.ts'
import { componentsOf } from './path.ts'
import { KIND, PERMISSION_BITS } from './stat.ts'
import type { Found, Parent, Tree } from './tree.ts'
import type { UnbornFiles } from './unborn-files.ts'

const NO_BYTES = new Uint8Array(0)

interface NewInode {
  readonly kind: number
  readonly mode: number
  readonly owner: Owner
  readonly rdev?: number
  /** A symbolic link's target. */
  readonly target?: Buffer
  readonly hold?: boolean
}

interface Named extends Parent {
  readonly named: number | undefined
}

export class DirectoryOperations {
  readonly #context: Context
  readonly #tree: Tree
  readonly #files: OpenFiles
  readonly #unborn: UnbornFiles
  readonly #deferred: DeferredNames

  constructor(
    context: Context,
    tree: Tree,
    files: OpenFiles,
    unborn: UnbornFiles,
    deferred: DeferredNames,
  ) {
    this.#context = context
    this.#tree = tree
    this.#files = files
    this.#unborn = unborn
    this.#deferred = deferred
  }

  async mkdir(path: string, mode: number, owner: Owner): Promise<void> {
    if (await this.#deferred.mkdir(path, { mode, owner })) return
    await this.create(path, { kind: KIND.directory, mode, owner })
  }

  /**
   * Makes an inode under a new name. With `hold` the session holds it. What inherits an access control list is
   * made for its owner alone and opened when the list is kept: should that fail, it stays as it was made.
   */
  async create(path: string, from: NewInode): Promise<Found> {
    const at = await this.#tree.parentOf(path)
    const made = await this.#context.acls.madeIn(at.directory, from.kind, from, path)
    const found = await this.#create(path, at, {
      ...from,
      owner: made.owner,
      mode: closedUntilListed(made),
    })
    if (made.acls === undefined) return found
    try {
      return { inode: await this.#context.acls.give(found, made, path), key: found.key }
    } catch (error) {
      if (from.hold === true) this.#context.session.release(found.inode.inode)
      throw error
    }
  }

  async #create(
    path: string,
    { directory, name }: Parent,
    { hold = false, ...from }: NewInode,
  ): Promise<Found> {
    const { session, verifier, leased } = this.#context
    const parent = directory.inode.inode
    // The server must know if the name is taken.
    await this.#unborn.settle(({ birth }) => birth?.parent === parent && birth.name === name)
    const key = InodeKey.generate()
    const { token, entry } = directory.key.sealEntry(name, { kind: from.kind, key })
    const { attributes, inline } = newInode(key, from)
    const started = verifier.start()
    const change = leased.change([[parent, name]], [parent])
    try {
      const request = { parent, token, entry, attributes, inline, hold }
      const { inode, parent: after } = await session.mutate(methods.create, request)
      if (hold) session.held(inode.inode)
      try {
        verifier.verify(inode, key, started, path)
        verifyParent(this.#context, { directory, after, started, path })
      } catch (error) {
        if (hold) session.release(inode.inode)
        throw error
      }
      const dentry = { token, entry, kind: from.kind, inode: inode.inode, key }
      this.#tree.dentries.set(parent, name, dentry)
      change.name(parent, name, dentry)
      change.inode(after)
      change.made(inode, from.kind === KIND.directory)
      return { inode, key }
    } finally {
      change.end()
    }
  }

  /** Throws `nameTooLong` for a target longer than symbolic links can hold. */
  async symlink(target: string, path: string, owner: Owner): Promise<void> {
    const bytes = encodeName(target)
    if (bytes.length === 0) throw new DfsError('notFound', 'a symbolic link needs a target')
    if (bytes.length > limits.symlinkBytesMax) {
      throw new DfsError('nameTooLong', `a target has at most ${limits.symlinkBytesMax} bytes`)
    }
    await this.create(path, { kind: KIND.symlink, mode: 0o777, owner, target: bytes })
  }

  async readlink(path: string): Promise<string> {
    const { inode, key } = await this.#tree.resolve(path)
    if (inode.attributes.kind !== KIND.symlink) {
      throw new DfsError('invalidArgument', `${path} is no symbolic link`)
    }
    return decodeName(openedInline(inode, key))
  }

  async link(existing: string, path: string): Promise<void> {
    const { session, verifier, leased } = this.#context
    await this.#unborn.settle()
    const [found, parent] = await both(this.#tree.resolve(existing), this.#tree.parentOf(path))
    const { kind } = found.inode.attributes
    if (kind === KIND.directory) {
      throw new DfsError('notPermitted', `${existing} is a directory; it has one name only`)
    }
    const { directory, name } = parent
    const { token, entry } = directory.key.sealEntry(name, { kind, key: found.key })
    const started = verifier.start()
    const parentInode = directory.inode.inode
    const change = leased.change([[parentInode, name]], [parentInode, found.inode.inode])
    try {
      const { inode, parent: after } = await session.mutate(methods.link, {
        inode: found.inode.inode,
        parent: parentInode,
        token,
        entry,
      })
      verifier.verify(inode, found.key, started, path)
      verifyParent(this.#context, { directory, after, started, path })
      this.#files.learn(inode)
      change.name(parentInode, name, { token, entry, kind, inode: inode.inode, key: found.key })
      change.inode(inode)
      change.inode(after)
    } finally {
      change.end()
    }
  }

  /** unlink, or rmdir with `directory`. */
  async remove(path: string, directory: boolean): Promise<void> {
    if (await this.#deferred.remove(path, directory)) return
    const { session, verifier, leased, freshness } = this.#context
    await this.#unborn.settle()
    const { named, ...parent } = await this.#named(path)
    const { inode: parentInode } = parent.directory.inode
    const token = parent.directory.key.token(parent.name)
    const known = leased.lookup(parentInode, parent.name)
    const child = known === undefined || known === ABSENT ? undefined : known.inode
    const started = verifier.start()
    const inodes = child === undefined ? [parentInode] : [parentInode, child]
    const change = leased.change([[parentInode, parent.name]], inodes)
    try {
      // Whoever has it open keeps it.
      await session.tellHolds(child)
      const request = { parent: parentInode, token, directory }
      const { inode, parent: after } = await session.mutate(methods.unlink, request)
      this.#tree.dentries.delete(parentInode, parent.name)
      verifyParent(this.#context, { directory: parent.directory, after, started, path })
      change.name(parentInode, parent.name, ABSENT)
      change.inode(after)
      change.forget(inode.inode)
      if (inode.nlink === 0 && inode.inode === (child ?? named)) freshness.removed(inode.inode)
      this.#learnVerified(inode, started)
    } finally {
      change.end()
    }
  }

  async rename(from: string, to: string): Promise<void> {
    if (await this.#deferred.rename(from, to)) return
    await this.#unborn.settle()
    const conflicts = new Conflicts()
    for (;;) {
      const [source, target] = await both(this.#source(from), this.#named(to))
      try {
        await this.#move(source, target, to)
        return
      } catch (error) {
        const changed = error instanceof DfsError && error.code === 'versionConflict'
        if (!changed || !(await conflicts.again())) throw error
      }
    }
  }

  async #source(path: string): Promise<{ parent: Parent; child: Found }> {
    const [parent, child] = await both(this.#tree.parentOf(path), this.#tree.resolve(path))
    return { parent, child }
  }

  /**
   * A directory, a name in it and the inode that has it now, so that nothing counts as removed by the
   * server's word alone. What does not verify can still be removed and replaced.
   */
  async #named(path: string): Promise<Named> {
    const child = this.#tree.resolve(path).catch((error: unknown) => {
      const codes = ['notFound', 'notAuthentic', 'notSupported']
      if (error instanceof DfsError && codes.includes(error.code)) return undefined
      throw error
    })
    const [parent, found] = await both(this.#tree.parentOf(path), child)
    return { ...parent, named: found?.inode.inode }
  }

  async #move(
    { parent, child }: { parent: Parent; child: Found },
    target: Named,
    path: string,
  ): Promise<void> {
    const { session, verifier, leased, freshness } = this.#context
    const { kind } = child.inode.attributes
    const { token, entry } = target.directory.key.sealEntry(target.name, { kind, key: child.key })
    const fromParent = parent.directory.inode.inode
    const toParent = target.directory.inode.inode
    const { inode } = child.inode
    const there = leased.lookup(toParent, target.name)
    const started = verifier.start()
    const change = leased.change(
      [
        [fromParent, parent.name],
        [toParent, target.name],
      ],
      distinct([fromParent, toParent, inode, ...(isDentry(there) ? [there.inode] : [])]),
    )
    try {
      if (there !== ABSENT) await session.tellHolds(there?.inode)
      const response = await session.mutate(methods.rename, {
        fromParent,
        fromToken: parent.directory.key.token(parent.name),
        toParent,
        toToken: token,
        entry,
        noReplace: false,
        inode,
      })
      verifier.verify(response.inode, child.key, started, path)
      const ends = { started, path }
      verifyParent(this.#context, { ...ends, ...parent, after: response.fromParent })
      verifyParent(this.#context, { ...ends, ...target, after: response.toParent })
      this.#tree.dentries.delete(fromParent, parent.name)
      this.#tree.dentries.delete(toParent, target.name)
      this.#files.learn(response.inode)
      if (response.toParent !== undefined) {
        change.name(fromParent, parent.name, ABSENT)
        change.name(toParent, target.name, { token, entry, kind, inode, key: child.key })
        change.inode(response.fromParent)
        change.inode(response.toParent)
      }
      change.inode(response.inode)
      if (response.replaced !== undefined) {
        change.forget(response.replaced.inode)
        const { inode: replaced, nlink } = response.replaced
        if (nlink === 0 && replaced === target.named) freshness.removed(replaced)
        this.#learnVerified(response.replaced, started)
      }
    } finally {
      change.end()
    }
  }

  /** An inode that lost a name: of interest only to those who have it open. */
  #learnVerified(inode: Inode, started: number): void {
    const open = this.#files.file(inode.inode)
    if (open === undefined) return
    const { committed, path } = open.file
    this.#context.verifier.verify(inode, committed.key, started, path)
    committed.adopt(inode)
  }
}

/** A directory after one of its entries changed is as authentic as any inode. */
function verifyParent(
  { verifier }: Context,
  answer: {
    readonly directory: Found
    readonly after: Inode | undefined
    readonly started: number
    readonly path: string
  },
): void {
  const { directory, after, started, path } = answer
  if (after === undefined) return
  if (after.inode !== directory.inode.inode) {
    throw new DfsError('notAuthentic', `${path}: the server told of another directory`)
  }
  verifier.verify(after, directory.key, started, path)
}

const isDentry = (known: Dentry | typeof ABSENT | undefined): known is Dentry =>
  known !== undefined && known !== ABSENT

const distinct = (inodes: readonly number[]): number[] => [...new Set(inodes)]

/** Both answers; when one fails, the other is waited for, so that nothing goes on unseen. */
async function both<A, B>(first: Promise<A>, second: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([first, second])
  return Promise.all([first, second])
}

function newInode(
  key: InodeKey,
  { kind, mode, owner, rdev = 0, target }: NewInode,
): { attributes: Attributes; inline: Uint8Array } {
  const inline = target === undefined ? NO_BYTES : key.sealInline(target)
  const attributes = key.sealAttributes({
    kind,
    mode: mode & PERMISSION_BITS,
    uid: owner.uid,
    gid: owner.gid,
    rdev,
    size: target?.length ?? 0,
    mtime: BigInt(Date.now()) * 1_000_000n,
    version: 1,
    contentDigest: target === undefined ? EMPTY_CONTENT_DIGEST : digestOf(inline),
    xattrDigest: NO_XATTRS,
  })
  return { attributes, inline }
}

/** Refuses a move of a directory below itself before anything is asked. */
export function isBelow(from: string, to: string): boolean {
  const above = componentsOf(from)
  const below = componentsOf(to)
  return above.length < below.length && above.every((name, index) => below[index] === name)
}
