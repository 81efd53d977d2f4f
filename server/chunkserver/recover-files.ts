/**
 * What a crash left in the folders: temporary files, which were never acknowledged, and chunk files
 * without an index record, which may be all that is left of a chunk when the index was lost.
 *
 * The first are removed before serving. The second are found in the background: a file with a good
 * trailer is indexed again, unconfirmed, so that the metadata server decides about it; one without
 * is set aside in `chunks/lost` for a person to look at.
 */
import { readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { chunkFileName, chunkOfFileName, type ChunkMeta } from './chunk-format.ts'
import { chunkPath } from './chunk-file-writer.ts'
import { diskError, removeFile } from './disk.ts'
import { fileRecord, type DiskChunkStore } from './disk-chunk-store.ts'
import { openChunkFile } from './open-files.ts'

export interface RecoveredFiles {
  /** Chunk files seen. */
  readonly files: number
  /** Of those, indexed again. */
  readonly indexed: number
  /** Of those, set aside. */
  readonly lost: number
}

/** Removes temporary files; returns how many. Only before the store takes writes. */
export async function removeTemporaryFiles(incoming: string): Promise<number> {
  const names = await list(incoming)
  for (const name of names) await removeFile(join(incoming, name))
  return names.length
}

/** Looks at every chunk file once; may run beside everything else. Stops early on `signal`. */
export async function recoverFiles(
  store: DiskChunkStore,
  log: Log,
  signal: AbortSignal,
): Promise<RecoveredFiles> {
  const found = { files: 0, indexed: 0, lost: 0 }
  for (const outer of await hexDirectories(store.paths.root)) {
    for (const inner of await hexDirectories(join(store.paths.root, outer))) {
      const directory = join(store.paths.root, outer, inner)
      for (const name of await list(directory)) {
        if (signal.aborted) return found
        const chunk = chunkOfFileName(name)
        if (chunk === undefined) continue
        found.files++
        const result = await recoverFile(store, chunk, join(directory, name), log)
        if (result !== 'known') found[result]++
      }
    }
  }
  return found
}

async function recoverFile(
  store: DiskChunkStore,
  chunk: number,
  path: string,
  log: Log,
): Promise<'known' | 'indexed' | 'lost'> {
  // Being written or deleted right now: not ours.
  if (!store.claim(chunk)) return 'known'
  try {
    const indexed = await lookUp(store, chunk)
    if (indexed === 'good') return 'known'
    const meta = await readMeta(chunk, path)
    if (meta === undefined) return 'known'
    if (typeof meta === 'string' || path !== chunkPath(store.paths, chunk)) {
      const reason = typeof meta === 'string' ? meta : 'it is not in its directory'
      await rename(path, join(store.paths.lost, chunkFileName(chunk)))
      log.error({ chunk, path, reason }, 'a chunk file without an index record was set aside')
      return 'lost'
    }
    const { sealedBytes, writtenMs } = meta
    const record = fileRecord(sealedBytes, writtenMs)
    if (indexed === 'corrupt') await store.index.replaceCorrupt(chunk, record)
    else await store.index.add(chunk, record)
    log.warn({ chunk, path }, 'a chunk file without an index record was indexed again')
    return 'indexed'
  } finally {
    store.release(chunk)
  }
}

async function lookUp(store: DiskChunkStore, chunk: number): Promise<'good' | 'none' | 'corrupt'> {
  try {
    return (await store.index.get(chunk)) === undefined ? 'none' : 'good'
  } catch (error) {
    if (error instanceof DfsError && error.code === 'recordCorrupt') return 'corrupt'
    throw error
  }
}

/** The trailer, why it is no good, or undefined when the file is gone meanwhile. */
async function readMeta(chunk: number, path: string): Promise<ChunkMeta | string | undefined> {
  try {
    const file = await openChunkFile(chunk, path)
    file.retire()
    return file.meta
  } catch (error) {
    if (!(error instanceof DfsError)) throw error
    if (error.code === 'chunkMissing') return undefined
    if (error.code === 'chunkCorrupt') return error.message
    throw error
  }
}

async function hexDirectories(path: string): Promise<string[]> {
  return (await list(path)).filter((name) => /^[0-9a-f]{2}$/.test(name))
}

async function list(path: string): Promise<string[]> {
  try {
    return await readdir(path)
  } catch (error) {
    throw diskError('list', path, error)
  }
}
