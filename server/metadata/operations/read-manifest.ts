/**
 * readManifest: the digests of all windows of a file, as of one moment. They go out as payload, 36
 * bytes each (schema/wire/content.ts); the largest file has 9 MiB of them.
 *
 * The reader waits in the file's queue, so that no commit changes a window while the range is read.
 */
import type { Inode } from '../../../schema/generated/common.ts'
import type { ReadManifestRequest } from '../../../schema/generated/metadata.ts'
import { manifestEntry } from '../../../schema/wire/content.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { refuse } from '../input.ts'
import { isFile } from '../inode-kinds.ts'
import { extentBytes } from '../inode-removal.ts'
import type { Caller, Services } from '../services.ts'
import { keys, parts, ranges } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'
import { ownInode } from './tree.ts'

/** Windows up to which each is looked up by itself, and no queue and no scan is needed. */
const FEW_WINDOWS = 16
/** Windows read at once. */
const PAGE = 1_024

export interface Manifest {
  readonly inode: Inode
  readonly windowCount: number
  readonly bytes: Buffer
}

export async function readManifest(
  { inode }: ReadManifestRequest,
  caller: Caller,
  { database }: Services,
): Promise<Manifest> {
  const small = await database.read((txn) => collect(txn, inode, caller, FEW_WINDOWS))
  if (small !== undefined) return small
  const large = await database.write({ queues: [inode] }, (txn) =>
    collect(txn, inode, caller, Infinity),
  )
  if (large === undefined) refuse(`inode ${inode} has no manifest`)
  return large
}

/** Undefined when the file has more than `few` windows. */
async function collect(
  txn: Transaction,
  id: number,
  caller: Caller,
  few: number,
): Promise<Manifest | undefined> {
  const record = await ownInode(txn, caller, id)
  if (!isFile(record)) refuse(`inode ${id} is no file; it has no manifest`)
  const { inode, content } = record
  const entries: Buffer[] = []
  const windows = Math.ceil(inode.attributes.size / limits.chunkBytesMax)
  if (extentBytes(record) > 0 && windows > few) return undefined
  if (extentBytes(record) > 0 && windows <= FEW_WINDOWS) {
    const indexes = Array.from({ length: windows }, (_, index) => index)
    const found = await txn.getAll(
      tables.windows,
      indexes.map((index) => keys.window(content, index)),
    )
    for (const [index, window] of found.entries()) {
      if (window !== undefined) entries.push(manifestEntry(index, window.digest))
    }
  } else if (extentBytes(record) > 0) {
    await txn.settle()
    await scan(txn, content, entries)
  }
  return { inode, windowCount: entries.length, bytes: Buffer.concat(entries) }
}

async function scan(txn: Transaction, content: number, entries: Buffer[]): Promise<void> {
  let after: Buffer | undefined
  for (;;) {
    const page = await txn.durableRange(ranges.windows(content), PAGE, after)
    for (const { key, value } of page) {
      entries.push(manifestEntry(parts.windowIndex(key), tables.windows.decode(value).digest))
    }
    after = page.at(-1)?.key
    if (after === undefined || page.length < PAGE) return
  }
}
