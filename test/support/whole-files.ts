/**
 * Whole files through a file system, in pieces as the kernel asks for them.
 */
import { constants } from 'node:fs'
import type { FileSystem, Handle } from '../../mount/vfs/api.ts'

/** Bytes of a request: what the kernel sends at most. */
const PIECE = 131_072

/** Writes all of `bytes` from position `at` on. */
export async function writeAll(
  fs: FileSystem,
  handle: Handle,
  bytes: Uint8Array,
  at = 0,
): Promise<void> {
  for (let done = 0; done < bytes.length; done += PIECE) {
    await fs.write(handle, bytes.subarray(done, done + PIECE), at + done)
  }
}

/** All that a file gives, up to its end. */
export async function readFile(fs: FileSystem, path: string): Promise<Buffer> {
  const handle = await fs.open(path, constants.O_RDONLY)
  const pieces: Buffer[] = []
  try {
    for (let at = 0; ;) {
      const piece = Buffer.alloc(PIECE)
      const count = await fs.read(handle, piece, at)
      if (count === 0) return Buffer.concat(pieces)
      pieces.push(piece.subarray(0, count))
      at += count
    }
  } finally {
    await fs.release(handle)
  }
}
