/**
 * Each thing that is kept twice is broken by hand: the check names it, repairs it where the truth is
 * known, and touches nothing where it is not.
 */
import { readdirSync } from 'node:fs'
import t, { type Test } from 'tap'
import type { InodeRecord } from '../../../../../schema/generated/records.ts'
import { checkStore, type CheckResult } from '../../../../../server/metadata/check/check.ts'
import { keys } from '../../../../../server/metadata/store/keys.ts'
import { tables, type Table } from '../../../../../server/metadata/store/tables.ts'
import type { OrderedStore } from '../../../../../server/store/ordered-store.ts'
import { MemoryDisk } from '../../../../support/memory-store.ts'
import { token } from '../../../../support/metadata.ts'
import { smallTree, type SmallTree } from '../../../../support/small-tree.ts'

const template = new MemoryDisk()
const tree = await smallTree(template.open())
await tree.metadata.close()

/** A copy of the tree that nobody has open. */
function copy(t: Test): { disk: MemoryDisk; scratch: string } {
  const disk = new MemoryDisk()
  disk.records = new Map(template.records)
  return { disk, scratch: t.testdir() }
}

function open(t: Test, disk: MemoryDisk): OrderedStore {
  const store = disk.open()
  t.teardown(() => store.close())
  return store
}

const run = async (
  t: Test,
  store: OrderedStore,
  scratch: string,
  repair = false,
): Promise<CheckResult> => {
  const result = await checkStore({ store, scratch, repair })
  t.same(readdirSync(scratch), [], 'no temporary file is left')
  return result
}

const details = ({ findings }: CheckResult): string[] =>
  findings.map(({ kind, detail }) => `${kind}: ${detail}`)

async function change<V>(
  store: OrderedStore,
  table: Table<V>,
  key: Buffer,
  to: (before: V) => V,
): Promise<void> {
  const stored = await store.get(key)
  if (stored === undefined) throw new Error(`no record ${key.toString('hex')}`)
  await store.write([{ key, value: table.encode(to(table.decode(stored))) }], { sync: false })
}
const changeInode = (store: OrderedStore, id: number, to: Partial<InodeRecord['inode']>) =>
  change(store, tables.inodes, keys.inode(id), (record) => ({
    ...record,
    inode: { ...record.inode, ...to },
  }))
const remove = (store: OrderedStore, ...all: Buffer[]): Promise<void> =>
  store.write(
    all.map((key) => ({ key, value: undefined })),
    { sync: false },
  )
const mark = (store: OrderedStore, key: Buffer): Promise<void> =>
  store.write([{ key, value: tables.marks.encode(true) }], { sync: false })
const number = (store: OrderedStore, key: Buffer, value: number): Promise<void> =>
  store.write([{ key, value: tables.numbers.encode({ value }) }], { sync: false })

t.test('a store as the server leaves it has nothing wrong', async (t) => {
  const { disk, scratch } = copy(t)
  const result = await run(t, open(t, disk), scratch)
  t.same(details(result), [])
  t.ok(result.records > 30, `${result.records} records`)
})

interface Break {
  readonly how: (store: OrderedStore, tree: SmallTree) => Promise<void>
  readonly found: RegExp
}

