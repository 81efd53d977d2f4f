/**
 * What the parts of a check that look at inodes share.
 */
import type { Inode } from '../../../schema/generated/common.ts'
import type { Change, OrderedStore } from '../../store/ordered-store.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'

/** Bytes of a digest that make a whole number. */
const DIGEST_BYTES_COMPARED = 6

/** The beginning of a digest, as a number: enough to notice damage, not to notice a forger. */
export const digestNumber = (digest: Uint8Array): number =>
  digest.length < DIGEST_BYTES_COMPARED
    ? 0
    : Buffer.from(digest.buffer, digest.byteOffset, digest.length).readUIntBE(
        0,
        DIGEST_BYTES_COMPARED,
      )

/** A repair that writes other numbers into an inode's record, as it is then. */
export function changedInode(
  store: OrderedStore,
  inode: number,
  change: Partial<Pick<Inode, 'entryCount' | 'directoryCount' | 'nlink' | 'allocatedBytes'>>,
): () => Promise<Change[]> {
  return async () => {
    const key = keys.inode(inode)
    const stored = await store.get(key)
    if (stored === undefined) return []
    const record = tables.inodes.decode(stored)
    const changed = { ...record, inode: { ...record.inode, ...change } }
    return [{ key, value: tables.inodes.encode(changed) }]
  }
}
