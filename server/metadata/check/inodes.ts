/**
 * First part of a check: every inode beside its entries, its extended attributes and its marks, which
 * all are in the order of inode numbers. What must be compared in another order is handed on as facts.
 */
import type { InodeRecord, XattrRecord } from '../../../schema/generated/records.ts'
import { inlineDigest, manifestDigest, xattrDigest } from '../../../schema/wire/content.ts'
import { InodeKind, isDirectory } from '../inode-kinds.ts'
import { extentBytes } from '../inode-removal.ts'
import { counterNames } from '../store/counters.ts'
import { keys } from '../store/keys.ts'
import { layout } from '../store/layout.ts'
import { tables } from '../store/tables.ts'
import type { Context } from './context.ts'
import type { Found } from './cursor.ts'
import { DirectoryForest } from './directory-forest.ts'
import { changedInode, digestNumber } from './inode-repairs.ts'
import type { SortedFacts } from './sorted-facts.ts'

/** Facts in other orders than the inodes'. */
export interface InodeFacts {
  /** inode, directory that names it, owner of that (-1 when unknown). */
  readonly names: SortedFacts
  /** directory, 0, directories in it, link count; and, from the names: directory, 1, child, 0. */
  readonly directories: SortedFacts
  /** content, inode, bytes in extents, digest as a number. */
  readonly contents: SortedFacts
}

const EMPTY_DIGEST = manifestDigest(new Uint8Array(0))
const UNKNOWN_OWNER = -1

export async function checkInodes(context: Context): Promise<InodeFacts> {
  const { findings } = context
  const facts = {
    names: context.facts('names', 3),
    directories: context.facts('directories', 4),
    contents: context.facts('contents', 4),
  }
  const forest = new DirectoryForest()
  const inodes = await context.walk(layout.inodes)
  const dentries = await context.walk(layout.dentries)
  const xattrs = await context.walk(layout.xattrs)
  const orphans = await context.walk(layout.orphans, { mend: () => true as const })
  for (;;) {
    const id = Math.min(inodes.id, dentries.id, xattrs.id, orphans.id)
    if (id === Infinity) break
    context.highest.see('inodes', id)
    const inode = await inodes.take(id)
    const xattr = await xattrs.take(id)
    const orphan = await orphans.take(id)
    let entries = 0
    const owner = inode?.value?.owner ?? UNKNOWN_OWNER
    for (; dentries.id === id; await dentries.advance()) {
      entries++
      const child = dentries.current?.value?.inode
      if (child !== undefined) facts.names.add(child, id, owner)
    }
    if (inode === undefined) {
      await withoutInode(context, id, { entries, xattr, orphan })
      continue
    }
    const { value } = inode
    if (value === undefined) continue
    count(context, value)
    if (value.inode.inode !== id) {
      await findings.add('conflict', `the record of inode ${id} is that of ${value.inode.inode}`)
      continue
    }
    await checkOwner(context, value)
    await checkEntries(context, value, entries)
    await checkXattrs(context, value, xattr)
    await checkContent(context, value, facts)
    if (isDirectory(value)) {
      facts.directories.add(id, 0, value.inode.directoryCount, value.inode.nlink)
      if (!context.leaving(value.owner)) forest.add(id, value.parent)
    }
  }
  await context.endWalks()
  for (const id of forest.detached()) {
    await findings.add('conflict', `directory ${id} is below itself, or below no root`)
  }
  return facts
}

function count({ counters }: Context, { inode, owner, xattrBytes }: InodeRecord): void {
  counters.add(counterNames.inodes)
  counters.add(counterNames.userInodes(owner))
  counters.add(counterNames.userBytes(owner), inode.allocatedBytes + xattrBytes)
}

async function withoutInode(
  { findings }: Context,
  id: number,
  found: {
    readonly entries: number
    readonly xattr: Found<XattrRecord> | undefined
    readonly orphan: Found<true> | undefined
  },
): Promise<void> {
  const { entries, xattr, orphan } = found
  if (entries > 0) {
    await findings.add('missing', `${entries} entries are in directory ${id}, which has no record`)
  }
  if (xattr !== undefined) {
    await findings.add('garbage', `extended attributes of inode ${id}, which has no record`, {
      changes: () => [{ key: xattr.key, value: undefined }],
    })
  }
  if (orphan !== undefined) {
    await findings.add('garbage', `an orphan mark of inode ${id}, which has no record`, {
      changes: () => [{ key: orphan.key, value: undefined }],
    })
  }
}

async function checkOwner(
  { findings, users }: Context,
  { inode: { inode }, owner, parent }: InodeRecord,
): Promise<void> {
  const user = users.get(owner)
  if (user === undefined) {
    await findings.add('missing', `inode ${inode} belongs to user ${owner}, who has no record`)
    return
  }
  if (parent === inode && user.rootInode !== inode && !user.deleting) {
    await findings.add('conflict', `directory ${inode} is a root, and not that of user ${owner}`)
  }
}

async function checkEntries(context: Context, record: InodeRecord, entries: number): Promise<void> {
  const { inode, entryCount } = record.inode
  if (entryCount === entries || context.leaving(record.owner)) return
  if (!isDirectory(record)) {
    await context.findings.add('conflict', `inode ${inode} is no directory and has entries`)
    return
  }
  const detail = `directory ${inode} counts ${entryCount} entries and has ${entries}`
  const changes = changedInode(context.store, inode, { entryCount: entries })
  await context.findings.add('count', detail, { changes })
}

async function checkXattrs(
  { findings, store }: Context,
  record: InodeRecord,
  xattr: Found<XattrRecord> | undefined,
): Promise<void> {
  const { inode: id, attributes } = record.inode
  if (xattr !== undefined && xattr.value === undefined) return
  const sealed = xattr?.value?.sealed ?? new Uint8Array(0)
  if (Buffer.compare(xattrDigest(sealed), attributes.xattrDigest) !== 0) {
    await findings.add('content', `the extended attributes of inode ${id} are not those sealed`)
  } else if (sealed.length !== record.xattrBytes) {
    const detail = `inode ${id} counts ${record.xattrBytes} bytes of extended attributes, there are ${sealed.length}`
    const changes = async () => {
      const key = keys.inode(id)
      const stored = await store.get(key)
      if (stored === undefined) return []
      const changed = { ...tables.inodes.decode(stored), xattrBytes: sealed.length }
      return [{ key, value: tables.inodes.encode(changed) }]
    }
    await findings.add('count', detail, { changes })
  }
}

/** Content in windows is compared later; content in the inode, and none at all, here. */
async function checkContent(
  context: Context,
  record: InodeRecord,
  { contents }: InodeFacts,
): Promise<void> {
  const { inode, attributes, inline } = record.inode
  context.highest.see('inodes', record.content)
  const bytes = extentBytes(record)
  if (bytes > 0) {
    contents.add(record.content, inode, bytes, digestNumber(attributes.contentDigest))
    if (attributes.kind !== InodeKind.file || inline.length > 0) {
      await context.findings.add('conflict', `inode ${inode} has windows, and may have none`)
    }
    return
  }
  if (bytes < 0) {
    const detail = `inode ${inode} counts ${record.inode.allocatedBytes} bytes and holds ${inline.length}`
    const changes = changedInode(context.store, inode, { allocatedBytes: inline.length })
    await context.findings.add('count', detail, { changes })
  }
  const digest = inline.length > 0 ? inlineDigest(inline) : EMPTY_DIGEST
  if (Buffer.compare(digest, attributes.contentDigest) !== 0) {
    await context.findings.add('content', `the content of inode ${inode} is not the one sealed`)
  }
}
