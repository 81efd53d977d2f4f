/**
 * What a new inode takes from the directory it is made in.
 */
import type { Attributes } from '../../schema/generated/common.ts'
import type { Owner } from './api.ts'
import { KIND } from './stat.ts'

const SET_GROUP_ID = 0o2000

export interface NewOwnerAndMode {
  readonly mode: number
  readonly owner: Owner
}

/** In a directory with the set-group-ID bit: its group, and for a directory the bit itself (inode(7)). */
export function madeIn(
  directory: Pick<Attributes, 'mode' | 'gid'>,
  kind: number,
  { mode, owner }: NewOwnerAndMode,
): NewOwnerAndMode {
  if ((directory.mode & SET_GROUP_ID) === 0) return { mode, owner }
  const inherited = kind === KIND.directory ? mode | SET_GROUP_ID : mode
  return { mode: inherited, owner: { uid: owner.uid, gid: directory.gid } }
}
