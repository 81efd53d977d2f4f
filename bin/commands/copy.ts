/**
 * `dfs put` and `dfs get`: copies between this machine and the store, files or whole trees.
 *
 * A file appears under its name when all of it is there: it is written beside it first and renamed,
 * so that a copy that was interrupted leaves the old file or none. Modes and mtimes are kept.
 */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import * as local from 'node:fs/promises'
import { basename, join, posix } from 'node:path'
import { decodeName, encodeName } from '../../mount/crypto/name-bytes.ts'
import type { FileSystem, Stat } from '../../mount/vfs/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { Progress } from '../runtime/progress.ts'
import { isDirectory, isFile, isSymlink } from './file-kind.ts'

/** Bytes moved at a time. */
const PIECE_BYTES = 1_048_576

/** One file, folder or link to copy; paths on both sides, both as name-bytes.ts has names. */
export interface CopyItem {
  readonly kind: 'file' | 'directory' | 'symlink'
  readonly from: string
  readonly to: string
  readonly bytes: number
  readonly mode: number
  /** Nanoseconds. */
  readonly mtime: bigint
}

const owner = (): { uid: number; gid: number } => ({
  uid: process.getuid?.() ?? 0,
  gid: process.getgid?.() ?? 0,
})

/** Name for a file that is not whole yet, in the folder of `path`. */
function partName(path: string): string {
  const id = randomBytes(6).toString('hex')
  return posix.join(posix.dirname(path), `.dfs-${id}.part`)
}

/** What a local path holds, deepest last. Folders only when `recursive`. */
export async function localItems(
  from: string,
  to: string,
  recursive: boolean,
): Promise<CopyItem[]> {
  const stat = await local.lstat(encodeName(from), { bigint: true })
  const item = { from, to, mode: Number(stat.mode) & 0o7777, mtime: stat.mtimeNs }
  if (stat.isSymbolicLink()) return [{ ...item, kind: 'symlink', bytes: 0 }]
  if (stat.isFile()) return [{ ...item, kind: 'file', bytes: Number(stat.size) }]
  if (!stat.isDirectory()) {
    throw new DfsError('notSupported', `${from} is neither file, folder nor link: left out`)
  }
  if (!recursive) throw new DfsError('isDirectory', `${from} is a folder; use --recursive`)
  const items: CopyItem[] = [{ ...item, kind: 'directory', bytes: 0 }]
  for (const bytes of await local.readdir(encodeName(from), { encoding: 'buffer' })) {
    const name = decodeName(bytes)
    items.push(...(await localItems(join(from, name), posix.join(to, name), true)))
  }
  return items
}

/** What a path of the store holds, deepest last. Folders only when `recursive`. */
export async function storeItems(
  fs: FileSystem,
  from: string,
  to: string,
  recursive: boolean,
): Promise<CopyItem[]> {
  const walk = async (path: string, target: string, stat: Stat): Promise<CopyItem[]> => {
    const item = { from: path, to: target, mode: stat.mode & 0o7777, mtime: stat.mtime }
    if (isSymlink(stat)) return [{ ...item, kind: 'symlink', bytes: 0 }]
    if (isFile(stat)) return [{ ...item, kind: 'file', bytes: stat.size }]
    if (!isDirectory(stat)) {
      throw new DfsError('notSupported', `${path} is neither file, folder nor link`)
    }
    if (!recursive) throw new DfsError('isDirectory', `${path} is a folder; use --recursive`)
    const items: CopyItem[] = [{ ...item, kind: 'directory', bytes: 0 }]
    for (const entry of await fs.list(path)) {
      const below = await walk(posix.join(path, entry.name), join(target, entry.name), entry.stat)
      items.push(...below)
    }
    return items
  }
  return walk(from, to, await fs.stat(from))
}

/** Copies one item into the store. */
export async function putItem(fs: FileSystem, item: CopyItem, progress: Progress): Promise<void> {
  if (item.kind === 'directory') return ensureStoreDirectory(fs, item)
  if (item.kind === 'symlink') {
    await removeIfThere(async () => fs.unlink(item.to))
    const target = await local.readlink(encodeName(item.from), { encoding: 'buffer' })
    return fs.symlink(decodeName(target), item.to, owner())
  }
  progress.file(item.from, item.bytes)
  const part = partName(item.to)
  const source = await local.open(encodeName(item.from))
  try {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL
    const handle = await fs.create(part, item.mode, flags, owner())
    try {
      const piece = Buffer.allocUnsafe(PIECE_BYTES)
      for (let at = 0; ;) {
        const { bytesRead } = await source.read(piece, 0, PIECE_BYTES, at)
        if (bytesRead === 0) break
        await fs.write(handle, piece.subarray(0, bytesRead), at)
        progress.advance(bytesRead)
        at += bytesRead
      }
      await fs.fsync(handle)
    } finally {
      await fs.release(handle)
    }
    await fs.utimens(part, item.mtime, item.mtime)
    await fs.rename(part, item.to)
  } catch (error) {
    await removeIfThere(async () => fs.unlink(part))
    throw error
  } finally {
    await source.close()
  }
}

/** Copies one item out of the store. */
export async function getItem(fs: FileSystem, item: CopyItem, progress: Progress): Promise<void> {
  const to = encodeName(item.to)
  if (item.kind === 'directory') {
    await local.mkdir(to, { recursive: true, mode: item.mode | 0o700 })
    return
  }
  if (item.kind === 'symlink') {
    await local.rm(to, { force: true })
    return local.symlink(encodeName(await fs.readlink(item.from)), to)
  }
  progress.file(item.from, item.bytes)
  const part = encodeName(partName(item.to))
  const handle = await fs.open(item.from, constants.O_RDONLY)
  try {
    const target = await local.open(part, 'wx', item.mode)
    try {
      const piece = Buffer.allocUnsafe(PIECE_BYTES)
      for (let at = 0; ;) {
        const count = await fs.read(handle, piece, at)
        if (count === 0) break
        await target.write(piece, 0, count, at)
        progress.advance(count)
        at += count
      }
      await target.sync()
      const seconds = Number(item.mtime) / 1e9
      await target.utimes(seconds, seconds)
    } finally {
      await target.close()
    }
    await local.rename(part, to)
  } catch (error) {
    await local.rm(part, { force: true })
    throw error
  } finally {
    await fs.release(handle)
  }
}

/** Where copies of `sources` go: into `target` when it is a folder, else `target` itself. */
export function destinations(
  sources: readonly string[],
  target: string,
  targetIsDirectory: boolean,
  paths: Pick<typeof posix, 'join'>,
): string[] {
  if (sources.length > 1 && !targetIsDirectory) {
    throw new DfsError('notDirectory', `${target} is not a folder, but there are several sources`)
  }
  return sources.map((from) => (targetIsDirectory ? paths.join(target, basename(from)) : target))
}

async function ensureStoreDirectory(fs: FileSystem, item: CopyItem): Promise<void> {
  try {
    await fs.mkdir(item.to, item.mode, owner())
  } catch (error) {
    const there = error instanceof DfsError && error.code === 'exists'
    if (!there || !isDirectory(await fs.stat(item.to))) throw error
  }
}

async function removeIfThere(remove: () => Promise<void>): Promise<void> {
  try {
    await remove()
  } catch (error) {
    if (!(error instanceof DfsError && error.code === 'notFound')) throw error
  }
}
