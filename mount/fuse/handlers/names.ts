/**
 * Handlers for the tree: looking up, making, linking, renaming and removing.
 */
import { constants } from 'node:fs'
import { constants as system } from 'node:os'
import { encodeName } from '../../crypto/name-bytes.ts'
import type { Owner, Stat } from '../../vfs/api.ts'
import type { KernelRequest } from '../kernel-request.ts'
import type { Node } from '../node-table.ts'
import type { OperationName } from '../protocol.ts'
import { byName, byPath, entryAnswer, nodeOf, pathIn, pathOf, perform } from './context.ts'
import type { Handler, HandlerContext } from './context.ts'

const { ENOENT } = system.errno

type Names<K extends string> = Record<K, Handler>

export function nameHandlers(
  context: HandlerContext,
): Names<
  'lookup' | 'readlink' | 'mkdir' | 'mknod' | 'symlink' | 'link' | 'unlink' | 'rmdir' | 'rename'
> {
  return { ...readHandlers(context), ...makeHandlers(context), ...removeHandlers(context) }
}

function readHandlers(context: HandlerContext): Names<'lookup' | 'readlink'> {
  const { fs, nodes, replies, requests, cache } = context
  return {
    lookup(request) {
      const { unique } = request
      const parent = nodeOf(context, request.nodeId)
      const name = request.text(0)
      const { soleUse } = cache
      const found = entryAnswer(context, unique, parent, name)
      const path = pathIn(parent, name)
      const work = (): Promise<Stat> => byName(context, parent, name, (now) => fs.stat(now))
      requests.run('lookup', path, work, (code, stat) => {
        const isNone = code === -ENOENT
        if (isNone) nodes.removed(parent, name)
        const keptMs = isNone ? cache.keptMs(soleUse) : 0
        // Also that there is nothing can be kept.
        if (keptMs === 0) found(code, stat)
        else replies.entry(unique, { nodeId: 0, keptMs, attributesMs: 0 }, undefined)
      })
    },
    readlink({ unique, nodeId }) {
      const node = nodeOf(context, nodeId)
      const work = (): Promise<string> => byPath(context, node, (path) => fs.readlink(path))
      requests.run('readlink', node, work, (code, target) => {
        if (target === undefined) replies.code(unique, code)
        else replies.bytes(unique, encodeName(target))
      })
    },
  }
}

function makeHandlers(context: HandlerContext): Names<'mkdir' | 'mknod' | 'symlink' | 'link'> {
  const { fs, gate, requests } = context
  const touch = toucher(context)

  /** Makes `name` in the request's directory and answers with what came of it. */
  const make = (
    operation: OperationName,
    { unique, nodeId }: KernelRequest,
    name: string,
    work: (path: string) => Promise<void>,
  ): void => {
    const parent = nodeOf(context, nodeId)
    const making = async (path: string): Promise<Stat> => {
      touch(parent)
      try {
        await work(path)
      } finally {
        touch(parent)
      }
      return fs.stat(path)
    }
    const path = pathIn(parent, name)
    const run = (): Promise<Stat> => byName(context, parent, name, making)
    requests.run(operation, path, run, entryAnswer(context, unique, parent, name))
  }

  return {
    mkdir(request) {
      const mode = request.u32(0) & 0o7777
      const owner = ownerOf(request, request.u32(4))
      make('mkdir', request, request.text(8), (path) => fs.mkdir(path, mode, owner))
    },
    mknod(request) {
      const mode = request.u32(0)
      const device = request.u32(4)
      const owner = ownerOf(request, request.u32(8))
      const type = mode & constants.S_IFMT
      make('mknod', request, request.text(16), (path) =>
        type === constants.S_IFREG || type === 0
          ? makeFile(context, path, mode, owner)
          : fs.mknod(path, mode, device, owner),
      )
    },
    symlink(request) {
      const owner = ownerOf(request, 0)
      const name = request.text(0)
      const target = request.nextText()
      make('symlink', request, name, (path) => fs.symlink(target, path, owner))
    },
    link(request) {
      const node = nodeOf(context, request.u64(0))
      const parent = nodeOf(context, request.nodeId)
      const name = request.text(8)
      const paths = (): readonly [string, string] => [pathOf(node), pathIn(parent, name)]
      const linking = async (existing: string, path: string): Promise<Stat> => {
        touch(node, parent)
        try {
          await fs.link(existing, path)
        } finally {
          touch(node, parent)
        }
        return fs.stat(path)
      }
      const run = (): Promise<Stat> => gate.byBoth(paths, linking)
      const answer = entryAnswer(context, request.unique, parent, name)
      requests.run('link', paths().join(' -> '), run, answer)
    },
  }
}

/** Whose program asks owns what it makes. Bits that the kernel took from the mode already do no harm. */
export function ownerOf({ uid, gid }: KernelRequest, umask: number): Owner {
  return { uid, gid, umask: umask & 0o777 }
}

/** mknod(2) of a regular file. */
async function makeFile(
  { fs }: HandlerContext,
  path: string,
  mode: number,
  owner: Owner,
): Promise<void> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL
  const handle = await fs.create(path, mode & 0o7777, flags, owner)
  await fs.release(handle)
}

function removeHandlers(context: HandlerContext): Names<'unlink' | 'rmdir' | 'rename'> {
  const { fs, nodes, gate } = context
  const touch = toucher(context)

  const remove = (
    operation: 'unlink' | 'rmdir',
    request: KernelRequest,
    work: (path: string) => Promise<void>,
  ): void => {
    const parent = nodeOf(context, request.nodeId)
    const name = request.text(0)
    const removing = async (path: string): Promise<void> => {
      const node = parent.children?.get(name)
      touch(parent, node)
      try {
        await work(path)
        nodes.removed(parent, name)
      } finally {
        touch(parent, node)
      }
    }
    const path = pathIn(parent, name)
    const run = (): Promise<void> => byName(context, parent, name, removing)
    perform(context, operation, path, request.unique, run)
  }

  return {
    unlink(request) {
      remove('unlink', request, (path) => fs.unlink(path))
    },
    rmdir(request) {
      remove('rmdir', request, (path) => fs.rmdir(path))
    },
    rename(request) {
      const from = { parent: nodeOf(context, request.nodeId), name: request.text(8) }
      const to = { parent: nodeOf(context, request.u64(0)), name: request.nextText() }
      const moved = from.parent.children?.get(from.name)
      const renaming = async (fromPath: string, toPath: string): Promise<void> => {
        const replaced = to.parent.children?.get(to.name)
        touch(from.parent, to.parent, moved, replaced)
        try {
          await fs.rename(fromPath, toPath)
          nodes.renamed(from, to)
        } finally {
          touch(from.parent, to.parent, moved, replaced)
        }
      }
      const paths = (): readonly [string, string] => [
        pathIn(from.parent, from.name),
        pathIn(to.parent, to.name),
      ]
      const subject = paths().join(' -> ')
      const work = (): Promise<void> =>
        isDirectory(moved) ? gate.move(paths, renaming) : gate.byBoth(paths, renaming)
      perform(context, 'rename', subject, request.unique, work)
    },
  }
}

/** What is not known could be one. */
function isDirectory(node: Node | undefined): boolean {
  return node === undefined || (node.mode & constants.S_IFMT) === constants.S_IFDIR
}

/** Notes that inodes change, before and after. */
function toucher({ nodes }: HandlerContext): (...touched: (Node | undefined)[]) => void {
  return (...touched) => {
    for (const node of touched) nodes.touch(node)
  }
}
