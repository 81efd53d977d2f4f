/**
 * The metadata server's operator changes its records: sizes, extents, entries, inodes, whole folders
 * moved or invented, another user's files put into one's own. The server serves all of it faithfully;
 * the client answers EIO (ENOTSUP for a format that it does not know) and logs a line that names the
 * path.
 */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import t from 'tap'
import { InodeKey } from '../../../mount/crypto/inode-key.ts'
import type { FileSystem } from '../../../mount/vfs/api.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { keys } from '../../../server/metadata/store/keys.ts'
import { tables } from '../../../server/metadata/store/tables.ts'
import { directories, errnoOf, MetadataRecords } from '../../support/cheating-servers.ts'
import { startStore } from '../../support/store-processes.ts'
import { readFile } from '../../support/whole-files.ts'

// Many processes one after the other, on a machine that may be busy.
t.setTimeout(290_000)

const PIECE = 2 * limits.blockBytes
const OWNER = { uid: 0, gid: 0 }
const KIND_FILE = 1

/** A file of as many chunks as pieces; without any, of a few bytes that are kept in its inode. */
async function write(fs: FileSystem, path: string, pieces: number): Promise<void> {
  const handle = await fs.create(path, 0o600, constants.O_RDWR, OWNER)
  if (pieces === 0) await fs.write(handle, Buffer.from(`few bytes of ${path}`), 0)
  for (let piece = 0; piece < pieces; piece++) {
    await fs.write(handle, Buffer.alloc(PIECE, `${piece} of ${path}`), piece * PIECE)
    await fs.fsync(handle)
  }
  await fs.release(handle)
}

/** What an attack changes; `at` gives the number of the inode under a path. */
type Edit = (records: MetadataRecords, at: (path: string) => number) => Promise<void>

interface Attack {
  readonly what: string
  readonly edit: Edit
  /** What the user does then; reading the file unless told otherwise. */
  readonly uses?: (fs: FileSystem) => Promise<unknown>
  readonly path: string
  /** What the application gets; EIO unless told otherwise. */
  readonly errno?: string
}

/** One of the two bytes that a sealed entry begins with, its version and its cipher, becomes 0. */
const withoutByte =
  (path: string, position: number): Edit =>
  async (records, at) => {
    const { key, record } = await records.dentryOf(at(path))
    const entry = Buffer.from(record.entry)
    entry.writeUInt8(0, position)
    await records.put(tables.dentries, key, { ...record, entry })
  }

const resize =
  (path: string, by: number): Edit =>
  (records, at) =>
    records.changeInode(at(path), (record) => {
      const { inode } = record
      const attributes = { ...inode.attributes, size: inode.attributes.size + by }
      return { ...record, inode: { ...inode, attributes } }
    })

/** Puts the entry of one path in the place of another's, which names it then. */
const putEntry =
  (path: string, inPlaceOf: string): Edit =>
  async (records, at) => {
    const { record } = await records.dentryOf(at(path))
    const { key } = await records.dentryOf(at(inPlaceOf))
    await records.put(tables.dentries, key, record)
  }

/** An entry for an inode of the operator's own making, with keys that he knows. */
const inject =
  (directory: string, kind: number): Edit =>
  async (records, at) => {
    const [own, key] = [InodeKey.generate(), InodeKey.generate()]
    const { token, entry } = own.sealEntry('injected', { kind, key })
    const inode = 900_000 + kind
    const model = await records.inode(at(directory))
    const attributes = key.sealAttributes({ ...model.inode.attributes, kind, version: 1 })
    const record = { ...model, parent: at(directory), inode: { ...model.inode, inode, attributes } }
    await records.put(tables.inodes, keys.inode(inode), record)
    await records.put(tables.dentries, keys.dentry(at(directory), token), { inode, entry })
  }

