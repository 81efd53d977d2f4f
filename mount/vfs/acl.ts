/**
 * POSIX access control lists (acl(5), POSIX 1003.1e draft 17): what the value of the extended attribute says,
 * whether it is a list at all, and how a list and the mode go together. No I/O.
 *
 * The value is that of linux/posix_acl_xattr.h, little-endian: a u32 version, then for each entry a u16 tag,
 * u16 permissions, u32 id. Entries come in the order of their tags; all but those of named users and groups
 * are there once at most.
 */
import { DfsError } from '../../schema/wire/status.ts'

/** Of every inode but a symbolic link: who may do what. */
export const ACCESS_ACL = 'system.posix_acl_access'
/** Of a directory: what is made in it begins with this. */
export const DEFAULT_ACL = 'system.posix_acl_default'

export const ACL_TAG = {
  owner: 0x01,
  user: 0x02,
  owningGroup: 0x04,
  group: 0x08,
  mask: 0x10,
  other: 0x20,
} as const

/** The id of entries that name nobody, as Linux gives it. */
export const NO_ID = 0xffff_ffff

export interface AclEntry {
  /** One of {@link ACL_TAG}. */
  readonly tag: number
  /** Read 4, write 2, execute 1. */
  readonly permissions: number
  /** Of a named user or group, else {@link NO_ID}. */
  readonly id: number
}

/** A valid list. */
export type Acl = readonly AclEntry[]

const VERSION = 2
const HEADER_BYTES = 4
const ENTRY_BYTES = 8
/** What the kernel takes from a FUSE file system, and gives it: a page. */
const VALUE_BYTES_MAX = 4_096
const PERMISSIONS = 0o7
const MODE_PERMISSIONS = 0o777

/** Where a tag stands among the others; 0 for what is none. */
const RANKS = new Map<number, number>([
  [ACL_TAG.owner, 1],
  [ACL_TAG.user, 2],
  [ACL_TAG.owningGroup, 3],
  [ACL_TAG.group, 4],
  [ACL_TAG.mask, 5],
  [ACL_TAG.other, 6],
])

export function isAclName(name: string): boolean {
  return name === ACCESS_ACL || name === DEFAULT_ACL
}

/**
 * The list that a value stands for; undefined for one without entries, which is no list. Throws
 * `invalidArgument` for what Linux refuses, `notSupported` for another version, `noSpace` for more entries than
 * the kernel asks for.
 */
export function decodeAcl(value: Uint8Array): Acl | undefined {
  if (value.length === 0) return undefined
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length)
  if (bytes.length < HEADER_BYTES) throw invalid('is cut short')
  const version = bytes.readUInt32LE(0)
  if (version !== VERSION) throw new DfsError('notSupported', `an ACL of version ${version}`)
  if ((bytes.length - HEADER_BYTES) % ENTRY_BYTES !== 0) throw invalid('is cut short')
  if (bytes.length === HEADER_BYTES) return undefined
  if (bytes.length > VALUE_BYTES_MAX) {
    throw new DfsError('noSpace', `an ACL of ${bytes.length} bytes; ${VALUE_BYTES_MAX} at most`)
  }
  const acl: AclEntry[] = []
  for (let at = HEADER_BYTES; at < bytes.length; at += ENTRY_BYTES) {
    const tag = bytes.readUInt16LE(at)
    const id = isNamed(tag) ? bytes.readUInt32LE(at + 4) : NO_ID
    acl.push({ tag, permissions: bytes.readUInt16LE(at + 2), id })
  }
  check(acl)
  return acl
}

export function encodeAcl(acl: Acl): Uint8Array {
  const bytes = Buffer.alloc(HEADER_BYTES + acl.length * ENTRY_BYTES)
  let at = bytes.writeUInt32LE(VERSION, 0)
  for (const { tag, permissions, id } of acl) {
    bytes.writeUInt16LE(tag, at)
    bytes.writeUInt16LE(permissions, at + 2)
    at = bytes.writeUInt32LE(id, at + 4)
  }
  return bytes
}

/** The mode says all that the list does: nobody is named, and there is no mask. */
export function isMinimal(acl: Acl): boolean {
  return acl.every(({ tag }) => !isNamed(tag) && tag !== ACL_TAG.mask)
}

/** `mode` with the permissions of the list: of its mask, if it has one, where the group's stand. */
export function modeOf(acl: Acl, mode: number): number {
  const shifts = shiftsOf(acl)
  let permissions = 0
  for (const entry of acl) {
    const shift = shifts(entry)
    if (shift !== undefined) permissions |= entry.permissions << shift
  }
  return (mode & ~MODE_PERMISSIONS) | permissions
}

/** The list after chmod(2). */
export function withMode(acl: Acl, mode: number): Acl {
  const shifts = shiftsOf(acl)
  return acl.map((entry) => {
    const shift = shifts(entry)
    return shift === undefined ? entry : { ...entry, permissions: (mode >> shift) & PERMISSIONS }
  })
}

/** The list that a file begins with, made with `mode` in a directory that has this one as its default. */
export function inheritedBy(acl: Acl, mode: number): Acl {
  return withMode(acl, modeOf(acl, mode) & mode)
}

/** How far left an entry's permissions stand in the mode; undefined when they do not. */
function shiftsOf(acl: Acl): (entry: AclEntry) => number | undefined {
  const group = acl.some(({ tag }) => tag === ACL_TAG.mask) ? ACL_TAG.mask : ACL_TAG.owningGroup
  return ({ tag }) => {
    if (tag === ACL_TAG.owner) return 6
    if (tag === group) return 3
    return tag === ACL_TAG.other ? 0 : undefined
  }
}

const isNamed = (tag: number): boolean => tag === ACL_TAG.user || tag === ACL_TAG.group

/** As `posix_acl_valid` of Linux, which does not mind that somebody is named twice. */
function check(acl: Acl): void {
  let before = 0
  for (const { tag, permissions, id } of acl) {
    const rank = RANKS.get(tag) ?? 0
    if (rank < before || (rank === before && !isNamed(tag))) throw invalid('is out of order')
    if (permissions > PERMISSIONS) throw invalid(`has permissions ${permissions}`)
    if (isNamed(tag) && id === NO_ID) throw invalid('names nobody')
    before = rank
  }
  const tags = new Set(acl.map(({ tag }) => tag))
  const has = (...all: readonly number[]): boolean => all.some((tag) => tags.has(tag))
  for (const tag of [ACL_TAG.owner, ACL_TAG.owningGroup, ACL_TAG.other]) {
    if (!has(tag)) throw invalid(`has no entry with tag ${tag}`)
  }
  if (has(ACL_TAG.user, ACL_TAG.group) && !has(ACL_TAG.mask)) throw invalid('has no mask')
}

function invalid(how: string): DfsError {
  return new DfsError('invalidArgument', `an ACL that ${how}`)
}
