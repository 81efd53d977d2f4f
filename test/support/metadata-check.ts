/**
 * Reads a whole metadata store and compares everything that is kept twice: link counts, entry
 * counts, parents, bytes, chunk references, reverse index, counters. What it returns is wrong; an
 * empty list is a consistent store.
 */
import { windowDigest, xattrDigest } from '../../schema/wire/content.ts'
import { coveredBytes } from '../../schema/wire/extents.ts'
import type { InodeRecord } from '../../schema/generated/records.ts'
import { parts } from '../../server/metadata/store/keys.ts'
import { tables } from '../../server/metadata/store/tables.ts'
import { keyAfter, type Entry, type OrderedStore } from '../../server/store/ordered-store.ts'

const DIRECTORY = 2

async function all(store: OrderedStore, space: string): Promise<Entry[]> {
  const found: Entry[] = []
  let from: Buffer = Buffer.from(space)
  const to = Buffer.of(space.charCodeAt(0) + 1)
  for (;;) {
    const page = await store.range({ from, to, limit: 5_000 })
    found.push(...page)
    const last = page.at(-1)
    if (last === undefined) return found
    from = keyAfter(last.key)
  }
}

class Sums {
  readonly #sums = new Map<string, number>()
  add(name: string | number, amount = 1): void {
    this.#sums.set(String(name), this.get(name) + amount)
  }
  get(name: string | number): number {
    return this.#sums.get(String(name)) ?? 0
  }
  entries(): [string, number][] {
    return [...this.#sums].filter(([, value]) => value !== 0).sort(([a], [b]) => (a < b ? -1 : 1))
  }
}

export async function checkStore(store: OrderedStore): Promise<string[]> {
  const wrong: string[] = []
  const same = (what: string, actual: unknown, expected: unknown): void => {
    if (actual !== expected) wrong.push(`${what}: ${String(actual)}, should be ${String(expected)}`)
  }
  const counters = new Sums()
  const inodes = new Map<number, InodeRecord>()
  for (const { key, value } of await all(store, 'i')) {
    inodes.set(parts.id(key), tables.inodes.decode(value))
  }
  const names = new Sums()
  const entries = new Sums()
  const directories = new Sums()
  for (const { key, value } of await all(store, 'd')) {
    const parent = parts.id(key)
    const { inode } = tables.dentries.decode(value)
    const record = inodes.get(inode)
    if (record === undefined) {
      wrong.push(`an entry of ${parent} names inode ${inode}, which has no record`)
      continue
    }
    names.add(inode)
    entries.add(parent)
    if (record.inode.attributes.kind === DIRECTORY) {
      directories.add(parent)
      same(`parent of directory ${inode}`, record.parent, parent)
    }
    same(`owner of ${inode}`, record.owner, inodes.get(parent)?.owner)
  }
  const purges = new Set((await all(store, 'p')).map(({ key }) => parts.id(key)))
  const orphans = new Set((await all(store, 'o')).map(({ key }) => parts.id(key)))
  const bytes = new Sums()
  const references = new Sums()
  for (const { key, value } of await all(store, 'w')) {
    const content = parts.id(key)
    const { extents, digest } = tables.windows.decode(value)
    bytes.add(content, coveredBytes(extents))
    for (const chunk of new Set(extents.map((extent) => extent.chunk))) references.add(chunk)
    const name = `window ${parts.windowIndex(key)} of ${content}`
    same(`digest of ${name}`, Buffer.from(digest).equals(windowDigest(extents)), true)
    if (extents.length === 0) wrong.push(`${name} is empty`)
  }
  const xattrBytes = new Sums()
  for (const { key, value } of await all(store, 'a')) {
    const { sealed } = tables.xattrs.decode(value)
    xattrBytes.add(parts.id(key), sealed.length)
    const vouched = inodes.get(parts.id(key))?.inode.attributes.xattrDigest ?? Buffer.of(0)
    if (Buffer.compare(xattrDigest(sealed), vouched) !== 0) {
      wrong.push(`the extended attributes of ${parts.id(key)} are not its inode's`)
    }
  }
  const contents = new Set(purges)
  for (const [id, record] of inodes) {
    const { inode, owner, content } = record
    const directory = inode.attributes.kind === DIRECTORY
    contents.add(content)
    counters.add('inodes')
    counters.add(`user-inodes/${owner}`)
    counters.add(`user-bytes/${owner}`, inode.allocatedBytes + record.xattrBytes)
    same(`xattr bytes of ${id}`, record.xattrBytes, xattrBytes.get(id))
    same(`xattrs of ${id}`, record.xattrBytes > 0, inode.attributes.xattrDigest.length > 0)
    same(`bytes of ${id}`, inode.allocatedBytes, bytes.get(content) + inode.inline.length)
    const root = directory && record.parent === id
    const gone = directory && !root && names.get(id) === 0
    same(`orphan mark of ${id}`, orphans.has(id), inode.nlink === 0)
    if (directory) {
      same(`nlink of directory ${id}`, inode.nlink, gone ? 0 : 2 + directories.get(id))
      same(`entries of ${id}`, inode.entryCount, entries.get(id))
      same(`directories of ${id}`, inode.directoryCount, directories.get(id))
    } else {
      same(`nlink of ${id}`, inode.nlink, names.get(id))
    }
  }
  for (const { key } of await all(store, 'w')) {
    if (!contents.has(parts.id(key))) wrong.push(`a window of content ${parts.id(key)} is lost`)
  }
  const placed = new Set<string>()
  for (const { key, value } of await all(store, 'c')) {
    const chunk = parts.id(key)
    const record = tables.chunks.decode(value)
    counters.add('chunks')
    same(`references of chunk ${chunk}`, record.windows, references.get(chunk))
    for (const server of record.servers) placed.add(`${server} ${chunk}`)
    references.add(chunk, -references.get(chunk))
  }
  for (const [chunk] of references.entries()) wrong.push(`chunk ${chunk} has no record`)
  for (const { key } of await all(store, 't')) {
    const name = `${key.readUInt32BE(1)} ${parts.serversChunk(key)}`
    if (!placed.delete(name)) wrong.push(`reverse index has ${name}`)
  }
  for (const name of placed) wrong.push(`reverse index lacks ${name}`)
  for (const { key } of await all(store, 'x')) counters.add(`deletes/${key.readUInt32BE(1)}`)
  for (const { value } of await all(store, 'u')) {
    if (tables.users.decode(value).opaqueRecord !== '') counters.add('users')
  }
  const states = new Set((await all(store, 'f')).map(({ key }) => key.readUInt32BE(1)))
  for (const { key, value } of await all(store, 'g')) {
    const user = key.readUInt32BE(1)
    counters.add(`tree-bytes/${user}`, tables.treePages.decode(value).bytes.length)
    if (!states.has(user)) wrong.push(`pages of a version table of ${user} without a state`)
  }
  const stored = new Sums()
  for (const { key, value } of await all(store, 'k')) {
    stored.add(parts.counterName(key), tables.numbers.decode(value).value)
  }
  same('counters', JSON.stringify(stored.entries()), JSON.stringify(counters.entries()))
  return wrong
}
