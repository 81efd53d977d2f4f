/**
 * commit: makes written chunks visible, atomically, with size, mtime and digests.
 *
 * In order: `truncate_to` (when `truncates`), then the windows' extents over what is left, then their
 * patches in place of those that were there, then the attributes. The server comes to the same normalised extents as the client or refuses: each
 * window's digest is compared. Inline content replaces all windows; windows replace inline content.
 * Content that is cut to nothing is taken apart in the background under its old content id.
 */
import type { CommitRequest, InodeResponse } from '../../../schema/generated/metadata.ts'
import type { InodeRecord } from '../../../schema/generated/records.ts'
import { methods } from '../../../schema/methods.ts'
import { limits } from '../../../schema/wire/limits.ts'
import {
  checkAttributes,
  checkDistinct,
  checkExtent,
  checkInline,
  refuse,
  WINDOW_INDEX_MAX,
} from '../input.ts'
import { isFile } from '../inode-kinds.ts'
import { extentBytes, purgeContent } from '../inode-removal.ts'
import type { Services } from '../services.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'
import { ChunkChanges } from './chunk-changes.ts'
import type { Mutation } from './operation.ts'
import { addUserBytes } from './quota.ts'
import { checkNextVersion, sameXattrs } from './set-attributes.ts'
import { inodeName, ownInode } from './tree.ts'
import { changeWindows } from './window-changes.ts'

export const commit: Mutation<CommitRequest, InodeResponse> = {
  method: methods.commit,
  check: checkCommit,
  queues: ({ inode }) => [inode],
  warm: ({ inode, chunks }) => [
    inodeName(inode),
    ...chunks.map(({ chunk }) => ({ table: tables.chunks, key: keys.chunk(chunk) })),
  ],

  async run(txn, request, caller, services) {
    const record = await ownInode(txn, caller, request.inode)
    const { attributes, inline } = request
    if (!isFile(record)) refuse(`inode ${request.inode} is no file; it has no content to commit`)
    checkNextVersion(record.inode.attributes, attributes)
    if (!sameXattrs(record.inode.attributes, attributes)) {
      refuse('commit does not change extended attributes; setAttributes does')
    }
    if (attributes.size < record.inode.attributes.size && !cutsTo(request, attributes.size)) {
      refuse('a smaller size needs a truncation to it')
    }
    const chunks = new ChunkChanges(request.inode)
    await chunks.addNew(txn, request.chunks, caller, services)
    const base = await baseContent(txn, request, record, services)
    const windowBytes = await changeWindows(txn, { request, base, chunks })
    await chunks.apply(txn)

    const allocatedBytes = extentBytes(base) + windowBytes + inline.length
    addUserBytes(txn, caller, allocatedBytes - record.inode.allocatedBytes)
    const inode = {
      ...record.inode,
      attributes,
      inline,
      allocatedBytes,
      ctime: services.clock.nowNs(),
    }
    txn.put(tables.inodes, keys.inode(request.inode), { ...base, inode })
    return { inode }
  },
}

function checkCommit(request: CommitRequest): void {
  const { attributes, windows, chunks, inline, truncates, truncateTo } = request
  checkAttributes(attributes)
  if (windows.length > limits.windowsPerRequestMax)
    refuse(`${windows.length} windows in one commit`)
  if (chunks.length > limits.chunksPerRequestMax) refuse(`${chunks.length} chunks in one commit`)
  if (truncates && truncateTo > limits.fileBytesMax) refuse(`a cut at ${truncateTo}`)
  let before = -1
  for (const { index, extents, patch } of windows) {
    if (patch.length > limits.sealedPatchBytesMax) {
      refuse(`a patch of ${patch.length} bytes; at most ${limits.sealedPatchBytesMax}`)
    }
    if (index <= before || index > WINDOW_INDEX_MAX) refuse(`window ${index} after ${before}`)
    before = index
    if (extents.length > limits.windowExtentsMax) {
      refuse(`${extents.length} extents for window ${index}; at most ${limits.windowExtentsMax}`)
    }
    const start = index * limits.chunkBytesMax
    for (const extent of extents) {
      checkExtent(extent)
      if (start + extent.offset + extent.length > attributes.size) {
        refuse(`an extent of window ${index} ends behind the file's ${attributes.size} bytes`)
      }
    }
  }
  checkDistinct(
    chunks.map(({ chunk }) => chunk),
    'a chunk',
  )
  for (const { length } of chunks) {
    if (length === 0 || length > limits.chunkBytesMax) refuse(`a chunk of ${length} bytes`)
  }
  if (inline.length > 0) {
    if (windows.length > 0 || chunks.length > 0) refuse('both inline content and windows')
    checkInline(attributes, inline)
  }
}

/** Whether nothing of the old content is left from `size` on. */
const cutsTo = ({ truncates, truncateTo, inline }: CommitRequest, size: number): boolean =>
  inline.length > 0 || (truncates && truncateTo <= size)

/**
 * The inode with the content that the windows are laid over: its own, or a new empty one when
 * nothing of it stays. Inline content never stays.
 */
async function baseContent(
  txn: Transaction,
  { truncates, truncateTo, inline }: CommitRequest,
  record: InodeRecord,
  { inodeIds, purger }: Services,
): Promise<InodeRecord> {
  const bytes = extentBytes(record)
  const withoutInline = {
    ...record,
    inode: { ...record.inode, inline: NO_BYTES, allocatedBytes: bytes },
  }
  const emptied = inline.length > 0 || (truncates && truncateTo === 0)
  if (!emptied || bytes === 0) return withoutInline
  purgeContent(txn, record, purger)
  return {
    ...withoutInline,
    inode: { ...withoutInline.inode, allocatedBytes: 0 },
    content: await inodeIds.take(),
  }
}

const NO_BYTES = new Uint8Array(0)
