/**
 * Handlers for the content of open files: read, write, lseek, flush, fsync.
 *
 * They go by handle: the file may have any name by now, or none.
 */
import { constants } from 'node:os'
import type { Node } from '../node-table.ts'
import {
  REPLY_HEADER_BYTES,
  SEEK,
  TRANSFER_BYTES,
  WRITE_HEADER_BYTES,
  WRITE_KILL_PRIVILEGES,
} from '../protocol.ts'
import { perform, type Handler, type HandlerContext } from './context.ts'
import { dropPrivileges, hasPrivileges } from './privileges.ts'

const { EINVAL, ENXIO } = constants.errno

export function fileHandlers(
  context: HandlerContext,
): Record<'read' | 'write' | 'lseek' | 'flush' | 'fsync', Handler> {
  return {
    read: readHandler(context),
    write: writeHandler(context),
    lseek: seekHandler(context),
    ...syncHandlers(context),
  }
}

/** The path of each byte that is read: no promise and no closure where the file system has it at hand. */
function readHandler({ fs, nodes, replies, requests, reads }: HandlerContext): Handler {
  let piece: Buffer | undefined
  let into: Buffer = Buffer.alloc(0)
  return (request) => {
    const { unique, nodeId } = request
    const size = request.u32(16)
    const buffer = reads.current
    if (size > TRANSFER_BYTES || buffer === undefined) {
      replies.code(unique, -EINVAL)
      return
    }
    if (piece !== buffer || into.length !== size) {
      piece = buffer
      into = buffer.subarray(REPLY_HEADER_BYTES, REPLY_HEADER_BYTES + size)
    }
    let outcome: number | Promise<number>
    try {
      outcome = requests.stopped ?? fs.read(request.u64(0), into, request.u64(8))
    } catch (error) {
      outcome = requests.failed('read', subjectOf(nodes.get(nodeId), nodeId), error)
    }
    if (typeof outcome === 'number') {
      if (outcome < 0) replies.code(unique, outcome)
      else replies.data(unique, buffer, outcome)
      return
    }
    reads.keep()
    const back = (): void => reads.giveBack(buffer)
    requests.follow('read', subjectOf(nodes.get(nodeId), nodeId), outcome, (code, count) => {
      if (count === undefined) replies.code(unique, code)
      else replies.data(unique, buffer, count)
    })
    outcome.then(back, back)
  }
}

/** The path of each byte that is written. */
function writeHandler(context: HandlerContext): Handler {
  const { fs, nodes, replies, requests, incoming } = context
  return (request) => {
    const { unique, nodeId, bytes: buffer } = request
    const handle = request.u64(0)
    const position = request.u64(8)
    const bytes = buffer.subarray(WRITE_HEADER_BYTES, WRITE_HEADER_BYTES + request.u32(16))
    const node = nodes.get(nodeId)
    nodes.touch(node)
    const kills = (request.u32(20) & WRITE_KILL_PRIVILEGES) !== 0
    let outcome: number | Promise<number>
    try {
      outcome =
        requests.stopped ??
        (kills && node !== undefined && hasPrivileges(node)
          ? dropPrivileges(fs, node, handle).then(() => fs.write(handle, bytes, position))
          : fs.write(handle, bytes, position))
    } catch (error) {
      outcome = requests.failed('write', subjectOf(node, nodeId), error)
    }
    if (typeof outcome === 'number') {
      if (outcome < 0) replies.code(unique, outcome)
      else replies.count(unique, outcome)
      return
    }
    incoming.keep()
    const back = (): void => {
      nodes.touch(node)
      incoming.giveBack(buffer)
    }
    requests.follow('write', subjectOf(node, nodeId), outcome, (code, count) => {
      if (count === undefined) replies.code(unique, code)
      else replies.count(unique, count)
    })
    outcome.then(back, back)
  }
}

function seekHandler({ fs, nodes, replies, requests }: HandlerContext): Handler {
  return (request) => {
    const { unique, nodeId } = request
    const handle = request.u64(0)
    const position = request.u64(8)
    const whence = request.u32(16)
    if (whence !== SEEK.data && whence !== SEEK.hole) {
      replies.code(unique, -EINVAL)
      return
    }
    const work = (): Promise<number | undefined> =>
      whence === SEEK.data ? fs.seekData(handle, position) : fs.seekHole(handle, position)
    requests.run('lseek', subjectOf(nodes.get(nodeId), nodeId), work, (code, found) => {
      if (code < 0 || found === undefined) replies.code(unique, code < 0 ? code : -ENXIO)
      else replies.count(unique, found)
    })
  }
}

function subjectOf(node: Node | undefined, nodeId: number): Node | string {
  return node ?? `the kernel's inode ${nodeId}`
}

function syncHandlers(context: HandlerContext): Record<'flush' | 'fsync', Handler> {
  const { fs, nodes } = context
  const changing = (nodeId: number, work: () => Promise<void>) => async (): Promise<void> => {
    nodes.touch(nodes.get(nodeId))
    try {
      await work()
    } finally {
      nodes.touch(nodes.get(nodeId))
    }
  }
  return {
    flush(request) {
      const { unique, nodeId } = request
      const handle = request.u64(0)
      const subject = subjectOf(nodes.get(nodeId), nodeId)
      const work = changing(nodeId, () => fs.flush(handle))
      perform(context, 'flush', subject, unique, work)
    },
    fsync(request) {
      const { unique, nodeId } = request
      const handle = request.u64(0)
      const subject = subjectOf(nodes.get(nodeId), nodeId)
      const work = changing(nodeId, () => fs.fsync(handle))
      perform(context, 'fsync', subject, unique, work)
    },
  }
}
