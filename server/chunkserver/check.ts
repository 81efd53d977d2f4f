/**
 * Verifies a chunkserver's directory while no server runs on it: every chunk's bytes against their
 * checksums, the index against the files, and the sums. Changes nothing.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../../schema/rpc/api.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { bounds } from './bounds.ts'
import { blockCount, chunkOfFileName } from './chunk-format.ts'
import { DiskChunkStore } from './disk-chunk-store.ts'

/** Records read from the index at once. */
const PAGE = 1_024

interface CheckProblem {
  /** 0 when no chunk is meant. */
  readonly chunk: number
  readonly problem: string
}

export interface CheckResult {
  readonly chunks: number
  /** Bytes of all sealed blocks that were read and are good. */
  readonly goodBytes: number
  readonly problems: readonly CheckProblem[]
  /** Files without an index record; the server takes them up again when it starts. */
  readonly unindexedFiles: number
}

/** Checks DIR. Throws `directoryInUse` while a server runs on it. */
export async function checkDirectory(directory: string, log: Log): Promise<CheckResult> {
  const store = await DiskChunkStore.open({ directory, log, onFailure: () => undefined })
  try {
    const problems: CheckProblem[] = []
    const sums = await checkChunks(store, problems)
    const { chunks, sealedBytes } = store.totals
    if (chunks !== sums.chunks || sealedBytes !== sums.recordedBytes) {
      const problem = `the index counts ${chunks} chunks of ${sealedBytes} bytes, there are ${sums.chunks} of ${sums.recordedBytes}`
      problems.push({ chunk: 0, problem })
    }
    const unindexedFiles = await countUnindexed(store)
    return { chunks: sums.chunks, goodBytes: sums.goodBytes, problems, unindexedFiles }
  } finally {
    await store.close()
  }
}

interface Sums {
  readonly chunks: number
  readonly recordedBytes: number
  readonly goodBytes: number
}

async function checkChunks(store: DiskChunkStore, problems: CheckProblem[]): Promise<Sums> {
  const sums = { chunks: 0, recordedBytes: 0, goodBytes: 0 }
  const buffer = Buffer.allocUnsafeSlow(bounds.readPieceBlocks * limits.sealedBlockBytes)
  let from = 0
  for (;;) {
    const corrupt: number[] = []
    const page = await store.index.page(from, PAGE, (chunk) => corrupt.push(chunk))
    for (const chunk of corrupt) {
      sums.chunks++
      problems.push({ chunk, problem: 'its index record is damaged' })
    }
    for (const { chunk, sealedBytes } of page) {
      sums.chunks++
      sums.recordedBytes += sealedBytes
      const problem = await checkChunk(store, chunk, sealedBytes, buffer)
      if (problem === undefined) sums.goodBytes += sealedBytes
      else problems.push({ chunk, problem })
    }
    const last = Math.max(page.at(-1)?.chunk ?? -1, ...corrupt)
    if (last < 0) return sums
    from = last + 1
  }
}

/** What is wrong with a chunk, undefined when nothing is. */
async function checkChunk(
  store: DiskChunkStore,
  chunk: number,
  sealedBytes: number,
  buffer: Buffer,
): Promise<string | undefined> {
  try {
    const reader = await store.inspect(chunk)
    try {
      if (reader.sealedBytes !== sealedBytes) {
        return `its file holds ${reader.sealedBytes} bytes, its record says ${sealedBytes}`
      }
      const blocks = blockCount(sealedBytes)
      for (let at = 0; at < blocks; at += bounds.readPieceBlocks) {
        await reader.read(at, Math.min(bounds.readPieceBlocks, blocks - at), buffer)
      }
      return undefined
    } finally {
      reader.close()
    }
  } catch (error) {
    if (error instanceof DfsError) return error.message
    throw error
  }
}

async function countUnindexed(store: DiskChunkStore): Promise<number> {
  let count = 0
  for (const outer of await readdir(store.paths.root)) {
    if (!/^[0-9a-f]{2}$/.test(outer)) continue
    for (const inner of await readdir(join(store.paths.root, outer))) {
      for (const name of await readdir(join(store.paths.root, outer, inner))) {
        const chunk = chunkOfFileName(name)
        if (chunk !== undefined && (await store.index.get(chunk)) === undefined) count++
      }
    }
  }
  return count
}