const attacks: readonly Attack[] = [
  { what: 'a file made larger', path: '/grown', edit: resize('/grown', 1_000) },
  { what: 'a file cut at a block', path: '/cut', edit: resize('/cut', -limits.blockBytes) },
  {
    what: 'the last chunk dropped, and the size with it',
    path: '/last-dropped',
    async edit(records, at) {
      const inode = at('/last-dropped')
      await records.setExtents(inode, (await records.extentsOf(inode)).slice(0, 1))
      await resize('/last-dropped', -PIECE)(records, at)
    },
  },
  {
    what: 'the last chunk dropped, the size kept',
    path: '/tail-hole',
    async edit(records, at) {
      const inode = at('/tail-hole')
      await records.setExtents(inode, (await records.extentsOf(inode)).slice(0, 1))
    },
  },
  {
    what: 'data turned into a hole',
    path: '/hole',
    async edit(records, at) {
      const inode = at('/hole')
      await records.setExtents(inode, (await records.extentsOf(inode)).slice(1))
    },
  },
  {
    what: 'two chunks of a file exchanged',
    path: '/exchanged',
    async edit(records, at) {
      const inode = at('/exchanged')
      const extents = await records.extentsOf(inode)
      const chunks = extents.map(({ chunk }) => chunk).toReversed()
      const swapped = extents.map((extent, i) => ({ ...extent, chunk: chunks[i] ?? 0 }))
      await records.setExtents(inode, swapped)
    },
  },
  {
    what: "another file's chunk",
    path: '/borrowed',
    async edit(records, at) {
      const [foreign] = await records.extentsOf(at('/other'))
      const extents = await records.extentsOf(at('/borrowed'))
      const chunk = foreign?.chunk ?? 0
      await records.setExtents(
        at('/borrowed'),
        extents.map((extent) => ({ ...extent, chunk })),
      )
    },
  },
  {
    what: 'the bytes of another small file',
    path: '/small-1',
    async edit(records, at) {
      const { inode } = await records.inode(at('/small-2'))
      await records.changeInode(at('/small-1'), (record) => {
        return { ...record, inode: { ...record.inode, inline: inode.inline } }
      })
    },
  },
  {
    what: 'another mode',
    path: '/mode',
    edit: (records, at) =>
      records.changeInode(at('/mode'), (record) => {
        const attributes = { ...record.inode.attributes, mode: 0o4777 }
        return { ...record, inode: { ...record.inode, attributes } }
      }),
  },
  {
    what: 'an entry under the name of another',
    path: '/name-1',
    edit: putEntry('/name-2', '/name-1'),
  },
  {
    what: 'a name that leads to the inode of another',
    path: '/points-1',
    async edit(records, at) {
      const { key, record } = await records.dentryOf(at('/points-1'))
      await records.put(tables.dentries, key, { ...record, inode: at('/points-2') })
    },
  },
  {
    what: 'a folder moved in place of another',
    path: '/to/taken/inside',
    edit: putEntry('/from/moved', '/to/taken'),
  },
  {
    what: 'a folder moved under a new token',
    path: '/listed',
    uses: (fs) => fs.list('/listed'),
    async edit(records, at) {
      const { record } = await records.dentryOf(at('/from/listed-elsewhere'))
      await records.put(tables.dentries, keys.dentry(at('/listed'), randomBytes(32)), record)
    },
  },
  {
    what: 'an injected file',
    path: '/with-file',
    uses: (fs) => fs.list('/with-file'),
    edit: inject('/with-file', KIND_FILE),
  },
  {
    what: 'an injected folder',
    path: '/with-folder',
    uses: (fs) => fs.list('/with-folder'),
    edit: inject('/with-folder', 2),
  },
  {
    what: "another user's file in one's own tree",
    path: '/mine',
    async edit(records, at) {
      const { key, record } = await records.dentryOf(at('/mine'))
      await records.put(tables.dentries, key, { ...record, inode: at('bob:/secret') })
      await records.changeInode(at('bob:/secret'), (bobs) => ({ ...bobs, owner: 1 }))
    },
  },
  {
    what: 'an entry sealed with a cipher that is none',
    path: '/cipher',
    errno: 'ENOTSUP',
    edit: withoutByte('/cipher', 1),
  },
  {
    what: 'an entry of an older version',
    path: '/version',
    errno: 'ENOTSUP',
    edit: withoutByte('/version', 0),
  },
]

const files = {
  0: ['/small-1', '/small-2', '/mode', '/name-1', '/name-2', '/points-1', '/points-2', '/mine'],
  1: ['/grown', '/other', '/cipher', '/version', '/to/taken/inside', '/from/moved/inside'],
  2: ['/cut', '/last-dropped', '/tail-hole', '/hole', '/exchanged', '/borrowed', '/untouched'],
} as const
const folders = [
  '/to',
  '/from',
  '/to/taken',
  '/from/moved',
  '/from/listed-elsewhere',
  '/listed',
  '/with-file',
  '/with-folder',
]

t.test('whatever the metadata server changes in its records is refused', async (t) => {
  const store = await startStore(t, { chunkservers: 1, replicas: 1, writeQuorum: 1 })
  const before = await store.mount()
  const inodes = new Map<string, number>()
  for (const path of folders) await before.fs.mkdir(path, 0o700, OWNER)
  for (const [pieces, paths] of Object.entries(files)) {
    for (const path of paths) await write(before.fs, path, Number(pieces))
  }
  for (const path of [...folders, ...Object.values(files).flat()]) {
    inodes.set(path, (await before.fs.stat(path)).inode)
  }
  await before.close()
  const bob = await store.mount({}, await store.register('bob'))
  await write(bob.fs, '/secret', 0)
  inodes.set('bob:/secret', (await bob.fs.stat('/secret')).inode)
  await bob.close()

  await store.metadata.stop('SIGTERM')
  const at = (path: string): number => {
    const inode = inodes.get(path)
    if (inode === undefined) throw new Error(`the test made no ${path}`)
    return inode
  }
  await MetadataRecords.edit(directories.metadata(store), async (records) => {
    for (const { edit } of attacks) await edit(records, at)
  })
  await store.metadata.start()

  const mounted = await store.mount()
  const { fs, log } = mounted
  t.teardown(async () => mounted.close())
  t.equal((await readFile(fs, '/untouched')).length, 2 * PIECE, 'what was left alone is read')
  for (const { what, uses, path, errno = 'EIO' } of attacks) {
    t.test(what, async (t) => {
      log.lines.length = 0
      t.equal(await errnoOf(uses?.(fs) ?? readFile(fs, path)), errno)
      const told = log.errors().filter(({ fields }) => JSON.stringify(fields).includes(path))
      t.ok(told.length > 0, 'the log names the path')
    })
  }
})
