/**
 * Handlers for the tree: listing, making, linking, renaming and removing.
 */
import { constants } from 'node:fs'
import type { Owner, Stat } from '../../vfs/api.ts'
import type { Handlers } from '../binding.ts'
import { isHidden } from '../hidden-files.ts'
import { statBytes, statWords, writeStat } from '../stat-words.ts'
import { checkName, checkNewName, perform } from './context.ts'
import type { HandlerContext } from './context.ts'

export type DirectoryHandlers = Pick<
  Handlers,
  'readdir' | 'readlink' | 'mkdir' | 'mknod' | 'symlink' | 'link' | 'unlink' | 'rmdir' | 'rename'
>

export function directoryHandlers(context: HandlerContext): DirectoryHandlers {
  return { ...readHandlers(context), ...makeHandlers(context), ...removeHandlers(context) }
}

interface Listing {
  readonly names: string[]
  readonly stats: Uint8Array[]
}

/** The whole directory, in the form the addon takes; libfuse pages it out to the kernel. */
async function listing(context: HandlerContext, path: string): Promise<Listing> {
  const { fs, hidden } = context
  checkName(path)
  await hidden.settledBelow(path)
  const names: string[] = ['.', '..']
  const stats: Uint8Array[] = []
  const own = await fs.stat(path)
  appendStats([own, own], stats)
  for await (const page of fs.listPages(path)) {
    for (const entry of page) names.push(entry.name)
    appendStats(
      page.map((entry) => entry.stat),
      stats,
    )
  }
  return { names, stats }
}

function appendStats(from: readonly Stat[], into: Uint8Array[]): void {
  const words = new Uint32Array(from.length * statWords)
  from.forEach((stat, index) => {
    writeStat(stat, words, index * statWords)
    into.push(new Uint8Array(words.buffer, index * statBytes, statBytes))
  })
}

function readHandlers(context: HandlerContext): Pick<DirectoryHandlers, 'readdir' | 'readlink'> {
  const { fs, signals, requests, hidden } = context
  return {
    readdir(request, _opcode, path) {
      const work = (): Promise<Listing> => listing(context, path)
      requests.run('readdir', path, work, (code, found) => {
        signals.fuse_native_signal_readdir(request, code, found?.names ?? [], found?.stats ?? [])
      })
    },
    readlink(request, _opcode, path) {
      const work = async (): Promise<string> => {
        checkName(path)
        await hidden.settled(path)
        return fs.readlink(path)
      }
      requests.run('readlink', path, work, (code, target) => {
        signals.fuse_native_signal_readlink(request, code, target ?? '')
      })
    },
  }
}

function makeHandlers(
  context: HandlerContext,
): Pick<DirectoryHandlers, 'mkdir' | 'mknod' | 'symlink' | 'link'> {
  const { fs, signals, hidden } = context

  const make = async (path: string, work: () => Promise<void>): Promise<void> => {
    checkNewName(path)
    await hidden.settled(path)
    await work()
  }

  return {
    mkdir(request, _opcode, path, mode) {
      const owner = context.ownerOf(request)
      const work = (): Promise<void> => make(path, () => fs.mkdir(path, mode & 0o7777, owner))
      perform(context, 'mkdir', path, request, signals.fuse_native_signal_mkdir, work)
    },
    mknod(request, _opcode, path, mode, device) {
      const type = mode & constants.S_IFMT
      const owner = context.ownerOf(request)
      const work = (): Promise<void> =>
        make(path, () =>
          type === constants.S_IFREG || type === 0
            ? makeFile(context, path, mode, owner)
            : fs.mknod(path, mode, device, owner),
        )
      perform(context, 'mknod', path, request, signals.fuse_native_signal_mknod, work)
    },
    symlink(request, _opcode, target, path) {
      const owner = context.ownerOf(request)
      const work = async (): Promise<void> => {
        checkName(target)
        await make(path, () => fs.symlink(target, path, owner))
      }
      perform(context, 'symlink', path, request, signals.fuse_native_signal_symlink, work)
    },
    link(request, _opcode, from, to) {
      const work = async (): Promise<void> => {
        checkName(from)
        await hidden.settled(from)
        await make(to, () => fs.link(from, to))
      }
      perform(context, 'link', to, request, signals.fuse_native_signal_link, work)
    },
  }
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

function removeHandlers(
  context: HandlerContext,
): Pick<DirectoryHandlers, 'unlink' | 'rmdir' | 'rename'> {
  const { fs, signals, hidden } = context
  return {
    unlink(request, _opcode, path) {
      const work = async (): Promise<void> => {
        checkName(path)
        if (isHidden(path)) {
          hidden.forget(path)
          return
        }
        await hidden.settled(path)
        await fs.unlink(path)
      }
      perform(context, 'unlink', path, request, signals.fuse_native_signal_unlink, work)
    },
    rmdir(request, _opcode, path) {
      const work = async (): Promise<void> => {
        checkName(path)
        await hidden.settledBelow(path)
        await fs.rmdir(path)
      }
      perform(context, 'rmdir', path, request, signals.fuse_native_signal_rmdir, work)
    },
    rename(request, _opcode, from, to) {
      const work = (): Promise<void> => {
        checkName(from)
        checkName(to)
        return isHidden(to) ? hidden.hide(from, to, request) : hidden.rename(from, to, request)
      }
      perform(
        context,
        'rename',
        `${from} -> ${to}`,
        request,
        signals.fuse_native_signal_rename,
        work,
      )
    },
  }
}
