/**
 * Taking set-uid and set-gid away from a file whose content or owner changes, where the kernel says that
 * it is to be done.
 */
import { constants } from 'node:fs'
import type { FileSystem, Target } from '../../vfs/api.ts'
import type { Node } from '../node-table.ts'

const S_ISUID = 0o4000
const S_ISGID = 0o2000

/** The mode without them. Set-gid means something else on a file whose group may not execute it. */
function withoutPrivileges(mode: number): number {
  const kept = mode & ~S_ISUID
  return (mode & constants.S_IXGRP) === 0 ? kept : kept & ~S_ISGID
}

/** True when there is something to take away. */
export function hasPrivileges({ mode }: Node): boolean {
  return (mode & constants.S_IFMT) === constants.S_IFREG && withoutPrivileges(mode) !== mode
}

/** The rest of the mode stays what it is, whoever changed it since we were told. */
export async function dropPrivileges(
  fs: Pick<FileSystem, 'chmod'>,
  node: Node,
  target: Target,
): Promise<void> {
  await fs.chmod(target, withoutPrivileges)
  node.mode = withoutPrivileges(node.mode)
}
