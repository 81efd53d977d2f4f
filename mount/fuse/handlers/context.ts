/**
 * What every handler needs, and the ways from an inode of the kernel's to a file of ours.
 */
import { DfsError } from '../../../schema/wire/status.ts'
import type { FileSystem, Stat, Target } from '../../vfs/api.ts'
import type { KernelCache } from '../kernel-cache.ts'
import type { KernelRequest } from '../kernel-request.ts'
import type { Node, NodeTable } from '../node-table.ts'
import type { PathGate } from '../path-gate.ts'
import type { OperationName } from '../protocol.ts'
import type { Replies } from '../replies.ts'
import type { Answer, Requests } from '../reply.ts'
import type { TransferBuffers } from '../transfer-buffers.ts'

export interface HandlerContext {
  readonly fs: FileSystem
  readonly nodes: NodeTable
  readonly replies: Replies
  readonly requests: Requests
  readonly cache: KernelCache
  /** Flags of `INIT` that the kernel and we both have; none before it has begun. */
  readonly agreed: { readonly flags: number }
  readonly gate: PathGate
  /** Where what is read goes to. */
  readonly reads: TransferBuffers
  /** Where requests come in, with what is to be written. */
  readonly incoming: TransferBuffers
}

/** Takes what it needs from the request before it returns. A DfsError that it throws is the answer. */
export type Handler = (request: KernelRequest) => void

/** The inode that a request is about. */
export function nodeOf({ nodes }: HandlerContext, id: number): Node {
  const node = nodes.get(id)
  if (node === undefined) throw new DfsError('staleInode', `the kernel's inode ${id} is not known`)
  return node
}

/** Throws `notFound` when the inode has no name any more. */
export function pathOf(node: Node): string {
  return known(node.path, node)
}

/** The path of a name in a directory. */
export function pathIn(directory: Node, name: string): string {
  return known(directory.childPath(name), directory)
}

function known(path: string | undefined, node: Node): string {
  if (path !== undefined) return path
  throw new DfsError('notFound', `inode ${node.inode} has no name any more`)
}

/** Does something with an inode by its path, which stays what it is meanwhile. */
export function byPath<T>(
  { gate }: HandlerContext,
  node: Node,
  work: (path: string) => Promise<T>,
): Promise<T> {
  return gate.by(() => pathOf(node), work)
}

/** The same with a name in a directory. */
export function byName<T>(
  { gate }: HandlerContext,
  directory: Node,
  name: string,
  work: (path: string) => Promise<T>,
): Promise<T> {
  return gate.by(() => pathIn(directory, name), work)
}

/** Does something with the file behind an inode: by a handle that is open, else by its path. */
export function withTarget<T>(
  context: HandlerContext,
  node: Node,
  work: (target: Target) => Promise<T>,
): Promise<T> {
  const { handle } = node
  return handle === undefined ? byPath(context, node, work) : work(handle)
}

/** Attributes of an inode. Throws `staleInode` when its name stands for another one by now. */
export async function statNode(context: HandlerContext, node: Node): Promise<Stat> {
  const { fs, nodes } = context
  const { handle } = node
  const moment = nodes.now
  const stat = await (handle === undefined
    ? byPath(context, node, (path) => fs.stat(path))
    : fs.statHandle(handle))
  if (stat.inode !== node.inode) throw replaced(node)
  nodes.told(node, stat, moment)
  return stat
}

/** The kernel asks for the name again when it gets this. */
export function replaced(node: Node): DfsError {
  return new DfsError('staleInode', `${node.toString()}: became another file meanwhile`)
}

/** Answers with the inode that a name stands for. */
export function entryAnswer(
  { nodes, replies, cache }: HandlerContext,
  unique: number,
  parent: Node,
  name: string,
): Answer<Stat> {
  const { soleUse } = cache
  const moment = nodes.now
  return (code, stat) => {
    if (stat === undefined) {
      replies.code(unique, code)
      return
    }
    const keptMs = cache.keptMs(soleUse)
    const node = nodes.found(parent, name, stat, moment)
    const entry = { nodeId: node.id, keptMs, attributesMs: cache.attributesMs(node, keptMs) }
    if (!replies.entry(unique, entry, stat)) nodes.forget(node.id, 1)
  }
}

/** Runs an operation that has no result. */
export function perform(
  { requests, replies }: HandlerContext,
  operation: OperationName,
  subject: Node | string,
  unique: number,
  work: () => Promise<void>,
): void {
  requests.run(operation, subject, work, (code) => {
    replies.code(unique, code)
  })
}
