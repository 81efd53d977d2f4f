/**
 * Handlers for extended attributes, access control lists among them.
 *
 * The kernel asks for `security.capability` before the first write(2) of a file, so what is not kept is
 * refused without a word to the file system. It asks for a list whenever it decides about somebody else's
 * file, and keeps it as long as the attributes: so what has no extended attributes by the attributes that it
 * was told has no list, and the file system is not asked either.
 */
import { constants } from 'node:os'
import { DfsError } from '../../../schema/wire/status.ts'
import { encodeName } from '../../crypto/name-bytes.ts'
import { isAclName } from '../../vfs/acl.ts'
import type { Target, XattrMode } from '../../vfs/api.ts'
import { isKeptXattr } from '../../vfs/extended-attributes.ts'
import type { Node } from '../node-table.ts'
import { INIT, SETXATTR_DROPS_SET_GID } from '../protocol.ts'
import type { Answer } from '../reply.ts'
import { nodeOf, perform, withTarget, type Handler, type HandlerContext } from './context.ts'

const { ENODATA, ENOTSUP, ERANGE } = constants.errno
/** Bytes of a request to set one before its name, without flags of its own and with them. */
const SETXATTR_BYTES = 8
const SETXATTR_FLAGS_BYTES = 16
/** Flags of setxattr(2). */
const XATTR_CREATE = 1
const XATTR_REPLACE = 2

export function xattrHandlers(
  context: HandlerContext,
): Record<'setxattr' | 'getxattr' | 'listxattr' | 'removexattr', Handler> {
  return { ...readHandlers(context), ...changeHandlers(context) }
}

function readHandlers(context: HandlerContext): Record<'getxattr' | 'listxattr', Handler> {
  const { fs, nodes, replies, requests } = context

  /** A room of 0 bytes asks how many there are. */
  const bytesAnswer =
    (unique: number, room: number): Answer<Uint8Array> =>
    (code, bytes) => {
      if (bytes === undefined) replies.code(unique, code)
      else if (room === 0) replies.count(unique, bytes.length)
      else if (bytes.length > room) replies.code(unique, -ERANGE)
      else replies.bytes(unique, bytes)
    }

  return {
    getxattr(request) {
      const { unique } = request
      const name = request.text(8)
      if (!isServed(context, name)) {
        replies.code(unique, -ENOTSUP)
        return
      }
      const node = nodeOf(context, request.nodeId)
      if (isAclName(name) && nodes.isPlain(node)) {
        replies.code(unique, -ENODATA)
        return
      }
      const get = (target: Target): Promise<Uint8Array> => fs.getXattr(target, name)
      const work = (): Promise<Uint8Array> => withTarget(context, node, get)
      requests.run('getxattr', node, work, bytesAnswer(unique, request.u32(0)))
    },
    listxattr(request) {
      const { unique } = request
      const node = nodeOf(context, request.nodeId)
      const list = async (target: Target): Promise<Uint8Array> => {
        const names = (await fs.listXattrs(target)).filter((name) => isServed(context, name))
        return encodeName(names.map((name) => `${name}\0`).join(''))
      }
      const work = (): Promise<Uint8Array> => withTarget(context, node, list)
      requests.run('listxattr', node, work, bytesAnswer(unique, request.u32(0)))
    },
  }
}

function changeHandlers(context: HandlerContext): Record<'setxattr' | 'removexattr', Handler> {
  const { fs, nodes } = context

  const change = async (node: Node, work: (target: Target) => Promise<void>): Promise<void> => {
    nodes.touch(node)
    try {
      await withTarget(context, node, work)
    } finally {
      nodes.touch(node)
    }
  }

  return {
    setxattr(request) {
      const node = nodeOf(context, request.nodeId)
      const extended = (context.agreed.flags & INIT.setXattrFlags) !== 0
      const mode = modeOf(request.u32(4), extended ? request.u32(8) : 0)
      const name = request.text(extended ? SETXATTR_FLAGS_BYTES : SETXATTR_BYTES)
      const value = request.copyAfterText(request.u32(0))
      refuseUnserved(context, name)
      const set = (target: Target): Promise<void> => fs.setXattr(target, name, value, mode)
      perform(context, 'setxattr', node, request.unique, () => change(node, set))
    },
    removexattr(request) {
      const node = nodeOf(context, request.nodeId)
      const name = request.text(0)
      refuseUnserved(context, name)
      const remove = (target: Target): Promise<void> => fs.removeXattr(target, name)
      perform(context, 'removexattr', node, request.unique, () => change(node, remove))
    },
  }
}

/** Lists are nothing to a kernel that would not enforce them. */
function isServed({ agreed }: HandlerContext, name: string): boolean {
  return isAclName(name) ? (agreed.flags & INIT.accessControl) !== 0 : isKeptXattr(name)
}

function refuseUnserved(context: HandlerContext, name: string): void {
  if (!isServed(context, name)) throw new DfsError('notSupported', `extended attribute ${name}`)
}

function modeOf(flags: number, ownFlags: number): XattrMode {
  if ((ownFlags & SETXATTR_DROPS_SET_GID) !== 0) return 'dropsSetGroupId'
  if ((flags & XATTR_CREATE) !== 0) return 'create'
  return (flags & XATTR_REPLACE) !== 0 ? 'replace' : 'either'
}
