/**
 * The state of a tree over real and honest servers: it costs a few requests, nobody is refused however two
 * devices change the same files, and a client that ends without a checkpoint harms nobody.
 */
import { constants } from 'node:fs'
import t from 'tap'
import type { FileSystem } from '../../mount/vfs/api.ts'
import { openFileSystem } from '../../mount/vfs/file-system.ts'
import { openClient } from '../../mount/client/open.ts'
import type { Method } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { errnoOf } from '../support/cheating-servers.ts'
import { LogLines, startStore, type Mounted } from '../support/store-processes.ts'

// Many requests, on a machine that may be busy.
t.setTimeout(250_000)

const { O_RDONLY, O_RDWR, O_TRUNC } = constants
const OWNER = { uid: 0, gid: 0 }
const FILES = 1_000
const FOLDERS = 4
/** Longer than some periods of checkpoints. */
const TURNS_MS = 9_000

const store = await startStore(t, { chunkservers: 1, replicas: 1, writeQuorum: 1 })

async function write(fs: FileSystem, path: string, text: string): Promise<void> {
  const handle = await fs.create(path, 0o600, O_RDWR | O_TRUNC, OWNER)
  await fs.write(handle, Buffer.from(text), 0)
  await fs.release(handle)
}

t.test(
  'listing a thousand files for the first time asks for a few pages, not a thousand',
  async (t) => {
    const before = await store.mount()
    for (let folder = 0; folder < FOLDERS; folder++) {
      await before.fs.mkdir(`/${folder}`, 0o700, OWNER)
      const names = Array.from({ length: FILES / FOLDERS }, (_, at) => `/${folder}/${at}`)
      await Promise.all(names.map(async (name) => write(before.fs, name, name)))
    }
    await before.close()

    const log = new LogLines()
    const client = await openClient({ profile: store.profile, log })
    t.teardown(async () => client.close())
    const asked: string[] = []
    const { session } = client
    const read = session.read.bind(session)
    session.read = async <Q, R>(method: Method<Q, R>, request: Q) => {
      asked.push(method.name)
      return read(method, request)
    }
    const fs = await openFileSystem({ client, log })
    let seen = 0
    for (const { name } of await fs.list('/')) {
      for (const { name: file } of await fs.list(`/${name}`)) {
        await fs.stat(`/${name}/${file}`)
        seen++
      }
    }
    t.equal(seen, FILES)
    const pages = asked.filter((name) => name === 'readTreeState').length
    t.ok(pages <= 5, `${pages} requests for state and pages`)
    await fs.close()
    t.same(log.errors(), [])
  },
)

t.test('two devices that change the same files in turns are never refused', async (t) => {
  const names = ['/a', '/b', '/c', '/folder/d', '/folder/e']
  const mounts = [await store.mount(), await store.mount()]
  t.teardown(async () => Promise.all(mounts.map(async (mounted) => mounted.close())))
  await mounts[0]?.fs.mkdir('/folder', 0o700, OWNER)
  const endMs = Date.now() + TURNS_MS
  const usual = ['ENOENT', 'EEXIST', 'ESTALE', 'ENOTEMPTY']
  let steps = 0
  const any = (): string => names[Math.floor(Math.random() * names.length)] ?? '/a'
  const step = async (fs: FileSystem): Promise<unknown> => {
    switch (Math.floor(Math.random() * 7)) {
      case 0:
        return fs.rename(any(), any())
      case 1:
        return fs.unlink(any())
      case 2:
        return fs.chmod(any(), 0o600 + Math.floor(Math.random() * 8))
      case 3:
        return fs.list('/folder')
      case 4:
        return openedAndRemoved(fs, any())
      default:
        return write(fs, any(), `${steps}`)
    }
  }
  const work = async ({ fs }: Mounted): Promise<void> => {
    while (Date.now() < endMs) {
      steps++
      await step(fs).catch((error: unknown) => {
        if (!(error instanceof DfsError) || !usual.includes(error.errno)) throw error
      })
    }
  }
  // Each with two programs.
  await Promise.all([...mounts, ...mounts].map(work))
  for (const { log } of mounts) t.same(log.errors(), [], `after ${steps} steps`)
  const lists = await Promise.all(
    mounts.map(async ({ fs }) => (await fs.list('/folder')).map(({ name }) => name).sort()),
  )
  t.same(lists[0], lists[1])
})

/** A file that stays in use after its name is gone. */
async function openedAndRemoved(fs: FileSystem, path: string): Promise<void> {
  const handle = await fs.open(path, O_RDONLY)
  try {
    await fs.unlink(path)
    await fs.statHandle(handle)
    await fs.read(handle, Buffer.alloc(10), 0)
  } finally {
    await fs.release(handle)
  }
}

t.test('what stays open is in use also when others know that it was removed', async (t) => {
  const [one, other] = [await store.mount(), await store.mount()]
  t.teardown(async () => Promise.all([one.close(), other.close()]))
  await write(one.fs, '/kept', 'still there')
  const handle = await other.fs.open('/kept', O_RDONLY)
  await one.fs.unlink('/kept')
  await new Promise((resolve) => setTimeout(resolve, 4_500))
  t.equal(await errnoOf(other.fs.stat('/kept')), 'ENOENT')
  t.equal((await other.fs.statHandle(handle)).nlink, 0)
  const into = Buffer.alloc(20)
  t.equal(into.toString('utf8', 0, await other.fs.read(handle, into, 0)), 'still there')
  await other.fs.release(handle)
  for (const { log } of [one, other]) t.same(log.errors(), [])
})

t.test('a client that ends without a checkpoint harms nobody', async (t) => {
  const stateDir = t.testdir()
  const log = new LogLines()
  const client = await openClient({ profile: store.profile, log })
  const fs = await openFileSystem({ client, log, stateDir })
  await write(fs, '/last', 'one')
  await write(fs, '/last', 'two')
  // As a kill would end it: nothing is told to the file system.
  await client.close()
  const after = await store.mount({ stateDir })
  const handle = await after.fs.open('/last', O_RDONLY)
  const into = Buffer.alloc(20)
  t.equal(into.toString('utf8', 0, await after.fs.read(handle, into, 0)), 'two')
  await after.fs.release(handle)
  await after.close()
  t.same(after.log.errors(), [])
})
