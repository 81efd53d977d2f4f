/**
 * What a new inode takes from the directory it is made in: group, set-group-ID bit, access control list. No
 * I/O.
 */
import type { Attributes } from '../../schema/generated/common.ts'
import type { Xattrs } from '../crypto/extended-attributes.ts'
import {
  ACCESS_ACL,
  DEFAULT_ACL,
  encodeAcl,
  inheritedBy,
  isMinimal,
  modeOf,
  type Acl,
} from './acl.ts'
import type { Owner } from './api.ts'
import { KIND } from './stat.ts'

const SET_GROUP_ID = 0o2000
/** What the owner may do, and the bits that no list knows. */
const OWNERS_PART = 0o7700

export interface NewOwnerAndMode {
  readonly mode: number
  readonly owner: Owner
}

export interface Made extends NewOwnerAndMode {
  /** Extended attributes that it must have before anybody else may get at it. */
  readonly acls?: Xattrs
}

/**
 * In a directory with the set-group-ID bit: its group, and for a directory the bit itself (inode(7)). With a
 * default ACL: a list made from that and the mode; without one the umask counts (acl(5)).
 */
export function madeIn(
  directory: Pick<Attributes, 'mode' | 'gid'>,
  kind: number,
  { mode: asked, owner: { uid, gid, umask = 0 } }: NewOwnerAndMode,
  defaultAcl?: Acl,
): Made {
  const inherits = (directory.mode & SET_GROUP_ID) !== 0
  const owner = { uid, gid: inherits ? directory.gid : gid }
  const mode = inherits && kind === KIND.directory ? asked | SET_GROUP_ID : asked
  if (kind === KIND.symlink) return { mode, owner }
  if (defaultAcl === undefined) return { mode: mode & ~umask, owner }
  const acl = inheritedBy(defaultAcl, mode)
  const made = { mode: modeOf(acl, mode), owner }
  const acls = new Map<string, Uint8Array>()
  if (!isMinimal(acl)) acls.set(ACCESS_ACL, encodeAcl(acl))
  if (kind === KIND.directory) acls.set(DEFAULT_ACL, encodeAcl(defaultAcl))
  return acls.size === 0 ? made : { ...made, acls }
}

/** The mode until the list is there: nobody but the owner gets in, whatever the list will say. */
export function closedUntilListed({ mode, acls }: Made): number {
  return acls === undefined ? mode : mode & OWNERS_PART
}