const repairable: Record<string, Break> = {
  'entries of a directory': {
    how: (store, { directory }) => changeInode(store, directory, { entryCount: 7 }),
    found: /^count: directory \d+ counts 7 entries and has 3$/u,
  },
  'directories in a directory': {
    how: (store, { root }) => changeInode(store, root, { directoryCount: 0, nlink: 2 }),
    found: /^count: directory \d+ counts 0 directories and 2 links, there are 1 and 3$/u,
  },
  'names of a file': {
    how: (store, { linked }) => changeInode(store, linked, { nlink: 1 }),
    found: /^count: inode \d+ counts 1 names and has 2$/u,
  },
  'where a directory is': {
    how: (store, { inner, root }) =>
      change(store, tables.inodes, keys.inode(inner), (record) => ({ ...record, parent: root })),
    found: /^index: directory \d+ is in \d+ and says \d+$/u,
  },
  'an orphan mark on what has a name': {
    how: (store, { file }) => mark(store, keys.orphan(file)),
    found: /^index: inode \d+ has a name and an orphan mark$/u,
  },
  'an orphan mark of nothing': {
    how: (store) => mark(store, keys.orphan(5_000)),
    found: /^garbage: an orphan mark of inode 5000/u,
  },
  'bytes of a file': {
    how: (store, { file }) => changeInode(store, file, { allocatedBytes: 1 }),
    found: /^count: inode \d+ counts 1 bytes in windows, there are 2000$/u,
  },
  'bytes of extended attributes': {
    how: (store, { inline }) =>
      change(store, tables.inodes, keys.inode(inline), (r) => ({ ...r, xattrBytes: 1 })),
    found: /^count: inode \d+ counts 1 bytes of extended attributes, there are 17$/u,
  },
  'extended attributes of nothing': {
    how: (store) =>
      store.write(
        [{ key: keys.xattr(5_000), value: tables.xattrs.encode({ sealed: token('x') }) }],
        {
          sync: false,
        },
      ),
    found: /^garbage: extended attributes of inode 5000/u,
  },
  'a purge mark on content in use': {
    how: async (store, { file }) => {
      const stored = await store.get(keys.inode(file))
      if (stored !== undefined) await mark(store, keys.purge(tables.inodes.decode(stored).content))
    },
    found: /^index: content \d+ of inode \d+ is marked to be purged$/u,
  },
  'windows that name a chunk': {
    how: (store, { chunks }) =>
      change(store, tables.chunks, keys.chunk(chunks[0]), (record) => ({ ...record, windows: 9 })),
    found: /^count: chunk \d+ counts 9 windows and is named by 1$/u,
  },
  'a chunk that nothing names': {
    how: (store, { chunks }) =>
      store
        .get(keys.chunk(chunks[0]))
        .then((value) => store.write([{ key: keys.chunk(4_000), value }], { sync: false })),
    found: /^garbage: chunk 4000 is named by no window$/u,
  },
  'a chunk that is not in the list of its server': {
    how: async (store, { chunks }) => {
      for (const server of [1, 2, 3]) await remove(store, keys.serverChunk(server, chunks[1]))
    },
    found: /^index: the list of chunkserver \d lacks chunk \d+$/u,
  },
  'a list with a chunk that is not there': {
    how: (store) => mark(store, keys.serverChunk(77, 4_000)),
    found: /^index: the list of chunkserver 77 has chunk 4000/u,
  },
  'an order to delete a chunk in use': {
    how: async (store, { chunks }) => {
      const stored = await store.get(keys.chunk(chunks[0]))
      const [server = 0] = stored === undefined ? [] : tables.chunks.decode(stored).servers
      await mark(store, keys.delete(server, chunks[0]))
    },
    found: /^index: chunkserver \d is told to delete chunk \d+, which is in use there$/u,
  },
  'a chunk that waits for repair and is not queued': {
    how: (store, { chunks }) =>
      change(store, tables.chunks, keys.chunk(chunks[0]), (record) => ({ ...record, repair: 2 })),
    found: /^index: the queue for repair lacks chunk \d+ with 1 replicas$/u,
  },
  'a queued chunk that does not wait': {
    how: (store, { chunks }) => mark(store, keys.repair(1, chunks[1])),
    found: /^index: the queue for repair has chunk \d+ with 1 replicas, which is not so$/u,
  },
  'a chunk that is queued elsewhere than it says': {
    how: async (store, { chunks }) => {
      await change(store, tables.chunks, keys.chunk(chunks[0]), (r) => ({ ...r, repair: 3 }))
      await mark(store, keys.repair(0, chunks[0]))
      await number(store, keys.counter('repairs/0'), 1)
    },
    found: /^index: the queue for repair has chunk \d+ with 0 replicas, which is not so$/u,
  },
  'a queued chunk that is not there': {
    how: (store) => mark(store, keys.repair(200, 4_000)),
    found: /^index: the queue for repair has chunk 4000 with 200 replicas/u,
  },
  'a counter of the queue': {
    how: (store) => number(store, keys.counter('repairs/1'), 2),
    found: /^count: counter repairs\/1 is 2 and should be 0$/u,
  },
  'damage of a copy that is not there': {
    how: (store, { chunks }) =>
      change(store, tables.chunks, keys.chunk(chunks[0]), (r) => ({ ...r, damaged: [77] })),
    found: /^index: chunk \d+ counts a copy as damaged on a chunkserver where it is not$/u,
  },
  'a user without a name': {
    how: (store) => remove(store, keys.userName('ann')),
    found: /^index: no name leads to user 1 \(ann\)$/u,
  },
  'a name without a user': {
    how: (store) => number(store, keys.userName('bob'), 9),
    found: /^garbage: the name bob leads to no user/u,
  },
  'an answer to a session that is over': {
    how: (store) =>
      store.write(
        [
          {
            key: keys.reply(900, 1),
            value: tables.replies.encode({ method: 1, answer: token('x') }),
          },
        ],
        { sync: false },
      ),
    found: /^garbage: an answer is kept for session 900/u,
  },
  'a counter': {
    how: (store) => number(store, keys.counter('user-bytes/1'), 3),
    found: /^count: counter user-bytes\/1 is 3 and should be \d+$/u,
  },
  'a counter of nobody': {
    how: (store) => number(store, keys.counter('user-inodes/99'), 3),
    found: /^count: counter user-inodes\/99 is 3 and should be 0$/u,
  },
  'ids that would be given out again': {
    how: (store) => number(store, keys.sequence('chunks'), 1),
    found: /^count: chunks up to \d+ are in use, and the next is 1$/u,
  },
}

