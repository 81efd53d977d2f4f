/**
 * Second part of a check: every inode beside the names that lead to it, and every directory beside
 * the directories in it.
 */
import type { InodeRecord } from '../../../schema/generated/records.ts'
import type { Change } from '../../store/ordered-store.ts'
import { isDirectory } from '../inode-kinds.ts'
import { keys } from '../store/keys.ts'
import { layout } from '../store/layout.ts'
import { tables } from '../store/tables.ts'
import type { Context } from './context.ts'
import { changedInode } from './inode-repairs.ts'
import type { InodeFacts } from './inodes.ts'
import type { FactReader } from './sorted-facts.ts'

/** The names of one inode. */
interface Names {
  count: number
  /** The last directory that names it, and its owner. */
  parent: number
  owner: number
  /** All of them are in trees that are being taken apart. */
  leaving: boolean
}

export async function checkNames(context: Context, facts: InodeFacts): Promise<void> {
  const inodes = await context.walk(layout.inodes, { again: true })
  const orphans = await context.walk(layout.orphans, { again: true, mend: () => true })
  const reader = facts.names.sorted()
  for (;;) {
    const id = Math.min(inodes.id, reader.id)
    if (id === Infinity) break
    while (orphans.id < id) await orphans.advance()
    const orphan = (await orphans.take(id)) !== undefined
    const names = namesOf(context, reader, id)
    const inode = await inodes.take(id)
    if (inode?.value === undefined) {
      if (inode === undefined && !names.leaving) {
        const detail = `directory ${names.parent} names inode ${id}, which has no record`
        await context.findings.add('missing', detail)
      }
      continue
    }
    const record = inode.value
    if (names.count > 0 && isDirectory(record)) facts.directories.add(names.parent, 1, id, 0)
    if (context.leaving(record.owner)) continue
    if (names.count > 0 && names.owner >= 0 && names.owner !== record.owner) {
      const detail = `inode ${id} of user ${record.owner} has a name in the tree of ${names.owner}`
      await context.findings.add('conflict', detail)
    }
    if (isDirectory(record)) await checkDirectory(context, record, names)
    else await checkLinks(context, record, names)
    await checkOrphan(context, record, names, orphan)
  }
  await context.endWalks()
  await checkDirectoryCounts(context, facts)
}

function namesOf(context: Context, reader: FactReader, id: number): Names {
  const names: Names = { count: 0, parent: 0, owner: -1, leaving: true }
  for (; reader.id === id; reader.advance()) {
    names.count++
    names.parent = reader.field(1)
    names.owner = reader.field(2)
    if (!context.leaving(names.owner)) names.leaving = false
  }
  return names
}

async function checkDirectory(
  { findings, store }: Context,
  { inode: { inode, nlink }, parent }: InodeRecord,
  names: Names,
): Promise<void> {
  const root = parent === inode
  if (root ? names.count > 0 : names.count > 1) {
    await findings.add('conflict', `directory ${inode} has ${names.count} names`)
  } else if (!root && names.count === 0 && nlink > 0) {
    await findings.add('missing', `no name leads to directory ${inode}`)
  } else if (!root && names.count === 1 && parent !== names.parent) {
    const detail = `directory ${inode} is in ${names.parent} and says ${parent}`
    const changes = async (): Promise<Change[]> => {
      const key = keys.inode(inode)
      const stored = await store.get(key)
      if (stored === undefined) return []
      const changed = { ...tables.inodes.decode(stored), parent: names.parent }
      return [{ key, value: tables.inodes.encode(changed) }]
    }
    await findings.add('index', detail, { changes })
  }
}

async function checkLinks(
  { findings, store }: Context,
  { inode: { inode, nlink } }: InodeRecord,
  { count }: Names,
): Promise<void> {
  if (count === nlink) return
  if (count === 0) {
    await findings.add('missing', `no name leads to inode ${inode}, which counts ${nlink}`)
    return
  }
  const detail = `inode ${inode} counts ${nlink} names and has ${count}`
  const changes = changedInode(store, inode, { nlink: count })
  // More names than it counts: it would be deleted while it has one.
  await findings.add('count', detail, { always: count > nlink, changes })
}

async function checkOrphan(
  { findings }: Context,
  { inode: { inode, nlink } }: InodeRecord,
  { count }: Names,
  orphan: boolean,
): Promise<void> {
  if (orphan && (count > 0 || nlink > 0)) {
    await findings.add('index', `inode ${inode} has a name and an orphan mark`, {
      always: true,
      changes: () => [{ key: keys.orphan(inode), value: undefined }],
    })
  } else if (!orphan && count === 0 && nlink === 0) {
    await findings.add('index', `inode ${inode} has no name and no orphan mark`, {
      changes: () => [{ key: keys.orphan(inode), value: tables.marks.encode(true) }],
    })
  }
}

async function checkDirectoryCounts(context: Context, facts: InodeFacts): Promise<void> {
  const reader = facts.directories.sorted()
  while (reader.id !== Infinity) {
    const { id } = reader
    let expected: { count: number; nlink: number } | undefined
    let count = 0
    for (; reader.id === id; reader.advance()) {
      if (reader.field(1) === 1) count++
      else expected = { count: reader.field(2), nlink: reader.field(3) }
    }
    // A directory without a record, or with a damaged one, was reported before.
    if (expected === undefined) continue
    const nlink = expected.nlink === 0 && count === 0 ? 0 : 2 + count
    if (expected.count === count && expected.nlink === nlink) continue
    const owner = await context.store
      .get(keys.inode(id))
      .then((stored) => (stored === undefined ? 0 : tables.inodes.decode(stored).owner))
    if (context.leaving(owner)) continue
    const detail = `directory ${id} counts ${expected.count} directories and ${expected.nlink} links, there are ${count} and ${nlink}`
    const changes = changedInode(context.store, id, { directoryCount: count, nlink })
    await context.findings.add('count', detail, { changes })
  }
}
