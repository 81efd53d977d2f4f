/**
 * Changes of an inode's attributes and extended attributes: seals new ones over the newest version, again when
 * somebody else was faster.
 */
import type { Attributes, Inode } from '../../schema/generated/common.ts'
import { methods } from '../../schema/methods.ts'
import { NO_XATTRS } from '../../schema/wire/content.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { ModeChange } from './api.ts'
import { Conflicts } from './conflicts.ts'
import type { Context } from './context.ts'
import { KIND, PERMISSION_BITS } from './stat.ts'
import type { Found } from './tree.ts'

/** Fields that change; the others stay. */
export interface AttributeChange {
  readonly mode?: number | ModeChange
  readonly uid?: number
  readonly gid?: number
  /** Nanoseconds since 1970. */
  readonly mtime?: bigint
  readonly atime?: bigint
}

/** What a change makes of one version of an inode; the next version's number is given to it. */
interface Changed {
  readonly attributes: Attributes
  /** On the wire, nanoseconds; 0 leaves them. */
  readonly atime: bigint
  readonly directoryMtime: bigint
  /** Sealed extended attributes, if they change. */
  readonly xattrs: Uint8Array
}

/**
 * Changes what no access control list goes with: not the mode. Returns the verified inode after the change.
 * Throws `versionConflict` when others never rest.
 */
export function changeAttributes(
  context: Pick<Context, 'session' | 'verifier' | 'leased'>,
  found: Found,
  change: Omit<AttributeChange, 'mode'>,
  path: string,
): Promise<Inode> {
  return changeSealed(context, found, path, (inode) => changedInode(inode, change))
}

/** As {@link changeAttributes}, for any change; `make` runs again when somebody else was faster. */
export async function changeSealed(
  { session, verifier, leased }: Pick<Context, 'session' | 'verifier' | 'leased'>,
  { inode: found, key }: Found,
  path: string,
  make: (current: Inode) => Changed | Promise<Changed>,
): Promise<Inode> {
  let current = found
  const conflicts = new Conflicts()
  do {
    const { attributes, ...rest } = await make(current)
    const { seal: _, ...plain } = attributes
    const started = verifier.start()
    const pending = leased.change([], [current.inode])
    try {
      const { inode } = await session.mutate(methods.setAttributes, {
        inode: current.inode,
        attributes: key.sealAttributes({ ...plain, version: plain.version + 1 }),
        ...rest,
      })
      verifier.verify(inode, key, started, path)
      pending.inode(inode)
      return inode
    } catch (error) {
      if (!(error instanceof DfsError) || error.code !== 'versionConflict') throw error
    } finally {
      pending.end()
    }
    const again = verifier.start()
    const { inode } = await session.read(methods.getInode, { inode: current.inode, hold: false })
    verifier.verify(inode, key, again, path)
    current = inode
  } while (await conflicts.again())
  throw new DfsError('versionConflict', `${path}: others change it all the time; try again`)
}

/** An inode after a change that leaves its extended attributes as they are. */
export function changedInode({ attributes }: Inode, change: AttributeChange): Changed {
  const directory = attributes.kind === KIND.directory
  return {
    attributes: changed(attributes, change),
    atime: change.atime === undefined ? 0n : givenTime(change.atime),
    directoryMtime: directory && change.mtime !== undefined ? givenTime(change.mtime) : 0n,
    xattrs: NO_XATTRS,
  }
}

/** Attributes after a change that is not sealed yet and has no version of its own. */
export function changedUnborn(
  attributes: Attributes,
  change: AttributeChange,
): Omit<Attributes, 'seal'> {
  const { seal: _, ...plain } = changed(attributes, change)
  return plain
}

function changed(attributes: Attributes, change: AttributeChange): Attributes {
  return {
    ...attributes,
    mode: modeAfter(attributes, change),
    uid: change.uid ?? attributes.uid,
    gid: change.gid ?? attributes.gid,
    mtime: change.mtime ?? attributes.mtime,
  }
}

/** Permission bits after a change. */
export function modeAfter(
  { mode }: Pick<Attributes, 'mode'>,
  { mode: wanted = mode }: AttributeChange,
): number {
  return (typeof wanted === 'number' ? wanted : wanted(mode)) & PERMISSION_BITS
}

/** On the wire 0 means "leave it": 1970 to the nanosecond becomes one nanosecond later. */
function givenTime(time: bigint): bigint {
  return time === 0n ? 1n : time
}
