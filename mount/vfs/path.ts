/**
 * Paths as the file system takes them: absolute, `/`-separated, relative to the user's root.
 *
 * What is refused here never reaches a server: a name that is none, a path that is too deep, a string
 * that stands for no bytes.
 */
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { encodeName } from '../crypto/name-bytes.ts'

/** The names along `path`, none for the root. Throws `invalidArgument` or `nameTooLong`. */
export function componentsOf(path: string): string[] {
  if (!path.startsWith('/')) {
    throw new DfsError('invalidArgument', `${JSON.stringify(path)} is not an absolute path`)
  }
  const names: string[] = []
  let start = 1
  while (start <= path.length) {
    let end = path.indexOf('/', start)
    if (end === -1) end = path.length
    if (end > start) names.push(checkedName(path.slice(start, end)))
    start = end + 1
  }
  if (names.length > limits.resolveDepthMax) {
    const detail = `a path of ${names.length} names; at most ${limits.resolveDepthMax} are possible`
    throw new DfsError('nameTooLong', detail)
  }
  return names
}

function checkedName(name: string): string {
  if (name === '.' || name === '..' || name.includes('\0')) {
    throw new DfsError('invalidArgument', `${JSON.stringify(name)} cannot be a file's name`)
  }
  // A text of 85 characters has at most 255 bytes: the common case needs no counting.
  if (name.length * 3 <= limits.nameBytesMax && name.isWellFormed()) return name
  if (encodeName(name).length > limits.nameBytesMax) {
    throw new DfsError('nameTooLong', `a name has at most ${limits.nameBytesMax} bytes`)
  }
  return name
}
