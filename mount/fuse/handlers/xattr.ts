/**
 * Handlers for extended attributes.
 *
 * Before each write(2) the kernel asks for `security.capability`, so what is not kept is refused
 * without a word to the file system.
 */
import { constants } from 'node:os'
import { DfsError } from '../../../schema/wire/status.ts'
import type { XattrMode } from '../../vfs/api.ts'
import { isKeptXattr } from '../../vfs/extended-attributes.ts'
import type { Handlers, KernelBuffer } from '../binding.ts'
import { perform, targetOf } from './context.ts'
import type { HandlerContext } from './context.ts'

export type XattrHandlers = Pick<Handlers, 'setxattr' | 'getxattr' | 'listxattr' | 'removexattr'>

const { ENOTSUP, ERANGE } = constants.errno
/** Flags of setxattr(2). */
const XATTR_CREATE = 1
const XATTR_REPLACE = 2

export function xattrHandlers(context: HandlerContext): XattrHandlers {
  return { ...readHandlers(context), ...changeHandlers(context) }
}

/** Puts `bytes` where the kernel wants them; the code that says how many they are. */
function fill(into: KernelBuffer, bytes: Uint8Array): number {
  if (into.length === 0) return bytes.length
  if (into.length < bytes.length) return -ERANGE
  into.set(bytes)
  return bytes.length
}

function readHandlers(context: HandlerContext): Pick<XattrHandlers, 'getxattr' | 'listxattr'> {
  const { fs, signals, requests } = context
  return {
    getxattr(request, _opcode, path, name, into) {
      if (!isKeptXattr(name)) {
        signals.fuse_native_signal_getxattr(request, -ENOTSUP, into.buffer)
        return
      }
      const work = async (): Promise<Uint8Array> => {
        refuseForeignText(name)
        return fs.getXattr(await targetOf(context, path), name)
      }
      requests.run('getxattr', path, work, (code, value) => {
        const done = value === undefined ? code : fill(into, value)
        signals.fuse_native_signal_getxattr(request, done, into.buffer)
      })
    },
    listxattr(request, _opcode, path, into) {
      const work = async (): Promise<Uint8Array> => {
        const names = await fs.listXattrs(await targetOf(context, path))
        return Buffer.from(names.map((name) => `${name}\0`).join(''))
      }
      requests.run('listxattr', path, work, (code, names) => {
        const done = names === undefined ? code : fill(into, names)
        signals.fuse_native_signal_listxattr(request, done, into.buffer)
      })
    },
  }
}

function changeHandlers(context: HandlerContext): Pick<XattrHandlers, 'setxattr' | 'removexattr'> {
  const { fs, signals, requests } = context
  return {
    setxattr(request, _opcode, path, name, value, _position, flags) {
      const work = async (): Promise<void> => {
        refuseForeignText(name)
        await fs.setXattr(await targetOf(context, path), name, value, modeOf(flags))
      }
      requests.run('setxattr', path, work, (code) => {
        signals.fuse_native_signal_setxattr(request, code, value.buffer)
      })
    },
    removexattr(request, _opcode, path, name) {
      const work = async (): Promise<void> => {
        refuseForeignText(name)
        await fs.removeXattr(await targetOf(context, path), name)
      }
      perform(context, 'removexattr', path, request, signals.fuse_native_signal_removexattr, work)
    },
  }
}

function modeOf(flags: number): XattrMode {
  if ((flags & XATTR_CREATE) !== 0) return 'create'
  return (flags & XATTR_REPLACE) !== 0 ? 'replace' : 'either'
}

/** As with file names: what is not UTF-8 reaches us as another name. */
function refuseForeignText(name: string): void {
  if (name.includes('\uFFFD')) {
    throw new DfsError('invalidArgument', `${name}: an attribute's name must be valid UTF-8`)
  }
}