for (const [what, { how, found }] of Object.entries(repairable)) {
  t.test(`${what}: found and repaired`, async (t) => {
    const { disk, scratch } = copy(t)
    const store = open(t, disk)
    await how(store, tree)
    const result = await run(t, store, scratch, true)
    const repaired = result.repaired.map(({ kind, detail }) => `${kind}: ${detail}`)
    t.ok(
      repaired.some((detail) => found.test(detail)),
      repaired.join('; '),
    )
    t.same(details(result), [], 'nothing is left')
  })
}

const unknowable: Record<string, Break> = {
  'an entry that names nothing': {
    how: (store, { linked }) => remove(store, keys.inode(linked)),
    found: /^missing: directory \d+ names inode \d+, which has no record$/u,
  },
  'an inode that nothing names': {
    how: (store, { directory }) => remove(store, keys.dentry(directory, token('file'))),
    found: /^missing: no name leads to inode \d+, which counts 1$/u,
  },
  'a window that is gone': {
    how: (store, { file }) => remove(store, keys.window(file, 0)),
    found: /^content: the windows of inode \d+ are not those sealed$/u,
  },
  'a chunk that is gone': {
    how: (store, { chunks }) => remove(store, keys.chunk(chunks[0])),
    found: /^missing: inode \d+ names chunk \d+, which has no record$/u,
  },
  'content that is another': {
    how: (store, { inline }) => changeInode(store, inline, { inline: Buffer.alloc(30, 'x') }),
    found: /^content: the content of inode \d+ is not the one sealed$/u,
  },
  'attributes that are gone': {
    how: (store, { inline }) => remove(store, keys.xattr(inline)),
    found: /^content: the extended attributes of inode \d+ are not those sealed$/u,
  },
  'directories in a circle': {
    how: async (store, { directory, inner, root }) => {
      await remove(store, keys.dentry(root, token('directory')))
      await changeInode(store, root, { entryCount: 1, directoryCount: 0, nlink: 2 })
      const dentry = tables.dentries.encode({ inode: directory, entry: token('x') })
      await store.write([{ key: keys.dentry(inner, token('up')), value: dentry }], { sync: false })
      await changeInode(store, inner, { entryCount: 2, directoryCount: 1, nlink: 3 })
      await change(store, tables.inodes, keys.inode(directory), (r) => ({ ...r, parent: inner }))
    },
    found: /^conflict: directory \d+ is below itself/u,
  },
  'a root that is gone': {
    how: (store, { root }) => remove(store, keys.inode(root)),
    found: /^missing: user 1 \(ann\) has no root directory$/u,
  },
  'a chunk on a server that never was': {
    how: (store, { chunks }) =>
      change(store, tables.chunks, keys.chunk(chunks[0]), (r) => ({ ...r, servers: [66] })),
    found: /^missing: chunk \d+ is on chunkserver 66, which has no record$/u,
  },
  'a chunk that is shorter than what is read of it': {
    how: (store, { chunks }) =>
      change(store, tables.chunks, keys.chunk(chunks[0]), (r) => ({ ...r, length: 10 })),
    found: /^conflict: chunk \d+ has 10 bytes and is read up to byte 1000$/u,
  },
  'a key of no table': {
    how: (store) => mark(store, Buffer.from('Zsomething')),
    found: /^unknown: key 5a736f6d657468696e67 belongs to no table$/u,
  },
  'a key of a wrong length': {
    how: (store) => mark(store, Buffer.from('i123')),
    found: /^unknown: key 69313233 starts with i and has another length$/u,
  },
}

