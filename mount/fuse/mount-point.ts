/**
 * Before a mount: is this directory fit for it? And what can be cleaned up is cleaned up.
 *
 * Nothing here waits on a dead file system: questions that may hang are asked with a limit of time.
 */
import { access, constants, readFile, readdir, realpath, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { DfsError } from '../../schema/wire/status.ts'
import type { Log } from '../../schema/rpc/api.ts'
import { readMountTable } from './mount-table.ts'
import { unmountLazily } from './unmount-command.ts'

/** File system type of our mounts in the mount table. */
const mountType = 'fuse.dfs'
/** Longest wait for a directory to answer, ms. */
const answerMs = 5_000

/**
 * Checks `directory` and returns its absolute path without symbolic links. A dead mount of ours on it
 * is removed. Throws DfsError: `notFound`, `notDirectory`, `notEmpty`, `exists` (something is mounted
 * there), `invalidArgument` (the root), `deadlineExceeded`.
 */
export async function prepareMountPoint(directory: string, log: Log): Promise<string> {
  const path = await resolvePath(directory)
  const mounted = (await readMountTable()).findLast((entry) => entry.directory === path)
  if (mounted !== undefined) await clear(path, mounted.type, log)
  await checkEmptyDirectory(path)
  return path
}

/** Throws DfsError `forbidden` or `notSupported` when this process may not mount, saying why. */
export async function checkMountAllowed(allowOther: boolean): Promise<void> {
  const isRoot = process.geteuid?.() === 0
  try {
    await access('/dev/fuse', constants.R_OK | constants.W_OK)
  } catch (error) {
    const detail =
      'this user cannot open /dev/fuse: load the kernel module (modprobe fuse), give the container the device, or allow it (chmod 666 /dev/fuse)'
    throw new DfsError('notSupported', detail, { cause: error })
  }
  if (!allowOther || isRoot) return
  const config = await readFile('/etc/fuse.conf', 'utf8').catch(() => '')
  if (!/^\s*user_allow_other\s*$/m.test(config)) {
    const detail = 'allowing other users needs the line "user_allow_other" in /etc/fuse.conf'
    throw new DfsError('forbidden', detail)
  }
}

/** The directory itself is not asked: it may be a dead mount. */
async function resolvePath(directory: string): Promise<string> {
  const absolute = resolve(directory)
  if (absolute === '/') throw new DfsError('invalidArgument', '/: cannot be a mount point')
  try {
    return await inTime(realpath(absolute), absolute)
  } catch (error) {
    if (!hasCode(error, 'ENOTCONN')) throw asDfsError(error, absolute)
    return join(await realpath(dirname(absolute)), basename(absolute))
  }
}

async function clear(path: string, type: string, log: Log): Promise<void> {
  if (type !== mountType) {
    throw new DfsError('exists', `${path}: a file system of type ${type} is mounted there`)
  }
  try {
    await inTime(stat(path), path)
  } catch (error) {
    if (!hasCode(error, 'ENOTCONN')) throw asDfsError(error, path)
    log.warn({ path }, 'removing the mount that a killed dfs-mount left behind')
    await unmountLazily(path)
    return
  }
  throw new DfsError('exists', `${path}: dfs is mounted there already; unmount it first`)
}

async function checkEmptyDirectory(path: string): Promise<void> {
  let names: string[]
  try {
    names = await inTime(readdir(path), path)
  } catch (error) {
    throw asDfsError(error, path)
  }
  if (names.length > 0) {
    const detail = `${path}: is not empty (${names.length} entries); mount on an empty directory`
    throw new DfsError('notEmpty', detail)
  }
}

async function inTime<T>(question: Promise<T>, path: string): Promise<T> {
  const limit = new AbortController()
  const late = pause(answerMs, undefined, { signal: limit.signal, ref: false }).then(() => {
    throw new DfsError('deadlineExceeded', `${path}: does not answer within ${answerMs} ms`)
  })
  try {
    return await Promise.race([question, late])
  } finally {
    late.catch(() => undefined)
    limit.abort()
  }
}

function asDfsError(error: unknown, path: string): unknown {
  if (hasCode(error, 'ENOENT')) {
    return new DfsError('notFound', `${path}: no such directory; make it first`, { cause: error })
  }
  if (hasCode(error, 'ENOTDIR')) {
    return new DfsError('notDirectory', `${path}: is not a directory`, { cause: error })
  }
  if (hasCode(error, 'EACCES')) {
    return new DfsError('forbidden', `${path}: this user may not read it`, { cause: error })
  }
  return error
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
