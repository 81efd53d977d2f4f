/**
 * A chunkserver's operator changes sealed chunks on its disk, with checksums that fit: swapped blocks,
 * blocks and chunks from elsewhere, ends cut off, zeros. Whatever is served, the reader gets EIO and the
 * log names the path; a file that was left alone is read.
 */
import { constants } from 'node:fs'
import t from 'tap'
import type { FileSystem } from '../../../mount/vfs/api.ts'
import { limits } from '../../../schema/wire/limits.ts'
import {
  ChunkFiles,
  directories,
  errnoOf,
  MetadataRecords,
  type StoredChunk,
} from '../../support/cheating-servers.ts'
import { startStore } from '../../support/store-processes.ts'
import { readFile } from '../../support/whole-files.ts'

// Many processes one after the other, on a machine that may be busy.
t.setTimeout(290_000)

const { blockBytes, sealedBlockBytes } = limits
/** Three blocks and a short one. */
const LENGTH = 3 * blockBytes + 5_000
const OWNER = { uid: 0, gid: 0 }

const plain = (seed: number): Buffer =>
  Buffer.alloc(LENGTH, Buffer.from(`content of file number ${seed} `))

async function write(fs: FileSystem, path: string, bytes: Buffer): Promise<number> {
  const handle = await fs.create(path, 0o600, constants.O_RDWR, OWNER)
  await fs.write(handle, bytes, 0)
  await fs.flush(handle)
  await fs.release(handle)
  return (await fs.stat(path)).inode
}

/** The sealed blocks in another order; -1 is a block of zeros. */
const ordered =
  (...order: number[]) =>
  ({ header, sealed }: StoredChunk): StoredChunk => ({
    header,
    sealed: Buffer.concat(
      order.map((index) =>
        index < 0
          ? Buffer.alloc(sealedBlockBytes)
          : sealed.subarray(index * sealedBlockBytes, (index + 1) * sealedBlockBytes),
      ),
    ),
  })

type Cheat = (own: StoredChunk, other: StoredChunk, bobs: StoredChunk) => StoredChunk

const cheats: Record<string, Cheat> = {
  'two blocks swapped': ordered(1, 0, 2, 3),
  'a block in place of another of the chunk': ordered(0, 0, 2, 3),
  'a block of zeros': ordered(0, -1, 2, 3),
  'an end at a block boundary': ordered(0, 1, 2),
  'an end within a block': ({ header, sealed }) => ({ header, sealed: sealed.subarray(0, -100) }),
  'a block more': ordered(0, 1, 2, 2, 3),
  'the chunk of another file': (_own, other) => other,
  "another user's chunk": (_own, _other, bobs) => bobs,
  'the blocks of another file under its own header': ({ header }, other) => ({
    header,
    sealed: other.sealed,
  }),
  'one block of another file': ({ header, sealed }, other) => ({
    header,
    sealed: Buffer.concat([
      other.sealed.subarray(0, sealedBlockBytes),
      sealed.subarray(sealedBlockBytes),
    ]),
  }),
  'a changed salt': ({ header, sealed }) => {
    const changed = Buffer.from(header)
    changed.writeUInt8(changed.readUInt8(20) ^ 1, 20)
    return { header: changed, sealed }
  },
}

t.test('whatever a chunkserver serves in place of a chunk is refused', async (t) => {
  const store = await startStore(t, { chunkservers: 1, replicas: 1, writeQuorum: 1 })
  const bob = await store.register('bob')
  const before = await store.mount()
  const bobs = await store.mount({}, bob)
  const names = Object.keys(cheats)
  const inodes = new Map<string, number>()
  for (const [seed, name] of names.entries()) {
    inodes.set(name, await write(before.fs, `/${name}`, plain(seed)))
  }
  const other = await write(before.fs, '/other', plain(1_000))
  const foreign = await write(bobs.fs, '/of bob', plain(2_000))
  await before.close()
  await bobs.close()

  await store.metadata.stop('SIGTERM')
  const [chunkserver] = store.chunkservers
  await chunkserver?.stop('SIGTERM')
  const chunks = new Map<number, number>()
  await MetadataRecords.edit(directories.metadata(store), async (records) => {
    for (const inode of [...inodes.values(), other, foreign]) {
      const [extent] = await records.extentsOf(inode)
      if (extent === undefined) throw new Error(`inode ${inode} has no chunk`)
      chunks.set(inode, extent.chunk)
    }
  })
  await ChunkFiles.edit(directories.chunkserver(store, 1), async (files) => {
    const chunkOf = (inode: number | undefined): number => chunks.get(inode ?? 0) ?? 0
    const otherChunk = await files.get(chunkOf(other))
    const bobsChunk = await files.get(chunkOf(foreign))
    for (const [name, cheat] of Object.entries(cheats)) {
      const chunk = chunkOf(inodes.get(name))
      await files.replace(chunk, cheat(await files.get(chunk), otherChunk, bobsChunk))
    }
  })
  await store.metadata.start()
  await chunkserver?.start()

  const mounted = await store.mount()
  const { fs, log } = mounted
  t.teardown(async () => mounted.close())
  t.ok((await readFile(fs, '/other')).equals(plain(1_000)), 'what was left alone is read')
  for (const [seed, name] of names.entries()) {
    t.test(name, async (t) => {
      const path = `/${name}`
      t.equal(await errnoOf(readFile(fs, path)), 'EIO')
      const told = log.errors().filter(({ fields }) => 'path' in fields && fields.path === path)
      t.match(told, [{ message: 'file content cannot be read' }])
      t.equal((await fs.stat(path)).size, plain(seed).length, 'its name and size are good')
    })
  }
})
