/**
 * The windows of a commit: cut, overlaid, compared with the digests that the client seals.
 */
import { setImmediate } from 'node:timers/promises'
import type { Extent } from '../../../schema/generated/common.ts'
import type { CommitRequest, WindowChange } from '../../../schema/generated/metadata.ts'
import type { InodeRecord, WindowRecord } from '../../../schema/generated/records.ts'
import { NO_PATCH, windowDigest } from '../../../schema/wire/content.ts'
import { coveredBytes, overlay, truncate } from '../../../schema/wire/extents.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { refuse } from '../input.ts'
import { keys, ranges } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'
import type { ChunkChanges } from './chunk-changes.ts'

/** Extents laid into a window without a pause before. */
const EXTENTS_AT_ONCE = 128

interface Changing {
  readonly request: CommitRequest
  /** The inode with the content that is changed. */
  readonly base: InodeRecord
  readonly chunks: ChunkChanges
}

/** Writes the changed windows; returns by how many bytes the sum of extents and patches changes. */
export async function changeWindows(txn: Transaction, changing: Changing): Promise<number> {
  const { request, base, chunks } = changing
  const { content } = base
  const cut = request.truncates ? request.truncateTo : limits.fileBytesMax
  let delta = base.inode.allocatedBytes > 0 ? await cutWindows(txn, changing, cut) : 0
  const before = await txn.getAll(
    tables.windows,
    request.windows.map(({ index }) => keys.window(content, index)),
  )
  for (const [i, change] of request.windows.entries()) {
    // Laying thousands of extents over thousands takes milliseconds: others get their turn between.
    if (change.extents.length > EXTENTS_AT_ONCE) await setImmediate()
    const { extents: stored, patch } = before[i] ?? NO_WINDOW
    const start = change.index * limits.chunkBytesMax
    const kept = start + limits.chunkBytesMax > cut ? truncate(stored, cut - start) : stored
    const extents = overlay(kept, change.extents)
    checkWindow(change, extents)
    chunks.added(change.extents)
    chunks.windowChanged(stored, extents)
    delta += coveredBytes(extents) - coveredBytes(stored) + change.patch.length - patch.length
    const record = { extents, digest: change.digest, patch: change.patch }
    putWindow(txn, keys.window(content, change.index), record)
  }
  return delta
}

const NO_EXTENTS: readonly Extent[] = []
const NO_WINDOW = { extents: NO_EXTENTS, patch: NO_PATCH }

function checkWindow({ index, digest, patch }: WindowChange, extents: readonly Extent[]): void {
  if (extents.length > limits.windowExtentsMax) {
    refuse(`window ${index} would have ${extents.length} extents; write it anew in one piece`)
  }
  if (!Buffer.from(digest).equals(windowDigest(extents, patch))) {
    throw new DfsError(
      'versionConflict',
      `window ${index} comes to other extents here than at the client; read it again`,
    )
  }
}

function putWindow(txn: Transaction, key: Buffer, record: WindowRecord): void {
  if (record.extents.length + record.patch.length > 0) txn.put(tables.windows, key, record)
  else txn.delete(tables.windows, key)
}

/**
 * Removes the windows behind a cut, and refuses when the window that it goes through is not among
 * those whose digest is agreed. Returns the change of the sum of extents and
 * patches.
 */
async function cutWindows(
  txn: Transaction,
  { request, base, chunks }: Changing,
  cut: number,
): Promise<number> {
  const { content } = base
  const size = base.inode.attributes.size
  if (cut >= size) return 0
  const whole = Math.ceil(cut / limits.chunkBytesMax)
  const through = Math.floor(cut / limits.chunkBytesMax)
  if (through < whole) await checkCutThrough(txn, request, content, through, cut)
  if (whole * limits.chunkBytesMax >= size) return 0
  // Only this inode's commits change its windows, and we have its queue: once the commits before us
  // are durable, the range is complete.
  await txn.settle()
  const range = { from: keys.window(content, whole), to: ranges.windows(content).to }
  const found = await txn.durableRange(range, limits.windowsCutMax + 1)
  if (found.length > limits.windowsCutMax) {
    refuse(`a cut of more than ${limits.windowsCutMax} windows; cut in steps from the end`)
  }
  let delta = 0
  for (const { key, value } of found) {
    const { extents, patch } = tables.windows.decode(value)
    chunks.windowChanged(extents, NO_EXTENTS)
    delta -= coveredBytes(extents) + patch.length
    txn.delete(tables.windows, key)
  }
  return delta
}

async function checkCutThrough(
  txn: Transaction,
  request: CommitRequest,
  content: number,
  index: number,
  cut: number,
): Promise<void> {
  if (request.windows.some((window) => window.index === index)) return
  const window = await txn.get(tables.windows, keys.window(content, index))
  const last = window?.extents.at(-1)
  if (window !== undefined && window.patch.length > 0) {
    refuse(`a cut through window ${index}, whose patch the commit leaves as it is`)
  }
  if (last !== undefined && index * limits.chunkBytesMax + last.offset + last.length > cut) {
    refuse(`a cut through window ${index}, which is not among the windows of the commit`)
  }
}
