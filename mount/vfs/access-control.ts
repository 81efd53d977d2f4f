/**
 * Access control lists where they are kept: among an inode's extended attributes, sealed with them. A list and
 * the mode change in one commit, so no other mount sees one without the other; the kernel of each mount
 * enforces them. An inode without extended attributes costs no request here.
 */
import type { Inode } from '../../schema/generated/common.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { Xattrs } from '../crypto/extended-attributes.ts'
import {
  ACCESS_ACL,
  decodeAcl,
  DEFAULT_ACL,
  encodeAcl,
  isMinimal,
  modeOf,
  withMode,
  type Acl,
} from './acl.ts'
import type { XattrMode } from './api.ts'
import { modeAfter, type AttributeChange } from './attribute-changes.ts'
import type { ExtendedAttributes } from './extended-attributes.ts'
import { madeIn, type Made, type NewOwnerAndMode } from './made-in.ts'
import { KIND } from './stat.ts'
import type { Found } from './tree.ts'

const SET_GROUP_ID = 0o2000

export class AccessControl {
  readonly #xattrs: ExtendedAttributes

  constructor(xattrs: ExtendedAttributes) {
    this.#xattrs = xattrs
  }

  /**
   * Returns the verified inode after the change. A value without entries removes the list. Throws
   * `invalidArgument` for what is no list, `forbidden` for a default list of what is no directory,
   * `notSupported` for a symbolic link, `noSpace` for one too long.
   */
  async set(
    found: Found,
    { name, value, mode: how }: { name: string; value: Uint8Array; mode: XattrMode },
    path: string,
  ): Promise<Inode> {
    const { kind } = found.inode.attributes
    if (kind === KIND.symlink) throw new DfsError('notSupported', `${path} is a symbolic link`)
    if (name === DEFAULT_ACL && kind !== KIND.directory) {
      throw new DfsError('forbidden', `${path}: only a directory has a default ACL`)
    }
    const acl = decodeAcl(value)
    return this.#xattrs.alter(found, path, (xattrs, { mode }) => {
      if (acl === undefined) return withList(xattrs, name, undefined)
      if (name === DEFAULT_ACL) return withList(xattrs, name, acl)
      const change = { mode: modeOf(acl, how === 'dropsSetGroupId' ? mode & ~SET_GROUP_ID : mode) }
      return { change, ...withList(xattrs, name, isMinimal(acl) ? undefined : acl) }
    })
  }

  /** The mode stays as it is. What is not there is removed already. */
  async remove(found: Found, name: string, path: string): Promise<Inode> {
    const there = await this.#xattrs.all(found, path)
    if (!there.has(name)) return found.inode
    return this.#xattrs.alter(found, path, (xattrs) => withList(xattrs, name, undefined))
  }

  /** chmod(2), with what else changes along. Returns the verified inode after it. */
  change(found: Found, change: AttributeChange, path: string): Promise<Inode> {
    return this.#xattrs.alter(found, path, (xattrs, attributes) => {
      const acl = listOf(xattrs, ACCESS_ACL)
      if (acl === undefined) return { change }
      const mode = modeAfter(attributes, change)
      return { change: { ...change, mode }, ...withList(xattrs, ACCESS_ACL, withMode(acl, mode)) }
    })
  }

  /** What a new inode takes from its directory; at once where that has no extended attributes. */
  madeIn(
    directory: Found,
    kind: number,
    from: NewOwnerAndMode,
    path: string,
  ): Made | Promise<Made> {
    const { attributes } = directory.inode
    if (attributes.xattrDigest.length === 0) return madeIn(attributes, kind, from)
    return this.#xattrs
      .all(directory, path)
      .then((xattrs) => madeIn(attributes, kind, from, listOf(xattrs, DEFAULT_ACL)))
  }

  /** Opens an inode that was made closed: its mode and its lists. Returns the verified inode after it. */
  give(found: Found, { mode, acls }: Made, path: string): Promise<Inode> {
    return this.#xattrs.alter(found, path, (xattrs) => ({
      change: { mode },
      xattrs: new Map([...xattrs, ...(acls ?? [])]),
    }))
  }
}

function listOf(xattrs: Xattrs, name: string): Acl | undefined {
  const value = xattrs.get(name)
  return value === undefined ? undefined : decodeAcl(value)
}

/** The extended attributes with another list or without one, where that changes them. */
function withList(xattrs: Xattrs, name: string, acl: Acl | undefined): { xattrs?: Xattrs } {
  if (acl === undefined && !xattrs.has(name)) return {}
  const after = new Map(xattrs)
  if (acl === undefined) after.delete(name)
  else after.set(name, encodeAcl(acl))
  return { xattrs: after }
}
