/**
 * Handlers for extended attributes.
 *
 * The kernel asks for `security.capability` before the first write(2) of a file, so what is not kept is
 * refused without a word to the file system.
 */
import { constants } from 'node:os'
import { encodeName } from '../../crypto/name-bytes.ts'
import type { Target, XattrMode } from '../../vfs/api.ts'
import { isKeptXattr } from '../../vfs/extended-attributes.ts'
import type { Node } from '../node-table.ts'
import type { Answer } from '../reply.ts'
import { nodeOf, perform, withTarget, type Handler, type HandlerContext } from './context.ts'

const { ENOTSUP, ERANGE } = constants.errno
/** Flags of setxattr(2). */
const XATTR_CREATE = 1
const XATTR_REPLACE = 2

export function xattrHandlers(
  context: HandlerContext,
): Record<'setxattr' | 'getxattr' | 'listxattr' | 'removexattr', Handler> {
  return { ...readHandlers(context), ...changeHandlers(context) }
}

function readHandlers(context: HandlerContext): Record<'getxattr' | 'listxattr', Handler> {
  const { fs, replies, requests } = context

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
      if (!isKeptXattr(name)) {
        replies.code(unique, -ENOTSUP)
        return
      }
      const node = nodeOf(context, request.nodeId)
      const get = (target: Target): Promise<Uint8Array> => fs.getXattr(target, name)
      const work = (): Promise<Uint8Array> => withTarget(context, node, get)
      requests.run('getxattr', node, work, bytesAnswer(unique, request.u32(0)))
    },
    listxattr(request) {
      const { unique } = request
      const node = nodeOf(context, request.nodeId)
      const list = async (target: Target): Promise<Uint8Array> => {
        const names = await fs.listXattrs(target)
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
      const mode = modeOf(request.u32(4))
      const name = request.text(8)
      const value = request.copyAfterText(request.u32(0))
      const set = (target: Target): Promise<void> => fs.setXattr(target, name, value, mode)
      perform(context, 'setxattr', node, request.unique, () => change(node, set))
    },
    removexattr(request) {
      const node = nodeOf(context, request.nodeId)
      const name = request.text(0)
      const remove = (target: Target): Promise<void> => fs.removeXattr(target, name)
      perform(context, 'removexattr', node, request.unique, () => change(node, remove))
    },
  }
}

function modeOf(flags: number): XattrMode {
  if ((flags & XATTR_CREATE) !== 0) return 'create'
  return (flags & XATTR_REPLACE) !== 0 ? 'replace' : 'either'
}
