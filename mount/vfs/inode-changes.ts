/**
 * Changes of what is sealed of an inode beside its content: attributes and extended attributes, by name
 * or of an open file, in turn with the file's commits. Attributes of an unborn file travel with its
 * birth.
 */
import type { Inode } from '../../schema/generated/common.ts'
import { isAclName } from './acl.ts'
import type { Target, XattrMode } from './api.ts'
import { changeAttributes, changedUnborn, type AttributeChange } from './attribute-changes.ts'
import type { Context } from './context.ts'
import type { ExtendedAttributes } from './extended-attributes.ts'
import type { OpenFiles } from './open-files.ts'
import type { SharedFile } from './shared-file.ts'
import type { Found, Tree } from './tree.ts'
import type { UnbornFiles } from './unborn-files.ts'

export class InodeChanges {
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

  async getXattr(target: Target, name: string): Promise<Uint8Array> {
    return this.#context.xattrs.get(await this.#found(target), name, String(target))
  }

  async listXattrs(target: Target): Promise<string[]> {
    return this.#context.xattrs.list(await this.#found(target), String(target))
  }

  async setXattr(target: Target, name: string, value: Uint8Array, mode: XattrMode): Promise<void> {
    const given = { name, value: new Uint8Array(value), mode }
    const by = this.#keeperOf(name)
    await this.#changeXattrs(target, (found) => by.set(found, given, String(target)))
  }

  async removeXattr(target: Target, name: string): Promise<void> {
    const by = this.#keeperOf(name)
    await this.#changeXattrs(target, (found) => by.remove(found, name, String(target)))
  }

  /** chmod, chown, utimens. */
  async change(target: Target, change: AttributeChange): Promise<void> {
    const found = await this.#found(target)
    if (change.mtime !== undefined) {
      // A new file that reaches the server later would change the directory's time once more.
      await this.#unborn.settle(({ birth }) => birth?.parent === found.inode.inode)
    }
    await this.#changeFound(found, async (current, file) => {
      if (file?.birth !== undefined) {
        const attributes = changedUnborn(current.inode.attributes, change)
        this.#unborn.change(file, attributes, change.atime)
        if (change.mtime !== undefined) file.changes.setMtime(change.mtime)
        return file.committed.inode
      }
      const inode = await this.#changeBorn(current, change, String(target))
      if (change.mtime !== undefined) file?.changes.setMtime(change.mtime)
      return inode
    })
  }

  #keeperOf(name: string): Pick<ExtendedAttributes, 'set' | 'remove'> {
    const { xattrs, acls } = this.#context
    return isAclName(name) ? acls : xattrs
  }

  #changeBorn(found: Found, change: AttributeChange, path: string): Promise<Inode> {
    const { mode, ...rest } = change
    return mode === undefined
      ? changeAttributes(this.#context, found, rest, path)
      : this.#context.acls.change(found, change, path)
  }

  async #changeXattrs(target: Target, change: (found: Found) => Promise<Inode>): Promise<void> {
    const found = await this.#found(target)
    const open = this.#files.file(found.inode.inode)
    if (open !== undefined) await this.#unborn.bear(open.file)
    await this.#changeFound(found, change)
  }

  /** Changes what is sealed of an inode; `file` is there if it is open here. */
  async #changeFound(
    found: Found,
    change: (current: Found, file?: SharedFile) => Promise<Inode>,
  ): Promise<void> {
    const open = this.#files.file(found.inode.inode)
    if (open === undefined) {
      await change(found)
      return
    }
    const { file } = open
    await file.versions.run(async () => {
      await file.birth?.running?.catch(() => undefined)
      // The newest version that is known here: a commit may have ended while we waited, and somebody else
      // may have changed what is open.
      if (isNewer(found.inode, file.committed.inode)) file.committed.adopt(found.inode)
      const { inode, key } = file.committed
      file.committed.adopt(await change({ inode, key }, file))
    })
  }

  async #found(target: Target): Promise<Found> {
    if (typeof target === 'string') return this.#tree.resolve(target)
    const { birth, committed } = this.#files.get(target).file
    if (birth !== undefined) return committed
    const known = this.#context.leased.inode(committed.inode.inode)
    if (known === undefined) await committed.refresh()
    else committed.adopt(known)
    return committed
  }
}

const isNewer = (one: Inode, other: Inode): boolean =>
  one.attributes.version > other.attributes.version