for (const [what, { how, found }] of Object.entries(unknowable)) {
  t.test(`${what}: found, and nothing is made up`, async (t) => {
    const { disk, scratch } = copy(t)
    const store = open(t, disk)
    await how(store, tree)
    const after = await run(t, store, scratch, true)
    t.ok(
      details(after).some((detail) => found.test(detail)),
      details(after).join('; '),
    )
  })
}

t.test('damaged records are named, and what rests on them is left alone', async (t) => {
  const { disk, scratch } = copy(t)
  const all = [
    keys.inode(tree.file),
    keys.dentry(tree.directory, token('second')),
    keys.window(tree.file, 0),
    keys.chunk(tree.chunks[1]),
    keys.user(1),
    keys.cluster,
  ]
  disk.damage(all)
  const store = open(t, disk)
  const result = await run(t, store, scratch, true)
  for (const key of all.slice(0, 5)) {
    const text = key.toString('hex')
    t.ok(
      details(result).some((detail) => detail.endsWith(`record ${text} is damaged`)),
      text,
    )
  }
  t.ok(details(result).includes("damaged: the store's own record cluster is damaged"))
  const chunk = await store.get(keys.chunk(tree.chunks[0]))
  t.ok(chunk, 'a chunk that only a damaged window named is kept')
})

t.test('of a chunk whose record is damaged, the queue for repair is believed', async (t) => {
  const { disk, scratch } = copy(t)
  const [chunk] = tree.chunks
  const before = disk.open()
  await mark(before, keys.repair(1, chunk))
  await number(before, keys.counter('repairs/1'), 1)
  await before.close()
  disk.damage([keys.chunk(chunk)])
  const store = open(t, disk)
  t.notOk(details(await run(t, store, scratch, true)).some((detail) => /repair/u.test(detail)))
  t.ok(await store.get(keys.repair(1, chunk)))
})

t.test(
  'damaged marks and counters say nothing that is not known, and are written anew',
  async (t) => {
    const { disk, scratch } = copy(t)
    const stored = template.records.get(keys.chunk(tree.chunks[0]).toString('latin1'))
    const servers = stored === undefined ? [] : tables.chunks.decode(stored).servers
    disk.damage([
      keys.counter('inodes'),
      ...servers.map((server) => keys.serverChunk(server, tree.chunks[0])),
    ])
    const store = open(t, disk)
    t.equal((await run(t, store, scratch)).findings.length, 1 + servers.length)
    t.same(details(await run(t, store, scratch, true)), [])
    t.same(details(await run(t, store, scratch)), [])
  },
)
