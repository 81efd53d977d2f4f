/**
 * File operations as the chunk store needs them: on descriptors, whole, and failing as `diskFull`
 * or `diskFailed` with the path and what to do. None of them blocks the main thread.
 */
import fs from 'node:fs'
import { open as openHandle, unlink } from 'node:fs/promises'
import { DfsError } from '../../schema/wire/status.ts'

/** The DfsError for a failed file operation; DfsErrors pass through. */
export function diskError(what: string, path: string, cause: unknown): DfsError {
  if (cause instanceof DfsError) return cause
  const code = errorCode(cause)
  if (code === undefined) throw cause
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new DfsError('diskFull', `cannot ${what} ${path}: the disk is full`, { cause })
  }
  return new DfsError(
    'diskFailed',
    `cannot ${what} ${path}: ${(cause as Error).message}; look at the disk and the kernel log`,
    { cause },
  )
}

/** Node's error code, e.g. ENOENT; undefined for what is no system error. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** Opens a file and returns its descriptor; fails with the system's own error. */
export function openDescriptor(path: string, flags: string | number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, flags, 0o600, (error, fd) => {
      if (error === null) resolve(fd)
      else reject(error)
    })
  })
}

/** Closes a descriptor that was only read, or whose data is synced: an error says nothing then. */
export function closeDescriptor(fd: number): void {
  fs.close(fd, () => undefined)
}

/** Size of an open file, bytes. */
export function fileBytes(fd: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.fstat(fd, (error, stats) => {
      if (error === null) resolve(stats.size)
      else reject(error)
    })
  })
}

/** Reads up to `into.length` bytes from a position; fewer only at the file's end. */
export function readAt(fd: number, into: Buffer, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let done = 0
    const step = (error: Error | null, bytes: number): void => {
      if (error !== null) return reject(error)
      done += bytes
      if (bytes === 0 || done === into.length) return resolve(done)
      fs.read(fd, into, done, into.length - done, position + done, step)
    }
    fs.read(fd, into, 0, into.length, position, step)
  })
}

/** Writes all bytes at a position. */
export function writeAt(fd: number, bytes: Buffer, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let done = 0
    const step = (error: Error | null, written: number): void => {
      if (error !== null) return reject(error)
      done += written
      if (done === bytes.length) return resolve()
      fs.write(fd, bytes, done, bytes.length - done, position + done, step)
    }
    fs.write(fd, bytes, 0, bytes.length, position, step)
  })
}

/** Waits until a file's data is on stable storage. */
export function syncData(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.fdatasync(fd, (error) => {
      if (error === null) resolve()
      else reject(error)
    })
  })
}

/** Waits until a directory's entries are on stable storage. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await openHandle(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Removes a file; true when it was there. */
export async function removeFile(path: string): Promise<boolean> {
  try {
    await unlink(path)
    return true
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false
    throw diskError('remove', path, error)
  }
}
