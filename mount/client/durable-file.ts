/**
 * Files of a profile's folder that hold a device's secrets or what it remembers: whole or not there, also
 * after a power cut, and readable by their owner only.
 */
import { randomBytes } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * Writes DIR/name with mode 0600, in place of one that is there; durable when it resolves. Makes DIR
 * with mode 0700 if need be. `temporary` is what the name of the file begins with until it is whole.
 */
export async function writeDurably(
  dir: string,
  name: string,
  content: string | Uint8Array,
  temporary = `${name}.`,
): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const part = join(dir, `${temporary}${randomBytes(6).toString('hex')}`)
  const file = await open(part, 'wx', 0o600)
  try {
    await file.chmod(0o600)
    await file.writeFile(content)
    await file.sync()
    await file.close()
    await rename(part, join(dir, name))
  } catch (error) {
    await file.close().catch(() => undefined)
    await rm(part, { force: true })
    throw error
  }
  await syncFolder(dir)
}

/** Makes durable what was renamed or removed in a folder. */
export async function syncFolder(dir: string): Promise<void> {
  const folder = await open(dir)
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
