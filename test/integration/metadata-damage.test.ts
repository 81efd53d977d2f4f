/**
 * A record of the metadata is damaged on disk: through the file system, its file alone is EIO.
 */
import { constants } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { FileSystem } from '../../mount/vfs/api.ts'
import { keys } from '../../server/metadata/store/keys.ts'
import { damageRecords } from '../support/raw-store.ts'
import { startStore } from '../support/store-processes.ts'
import { readFile } from '../support/whole-files.ts'

// Processes are started one after the other, on a machine that may be busy.
t.setTimeout(120_000)

const OWNER = { uid: 0, gid: 0 }
const BYTES = 100_000

async function write(fs: FileSystem, path: string): Promise<void> {
  const handle = await fs.create(path, 0o644, constants.O_WRONLY, OWNER)
  await fs.write(handle, Buffer.alloc(BYTES, path), 0)
  await fs.release(handle)
}

t.test('a damaged inode is listed by its name and gives EIO; the rest works', async (t) => {
  const store = await startStore(t, { chunkservers: 1, replicas: 1 })
  const before = await store.mount()
  await before.fs.mkdir('/folder', 0o755, OWNER)
  for (const name of ['first', 'broken', 'whole']) await write(before.fs, `/folder/${name}`)
  const { inode } = await before.fs.stat('/folder/broken')
  await before.close()
  await store.metadata.stop('SIGTERM')
  await damageRecords(join(store.dir, 'metadata', 'db'), [keys.inode(inode)])
  await store.metadata.start()

  const after = await store.mount()
  const { fs, log } = after
  const names = (await fs.list('/folder')).map(({ name }) => name)
  t.same(names.sort(), ['broken', 'first', 'whole'])
  t.ok(log.lines.some(({ message }) => message.includes('inode of an entry is damaged')))
  await t.rejects(fs.stat('/folder/broken'), { code: 'recordCorrupt', errno: 'EIO' })
  await t.rejects(fs.open('/folder/broken', constants.O_RDONLY), { code: 'recordCorrupt' })
  t.ok((await readFile(fs, '/folder/whole')).equals(Buffer.alloc(BYTES, '/folder/whole')))
  await write(fs, '/folder/new')
  await fs.unlink('/folder/first')
  t.same((await fs.list('/folder')).map(({ name }) => name).sort(), ['broken', 'new', 'whole'])
  await after.close()
})
