/**
 * Handlers that open, make and close files: open, create, release.
 */
import { constants } from 'node:fs'
import type { Handle, Owner, Stat } from '../../vfs/api.ts'
import type { KernelRequest } from '../kernel-request.ts'
import type { Node } from '../node-table.ts'
import { OPEN_KILL_PRIVILEGES, OPENED } from '../protocol.ts'
import type { Answer } from '../reply.ts'
import { byName, byPath, nodeOf, pathIn, pathOf, perform, replaced } from './context.ts'
import type { Handler, HandlerContext } from './context.ts'
import { ownerOf } from './names.ts'
import { dropPrivileges, hasPrivileges } from './privileges.ts'

const { O_WRONLY, O_RDWR, O_TRUNC, O_APPEND, O_CREAT, O_EXCL } = constants
/** The flags of open(2) that mean something to the file system. */
const OPEN_FLAGS = O_WRONLY | O_RDWR | O_TRUNC | O_APPEND
const CREATE_FLAGS = OPEN_FLAGS | O_EXCL
/** Opens that change a file. */
const CHANGE_FLAGS = O_WRONLY | O_RDWR | O_TRUNC

/** An open as the kernel asks for it. */
interface Wanted {
  readonly flags: number
  /** Set-uid and set-gid go. */
  readonly kill: boolean
}

interface NewFile {
  readonly flags: number
  readonly mode: number
  readonly owner: Owner
}

interface Created {
  readonly handle: Handle
  readonly stat: Stat
}

export function openHandlers(
  context: HandlerContext,
): Record<'open' | 'create' | 'release', Handler> {
  const { fs, nodes, requests } = context
  const unwanted = (handle: Handle): void => discard(context, handle)
  return {
    open(request) {
      const node = nodeOf(context, request.nodeId)
      const kill = (request.u32(4) & OPEN_KILL_PRIVILEGES) !== 0
      const wanted = { flags: request.u32(0), kill }
      const work = (): Promise<Handle> =>
        byPath(context, node, (path) => open(context, path, node, wanted))
      const answer = openAnswer(context, request.unique, node, wanted)
      requests.run('open', pathOf(node), work, answer, unwanted)
    },
    create(request) {
      const parent = nodeOf(context, request.nodeId)
      const name = request.text(16)
      const from = newFileOf(request)
      nodes.touch(parent)
      const work = (): Promise<Created> =>
        byName(context, parent, name, (path) => create(context, path, from))
      const answer = createAnswer(context, request.unique, parent, name)
      const late = ({ handle }: Created): void => unwanted(handle)
      requests.run('create', pathIn(parent, name), work, answer, late)
    },
    release(request) {
      const handle = request.u64(0)
      const node = nodes.get(request.nodeId)
      nodes.touch(node)
      nodes.released(request.nodeId, handle)
      const subject = node ?? `handle ${handle}`
      perform(context, 'release', subject, request.unique, () => fs.release(handle))
    },
  }
}

function newFileOf(request: KernelRequest): NewFile {
  return {
    flags: (request.u32(0) & CREATE_FLAGS) | O_CREAT,
    mode: request.u32(4) & 0o7777,
    owner: ownerOf(request, request.u32(8)),
  }
}

async function open(
  context: HandlerContext,
  path: string,
  node: Node,
  { flags, kill }: Wanted,
): Promise<Handle> {
  const { fs } = context
  const handle = await fs.open(path, flags & OPEN_FLAGS)
  try {
    if (fs.identity(handle).inode !== node.inode) throw replaced(node)
    if (kill && hasPrivileges(node)) await dropPrivileges(fs, node, handle)
    return handle
  } catch (error) {
    discard(context, handle)
    throw error
  }
}

function openAnswer(
  context: HandlerContext,
  unique: number,
  node: Node,
  { flags }: Wanted,
): Answer<Handle> {
  const { nodes, replies, cache } = context
  const { soleUse } = cache
  return (code, handle) => {
    if (handle === undefined) {
      replies.code(unique, code)
      return
    }
    const writes = (flags & CHANGE_FLAGS) !== 0
    nodes.opened(node, handle, writes)
    if ((flags & O_TRUNC) !== 0) nodes.touch(node)
    const kept = cache.opening(node, handle, soleUse)
    const quiet = writes ? 0 : OPENED.noFlush
    if (replies.opened(unique, { handle, flags: kept | quiet })) return
    nodes.released(node.id, handle)
    discard(context, handle)
  }
}

async function create(context: HandlerContext, path: string, from: NewFile): Promise<Created> {
  const { fs } = context
  const handle = await fs.create(path, from.mode, from.flags, from.owner)
  try {
    return { handle, stat: await fs.statHandle(handle) }
  } catch (error) {
    discard(context, handle)
    throw error
  }
}

function createAnswer(
  context: HandlerContext,
  unique: number,
  parent: Node,
  name: string,
): Answer<Created> {
  const { nodes, replies, cache } = context
  const { soleUse } = cache
  const moment = nodes.now
  return (code, created) => {
    nodes.touch(parent)
    if (created === undefined) {
      replies.code(unique, code)
      return
    }
    const { handle, stat } = created
    const keptMs = cache.keptMs(soleUse)
    const node = nodes.found(parent, name, stat, moment)
    nodes.opened(node, handle, true)
    nodes.touch(node)
    const entry = { nodeId: node.id, keptMs, attributesMs: cache.attributesMs(node, keptMs) }
    const flags = cache.opening(node, handle, soleUse)
    if (replies.created(unique, entry, stat, { handle, flags })) return
    nodes.released(node.id, handle)
    nodes.forget(node.id, 1)
    discard(context, handle)
  }
}

/** Gives back a handle that nobody will close. */
function discard({ fs, requests }: HandlerContext, handle: Handle): void {
  fs.release(handle).catch((error: unknown) => {
    requests.failed('release', `handle ${handle}`, error)
  })
}
