/**
 * Handlers for what is known about files: getattr, setattr (chmod, chown, utimens, truncate), statfs.
 */
import type { FileSystem, Handle, Stat, Target } from '../../vfs/api.ts'
import type { KernelRequest } from '../kernel-request.ts'
import type { Node } from '../node-table.ts'
import { SETATTR } from '../protocol.ts'
import type { Answer } from '../reply.ts'
import {
  byPath,
  nodeOf,
  statNode,
  withTarget,
  type Handler,
  type HandlerContext,
} from './context.ts'
import { dropPrivileges, hasPrivileges } from './privileges.ts'

const SECOND_NS = 1_000_000_000n
const MILLISECOND_NS = 1_000_000n
const ATTRIBUTES = SETATTR.mode | SETATTR.uid | SETATTR.gid
const TIMES = SETATTR.atime | SETATTR.mtime | SETATTR.atimeNow | SETATTR.mtimeNow

/** What a request to change attributes asks for; `valid` says which of it. */
interface Change {
  readonly valid: number
  readonly handle: Handle | undefined
  readonly size: number
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly atime: bigint
  readonly mtime: bigint
}

export function attributeHandlers(
  context: HandlerContext,
): Record<'getattr' | 'setattr' | 'statfs', Handler> {
  const { fs, nodes, replies, requests, cache } = context

  const statAnswer = (unique: number, node: Node): Answer<Stat> => {
    const { soleUse } = cache
    return (code, stat) => {
      if (stat === undefined) {
        replies.code(unique, code)
        return
      }
      replies.attributes(unique, stat, cache.attributesMs(node, cache.keptMs(soleUse)))
    }
  }

  return {
    getattr({ unique, nodeId }) {
      const node = nodeOf(context, nodeId)
      requests.run('getattr', node, () => statNode(context, node), statAnswer(unique, node))
    },
    setattr(request) {
      const node = nodeOf(context, request.nodeId)
      const change = changeOf(request)
      const work = async (): Promise<Stat> => {
        nodes.touch(node)
        try {
          await apply(context, node, change)
        } finally {
          nodes.touch(node)
        }
        return statNode(context, node)
      }
      const operation = (change.valid & SETATTR.size) === 0 ? 'setattr' : 'truncate'
      requests.run(operation, node, work, statAnswer(request.unique, node))
    },
    statfs({ unique }) {
      requests.run(
        'statfs',
        '/',
        () => fs.statfs(),
        (code, size) => {
          if (size === undefined) replies.code(unique, code)
          else replies.statfs(unique, size)
        },
      )
    },
  }
}

function changeOf(request: KernelRequest): Change {
  const valid = request.u32(0)
  const now = BigInt(Date.now()) * MILLISECOND_NS
  const timeAt = (secondsAt: number, nanosAt: number): bigint =>
    request.i64(secondsAt) * SECOND_NS + BigInt(request.u32(nanosAt))
  return {
    valid,
    handle: (valid & SETATTR.handle) === 0 ? undefined : request.u64(8),
    size: request.u64(16),
    atime: (valid & SETATTR.atimeNow) === 0 ? timeAt(32, 56) : now,
    mtime: (valid & SETATTR.mtimeNow) === 0 ? timeAt(40, 60) : now,
    mode: request.u32(68) & 0o7777,
    uid: (valid & SETATTR.uid) === 0 ? -1 : request.u32(76),
    gid: (valid & SETATTR.gid) === 0 ? -1 : request.u32(80),
  }
}

async function apply(context: HandlerContext, node: Node, change: Change): Promise<void> {
  const { valid } = change
  if ((valid & SETATTR.size) !== 0) await truncate(context, node, change)
  const kill = (valid & SETATTR.killPrivileges) !== 0 && (valid & SETATTR.mode) === 0
  if ((valid & (ATTRIBUTES | TIMES)) === 0 && !(kill && hasPrivileges(node))) return
  await withTarget(context, node, (target) => changeTarget(context, node, target, change, kill))
}

async function changeTarget(
  { fs }: HandlerContext,
  node: Node,
  target: Target,
  change: Change,
  kill: boolean,
): Promise<void> {
  const { valid, mode, uid, gid } = change
  if ((valid & (SETATTR.uid | SETATTR.gid)) !== 0) await fs.chown(target, uid, gid)
  if ((valid & SETATTR.mode) !== 0) await fs.chmod(target, mode)
  if (kill && hasPrivileges(node)) await dropPrivileges(fs, node, target)
  if ((valid & TIMES) !== 0) await setTimes(fs, target, change)
}

/** By the handle that the program used; else by name, and where there is none by what is open. */
async function truncate(
  context: HandlerContext,
  node: Node,
  { handle, size }: Change,
): Promise<void> {
  const { fs } = context
  const through = handle ?? (node.path === undefined ? node.handle : undefined)
  if (through !== undefined) await fs.truncateHandle(through, size)
  else await byPath(context, node, (path) => fs.truncate(path, size))
}

/** Either time may be left as it is. */
async function setTimes(fs: FileSystem, target: Target, change: Change): Promise<void> {
  const { valid } = change
  const setsAtime = (valid & (SETATTR.atime | SETATTR.atimeNow)) !== 0
  const setsMtime = (valid & (SETATTR.mtime | SETATTR.mtimeNow)) !== 0
  if (setsAtime && setsMtime) {
    await fs.utimens(target, change.atime, change.mtime)
    return
  }
  const stat = await (typeof target === 'string' ? fs.stat(target) : fs.statHandle(target))
  const { atime, mtime } = setsAtime
    ? { atime: change.atime, mtime: stat.mtime }
    : { atime: stat.atime, mtime: change.mtime }
  await fs.utimens(target, atime, mtime)
}
