/**
 * The version table: what was put in under a root is found under it, whatever pages a server gives.
 */
import fc from 'fast-check'
import t from 'tap'
import {
  DEAD,
  decodeBounds,
  decodeDigests,
  encodeBounds,
  encodeDigests,
  INODES_MAX,
  pageDigest,
  pageOf,
} from '../../../../mount/freshness/version-pages.ts'
import { EMPTY_ROOT, VersionTable } from '../../../../mount/freshness/version-table.ts'
import type { TreePage } from '../../../../schema/generated/metadata.ts'
import { limits } from '../../../../schema/wire/limits.ts'

const slot = fc.integer({ min: 0, max: limits.treePageSlots - 1 })
const version = fc.oneof(
  fc.integer({ min: 1, max: 300 }),
  fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  fc.constant(DEAD),
)
/** Neighbours, so that pages fill; and numbers from all over. */
const inode = fc.oneof(
  fc.integer({ min: 1, max: 3_000 }),
  fc.integer({ min: 1, max: INODES_MAX - 1 }),
)
const changes = fc.array(fc.tuple(inode, version), { maxLength: 40 })

/** Pages by number, as a server keeps them. */
class Pages {
  readonly bytes = new Map<number, Uint8Array>()

  put(pages: readonly TreePage[]): void {
    for (const { page, bytes } of pages) this.bytes.set(page, bytes)
  }

  /** A table that has asked for all it needs to know of `inodes`. */
  read(root: Buffer, inodes: readonly number[]): VersionTable {
    const table = new VersionTable()
    for (const one of inodes) {
      const missing = table.missing(root, [one])
      table.put(missing.map((page) => ({ page, bytes: this.bytes.get(page) ?? Buffer.of() })))
    }
    return table
  }
}

t.test('pages come back as they were written, within their bound of bytes', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(slot, version)), (entries) => {
      const bounds = new Map(entries)
      const bytes = encodeBounds(bounds)
      const read = decodeBounds(bytes) ?? new Map<number, number>()
      if (read.size !== bounds.size) return false
      if (![...bounds].every(([at, bound]) => read.get(at) === bound)) return false
      return bytes.length <= limits.treePageBytesMax
    }),
  )
  fc.assert(
    fc.property(
      fc.array(fc.tuple(slot, fc.uint8Array({ minLength: 32, maxLength: 32 }))),
      (all) => {
        const digests = new Map(all.map(([at, digest]) => [at, Buffer.from(digest)]))
        const read = decodeDigests(encodeDigests(digests))
        return (
          read?.size === digests.size &&
          [...digests].every(([at, one]) => read.get(at)?.equals(one) === true)
        )
      },
    ),
  )
  const every = Array.from({ length: limits.treePageSlots }, (_, at) => at)
  const longest = encodeBounds(new Map(every.map((at) => [at, Number.MAX_SAFE_INTEGER])))
  t.ok(longest.length <= limits.treePageBytesMax, `${longest.length} bytes of bounds`)
  const full = encodeDigests(new Map(every.map((at) => [at, Buffer.alloc(32, 1)])))
  t.ok(full.length <= limits.treePageBytesMax, `${full.length} bytes of digests`)
  const dead = encodeBounds(new Map(every.map((at) => [at, DEAD])))
  t.ok(dead.length < 8, `${dead.length} bytes for as many removed inodes as a page has room for`)
})

t.test('bytes that are no page are told from one, and never crash', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      const given = Buffer.concat([Buffer.of(1), bytes])
      const bounds = decodeBounds(given)
      const digests = decodeDigests(given)
      const good = (at: number): boolean => at >= 0 && at < limits.treePageSlots
      return (
        [...(bounds ?? [])].every(([at, bound]) => good(at) && bound > 0) &&
        [...(digests ?? [])].every(([at, digest]) => good(at) && digest.length === 32)
      )
    }),
  )
})

t.test('a table is the maximum of all that was put into it', async () => {
  fc.assert(
    fc.property(fc.array(changes, { maxLength: 6 }), (batches) => {
      const server = new Pages()
      const model = new Map<number, number>()
      let root: Buffer = EMPTY_ROOT
      for (const entries of batches) {
        const batch = new Map(entries)
        // Each time by somebody who has nothing in memory.
        const changed = server.read(root, [...batch.keys()]).changed(root, batch)
        if (changed === undefined) return false
        for (const [id, bound] of batch) model.set(id, Math.max(bound, model.get(id) ?? 0))
        server.put(changed.pages)
        root = changed.root
      }
      const asked = [...model.keys(), 1, 77, 2 ** 30]
      const table = server.read(root, asked)
      return asked.every((id) => table.bound(root, id) === (model.get(id) ?? 0))
    }),
    { numRuns: 60 },
  )
})

t.test('nothing is written when nothing is new', async (t) => {
  const table = new VersionTable()
  const first = table.changed(EMPTY_ROOT, new Map([[5, 3]]))
  table.put(first?.pages ?? [])
  const root = first?.root ?? EMPTY_ROOT
  t.same(table.changed(root, new Map([[5, 2]]))?.pages, [])
  t.same(table.changed(root, new Map([[5, 2]]))?.root, root)
  t.equal(table.bound(root, INODES_MAX + 5), 0, 'numbers beyond the table have no bound')
})

t.test(
  'what a server changes in a page, or gives of an older table, counts for nothing',
  async (t) => {
    const ids = [1, 2, 900, 5_000, 2 ** 31]
    const server = new Pages()
    const older = new VersionTable().changed(EMPTY_ROOT, new Map(ids.map((id) => [id, 1])))
    server.put(older?.pages ?? [])
    const before = new Map(server.bytes)
    const root = older?.root ?? EMPTY_ROOT
    const newer = server.read(root, ids).changed(root, new Map(ids.map((id) => [id, 9])))
    server.put(newer?.pages ?? [])
    const top = newer?.root ?? EMPTY_ROOT
    for (const id of ids) {
      t.equal(server.read(top, [id]).bound(top, id), 9)
      for (let level = 0; level < limits.treeLevels; level++) {
        const page = pageOf(id, level)
        const good = server.bytes.get(page) ?? Buffer.of()
        const refuses = (bytes: Uint8Array, what: string): void => {
          server.bytes.set(page, bytes)
          t.equal(server.read(top, [id]).bound(top, id), undefined, `level ${level}: ${what}`)
          server.bytes.set(page, good)
        }
        refuses(before.get(page) ?? Buffer.of(), 'the page as it was')
        refuses(Buffer.of(), 'no page')
        for (const at of [0, good.length - 1]) {
          refuses(
            good.map((byte, i) => (i === at ? byte ^ 1 : byte)),
            `byte ${at} flipped`,
          )
        }
      }
    }
    const same = Buffer.of(1, 0, 3)
    t.notOk(pageDigest(1, same).equals(pageDigest(2, same)), 'a page is bound to its place')
  },
)

t.test('pages that do not fit into memory are asked for again', async (t) => {
  const server = new Pages()
  const ids = Array.from({ length: 50 }, (_, at) => at * limits.treePageSlots + 1)
  const changed = new VersionTable().changed(EMPTY_ROOT, new Map(ids.map((id) => [id, 2])))
  server.put(changed?.pages ?? [])
  const root = changed?.root ?? EMPTY_ROOT
  const small = new VersionTable(12_000)
  for (const id of [...ids, ...ids]) {
    const missing = small.missing(root, [id])
    small.put(missing.map((page) => ({ page, bytes: server.bytes.get(page) ?? Buffer.of() })))
    t.equal(small.bound(root, id), 2)
  }
})
