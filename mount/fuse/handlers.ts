/**
 * All handlers of a mount: each turns a request of the kernel into one call of the file system and
 * that into an answer. Thin by intent: what POSIX wants is the file system's business.
 */
import { addon } from './binding.ts'
import type { Handlers } from './binding.ts'
import { attributeHandlers } from './handlers/attributes.ts'
import type { HandlerContext } from './handlers/context.ts'
import { directoryHandlers } from './handlers/directory.ts'
import { fileHandlers } from './handlers/file.ts'
import { xattrHandlers } from './handlers/xattr.ts'

/** `onInit` runs when the kernel's first request arrives: the mount is up. */
export function makeHandlers(context: HandlerContext, onInit: () => void): Handlers {
  const native = addon()
  return {
    init(request) {
      native.fuse_native_signal_init(request, 0)
      onInit()
    },
    ...attributeHandlers(context),
    ...directoryHandlers(context),
    ...fileHandlers(context),
    ...xattrHandlers(context),
  }
}
