/**
 * Handlers for what is known about files: stat, chmod, chown, utimens, truncate, statfs.
 */
import type { Stat, Target } from '../../vfs/api.ts'
import { modificationTime } from '../binding.ts'
import type { Handlers, Request } from '../binding.ts'
import { isHidden } from '../hidden-files.ts'
import type { Answer } from '../reply.ts'
import { setTimes } from '../single-times.ts'
import { statWords, writeStat, writeStatfs } from '../stat-words.ts'
import { checkName, perform, targetOf, wide } from './context.ts'
import type { HandlerContext } from './context.ts'

/** chown's "leave it", as it arrives. */
const unchangedId = 0xffff_ffff
const statfsWords = 11

export type AttributeHandlers = Pick<
  Handlers,
  'getattr' | 'fgetattr' | 'chmod' | 'chown' | 'utimens' | 'truncate' | 'ftruncate' | 'statfs'
>

export function attributeHandlers(context: HandlerContext): AttributeHandlers {
  return { ...statHandlers(context), ...changeHandlers(context) }
}

function statHandlers(
  context: HandlerContext,
): Pick<AttributeHandlers, 'getattr' | 'fgetattr' | 'statfs'> {
  const { fs, signals, requests, hidden, cache } = context
  // The addon copies out of these during the call: one of each will do.
  const words = new Uint32Array(statWords)
  const figures = new Uint32Array(statfsWords)

  const statAnswer = (request: Request): Answer<Stat> => {
    const { soleUse } = cache
    return (code, stat) => {
      if (stat !== undefined) {
        writeStat(stat, words)
        cache.answering(soleUse, stat)
      }
      signals.fuse_native_signal_getattr(request, code, words)
    }
  }

  const statPath = (path: string): Promise<Stat> => {
    checkName(path)
    if (isHidden(path)) return fs.statHandle(hidden.handleOf(path))
    const settled = hidden.settled(path)
    return settled === undefined ? fs.stat(path) : settled.then(() => fs.stat(path))
  }

  return {
    getattr(request, _opcode, path) {
      requests.run('getattr', path, () => statPath(path), statAnswer(request))
    },
    fgetattr(request, _opcode, path, handle) {
      const work = (): Promise<Stat> => fs.statHandle(handle)
      const { soleUse } = cache
      requests.run('fgetattr', path, work, (code, stat) => {
        if (stat !== undefined) {
          hidden.learned(handle, stat.inode)
          writeStat(stat, words)
          cache.answering(soleUse, stat)
        }
        signals.fuse_native_signal_fgetattr(request, code, words)
      })
    },
    statfs(request, _opcode, path) {
      requests.run(
        'statfs',
        path,
        () => fs.statfs(),
        (code, size) => {
          if (size !== undefined) writeStatfs(size, figures)
          signals.fuse_native_signal_statfs(request, code, figures)
        },
      )
    },
  }
}

function changeHandlers(
  context: HandlerContext,
): Pick<AttributeHandlers, 'chmod' | 'chown' | 'utimens' | 'truncate' | 'ftruncate'> {
  const { fs, signals } = context

  const change = async (path: string, work: (target: Target) => Promise<void>): Promise<void> =>
    work(await targetOf(context, path))

  return {
    chmod(request, _opcode, path, mode) {
      const work = (): Promise<void> => change(path, (target) => fs.chmod(target, mode & 0o7777))
      perform(context, 'chmod', path, request, signals.fuse_native_signal_chmod, work)
    },
    chown(request, _opcode, path, uid, gid) {
      const work = (): Promise<void> =>
        change(path, (target) => fs.chown(target, idOf(uid), idOf(gid)))
      perform(context, 'chown', path, request, signals.fuse_native_signal_chown, work)
    },
    utimens(request, opcode, path, low, high) {
      const work = (): Promise<void> => {
        // Times before 1970 are negative numbers in 64 bits.
        const atimeMs = BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low))
        const mtimeMs = modificationTime(request, opcode, atimeMs)
        return change(path, (target) => setTimes(fs, target, atimeMs, mtimeMs))
      }
      perform(context, 'utimens', path, request, signals.fuse_native_signal_utimens, work)
    },
    truncate(request, _opcode, path, low, high) {
      const work = (): Promise<void> => {
        const size = wide(low, high)
        return change(path, (target) =>
          typeof target === 'string' ? fs.truncate(target, size) : fs.truncateHandle(target, size),
        )
      }
      perform(context, 'truncate', path, request, signals.fuse_native_signal_truncate, work)
    },
    ftruncate(request, _opcode, path, handle, low, high) {
      const work = (): Promise<void> => fs.truncateHandle(handle, wide(low, high))
      perform(context, 'ftruncate', path, request, signals.fuse_native_signal_ftruncate, work)
    },
  }
}

function idOf(id: number): number {
  return id === unchangedId ? -1 : id
}
