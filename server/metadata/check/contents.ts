/**
 * Third part of a check: the windows of each content beside the inode that it belongs to, or the mark
 * that it is to be purged; and what they seal.
 */
import type { WindowRecord } from '../../../schema/generated/records.ts'
import { manifestDigest, windowDigest } from '../../../schema/wire/content.ts'
import { coveredBytes } from '../../../schema/wire/extents.ts'
import { keys, parts } from '../store/keys.ts'
import { layout } from '../store/layout.ts'
import { tables } from '../store/tables.ts'
import type { Context } from './context.ts'
import type { Cursor } from './cursor.ts'
import { changedInode, digestNumber } from './inode-repairs.ts'
import type { InodeFacts } from './inodes.ts'
import type { FactReader, SortedFacts } from './sorted-facts.ts'

/** Whose content it is, as its inode says. */
interface Owner {
  readonly inode: number
  readonly bytes: number
  readonly digest: number
}

interface Windows {
  readonly count: number
  readonly bytes: number
  readonly digest: number
  /** One of them is damaged: nothing is known of their sums. */
  readonly damaged: boolean
}

/** Facts: chunk, inode that names it (0 for content to be purged), furthest byte that is read. */
export async function checkContents(
  context: Context,
  { contents }: InodeFacts,
): Promise<SortedFacts> {
  const { findings } = context
  const references = context.facts('references', 3)
  const windows = await context.walk(layout.windows)
  const purges = await context.walk(layout.purges, { mend: () => 0 })
  const reader = contents.sorted()
  for (;;) {
    const id = Math.min(reader.id, windows.id, purges.id)
    if (id === Infinity) break
    context.highest.see('inodes', id)
    const owner = await ownerOf(context, reader, id)
    const purge = (await purges.take(id)) !== undefined
    const found = await readWindows(context, windows, id, { owner, references })
    if (owner === undefined) {
      if (purge || found.count === 0) continue
      await findings.add('garbage', `content ${id} has ${found.count} windows and no inode`, {
        changes: () => [{ key: keys.purge(id), value: tables.purges.encode(0) }],
      })
      continue
    }
    if (purge) {
      await findings.add('index', `content ${id} of inode ${owner.inode} is marked to be purged`, {
        always: true,
        changes: () => [{ key: keys.purge(id), value: undefined }],
      })
    }
    await compare(context, owner, found)
  }
  await context.endWalks()
  return references
}

async function ownerOf(
  { findings }: Context,
  reader: FactReader,
  id: number,
): Promise<Owner | undefined> {
  let owner: Owner | undefined
  for (; reader.id === id; reader.advance()) {
    const inode = reader.field(1)
    if (owner !== undefined) {
      await findings.add('conflict', `inodes ${owner.inode} and ${inode} have the same content`)
    }
    owner = { inode, bytes: reader.field(2), digest: reader.field(3) }
  }
  return owner
}

async function readWindows(
  { findings }: Context,
  cursor: Cursor<WindowRecord>,
  content: number,
  { owner, references }: { owner: Owner | undefined; references: SortedFacts },
): Promise<Windows> {
  const manifest: Buffer[] = []
  let [count, bytes, damaged] = [0, 0, false]
  for (; cursor.id === content; await cursor.advance()) {
    count++
    const { key, value } = cursor.current ?? {}
    if (key === undefined || value === undefined) {
      damaged = true
      continue
    }
    const index = parts.windowIndex(key)
    const reach = new Map<number, number>()
    for (const { chunk, chunkOffset, length } of value.extents) {
      reach.set(chunk, Math.max(reach.get(chunk) ?? 0, chunkOffset + length))
    }
    for (const [chunk, end] of reach) references.add(chunk, owner?.inode ?? 0, end)
    const { extents, patch } = value
    bytes += coveredBytes(extents) + patch.length
    const digest = Buffer.from(value.digest)
    const empty = extents.length + patch.length === 0
    if (empty || !digest.equals(windowDigest(extents, patch))) {
      await findings.add(
        'content',
        `window ${index} of content ${content} is not the one agreed on`,
      )
    }
    const head = Buffer.allocUnsafe(4)
    head.writeUInt32LE(index)
    manifest.push(head, digest)
  }
  return { count, bytes, damaged, digest: digestNumber(manifestDigest(Buffer.concat(manifest))) }
}

async function compare(context: Context, owner: Owner, found: Windows): Promise<void> {
  if (found.damaged) return
  const { inode } = owner
  if (found.digest !== owner.digest) {
    await context.findings.add('content', `the windows of inode ${inode} are not those sealed`)
  }
  if (found.bytes === owner.bytes) return
  // No windows seal nothing: with them gone, the bytes are lost and not miscounted.
  const kind = found.digest === owner.digest ? 'count' : 'content'
  const detail = `inode ${inode} counts ${owner.bytes} bytes in windows, there are ${found.bytes}`
  const changes = changedInode(context.store, inode, { allocatedBytes: found.bytes })
  await context.findings.add(kind, detail, kind === 'count' ? { changes } : undefined)
}
