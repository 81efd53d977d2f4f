/**
 * Handlers for open files: open, create, read, write, flush, fsync, release; and fsync of a directory.
 *
 * They go by handle and ignore the path, which may be another file's by now.
 */
import { constants } from 'node:fs'
import { DfsError } from '../../../schema/wire/status.ts'
import type { Handle, Owner } from '../../vfs/api.ts'
import type { Handlers, KernelBuffer, Request } from '../binding.ts'
import { isHidden } from '../hidden-files.ts'
import { checkName, checkNewName, perform, wide } from './context.ts'
import type { HandlerContext } from './context.ts'

export type FileHandlers = Pick<
  Handlers,
  'open' | 'create' | 'read' | 'write' | 'flush' | 'fsync' | 'fsyncdir' | 'release'
>

/** The flags of open(2) that mean something to the file system. */
const openFlags = constants.O_WRONLY | constants.O_RDWR | constants.O_TRUNC | constants.O_APPEND

interface NewFile {
  readonly mode: number
  readonly flags: number
  readonly owner: Owner
}

export function fileHandlers(context: HandlerContext): FileHandlers {
  return { ...openHandlers(context), ...transferHandlers(context), ...syncHandlers(context) }
}

function openHandlers(context: HandlerContext): Pick<FileHandlers, 'open' | 'create' | 'release'> {
  const { fs, signals, requests, hidden, cache } = context

  const tracked = (handle: Handle): Handle => {
    hidden.opened(handle)
    return handle
  }
  /** An answer that came too late: nobody will close this file. */
  const discard = (handle: Handle): void => {
    hidden.released(handle, '')
    fs.release(handle).catch((error: unknown) => {
      requests.failed('release', `handle ${handle}`, error)
    })
  }
  const create = async (path: string, from: NewFile): Promise<Handle> => {
    checkNewName(path)
    await hidden.settled(path)
    try {
      return tracked(await fs.create(path, from.mode & 0o7777, from.flags, from.owner))
    } catch (error) {
      if (!(error instanceof DfsError) || error.code !== 'exists') throw error
      // The kernel did not find the file, so another mount has just made it. Whether that is an
      // error only open's flags tell, which fuse-native keeps. On ESTALE the kernel looks again, and
      // then either opens the file or answers EEXIST itself.
      throw new DfsError('staleInode', `${path}: made by somebody else meanwhile`, { cause: error })
    }
  }
  const open = async (path: string, flags: number): Promise<Handle> => {
    checkName(path)
    if (isHidden(path)) throw new DfsError('notFound', `${path}: libfuse's name of a removed file`)
    await hidden.settled(path)
    return tracked(await fs.open(path, flags & openFlags))
  }

  return {
    open(request, _opcode, path, flags) {
      const { soleUse } = cache
      const answer = (code: number, handle?: Handle): void => {
        if (handle !== undefined) cache.opening(request, { path, flags, handle, soleUse })
        signals.fuse_native_signal_open(request, code, handle ?? 0)
      }
      requests.run('open', path, () => open(path, flags), answer, discard)
    },
    create(request, _opcode, path, mode) {
      const answer = (code: number, handle?: Handle): void =>
        signals.fuse_native_signal_create(request, code, handle ?? 0)
      const append = context.openFlagsOf(request) & constants.O_APPEND
      const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | append
      const from = { mode, flags, owner: context.ownerOf(request) }
      requests.run('create', path, () => create(path, from), answer, discard)
    },
    release(request, _opcode, path, handle) {
      hidden.released(handle, path)
      const work = (): Promise<void> => fs.release(handle)
      perform(context, 'release', path, request, signals.fuse_native_signal_release, work)
    },
  }
}

function transferHandlers(context: HandlerContext): Pick<FileHandlers, 'read' | 'write'> {
  const { fs, signals, requests } = context

  const readDone = (request: Request, code: number, buffer: KernelBuffer): void =>
    signals.fuse_native_signal_read(request, code, 0, buffer.buffer)
  const writeDone = (request: Request, code: number, buffer: KernelBuffer): void =>
    signals.fuse_native_signal_write(request, code, 0, buffer.buffer)

  return {
    read(request, _opcode, path, handle, buffer, _length, low, high) {
      let outcome: number | Promise<number>
      try {
        outcome = requests.stopped ?? fs.read(handle, buffer, wide(low, high))
      } catch (error) {
        outcome = requests.failed('read', path, error)
      }
      if (typeof outcome === 'number') readDone(request, outcome, buffer)
      else {
        requests.follow('read', path, outcome, (code, count) => {
          readDone(request, count ?? code, buffer)
        })
      }
    },
    write(request, _opcode, path, handle, buffer, _length, low, high) {
      let outcome: number | Promise<number>
      try {
        outcome = requests.stopped ?? fs.write(handle, buffer, wide(low, high))
      } catch (error) {
        outcome = requests.failed('write', path, error)
      }
      if (typeof outcome === 'number') writeDone(request, outcome, buffer)
      else {
        requests.follow('write', path, outcome, (code, count) => {
          writeDone(request, count ?? code, buffer)
        })
      }
    },
  }
}

function syncHandlers(context: HandlerContext): Pick<FileHandlers, 'flush' | 'fsync' | 'fsyncdir'> {
  const { fs, signals, hidden } = context
  return {
    flush(request, _opcode, path, handle) {
      const work = (): Promise<void> => fs.flush(handle)
      perform(context, 'flush', path, request, signals.fuse_native_signal_flush, work)
    },
    fsync(request, _opcode, path, _datasync, handle) {
      const work = (): Promise<void> => fs.fsync(handle)
      perform(context, 'fsync', path, request, signals.fuse_native_signal_fsync, work)
    },
    fsyncdir(request, _opcode, path) {
      const work = async (): Promise<void> => {
        checkName(path)
        await hidden.settled(path)
        await fs.fsyncDirectory()
      }
      perform(context, 'fsyncdir', path, request, signals.fuse_native_signal_fsyncdir, work)
    },
  }
}
