/**
 * The metadata server's operator shows what was once true: a whole older database, single older records
 * beside the newest, a removed file, and two databases in turns to two devices. Mounts that have seen
 * nothing in their own life find out.
 */
import { constants, cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loginAccount } from '../../../mount/client/account.ts'
import { writeProfile } from '../../../mount/client/profile.ts'
import type { FileSystem } from '../../../mount/vfs/api.ts'
import { pageOf } from '../../../mount/freshness/version-pages.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { clusterPaths } from '../../../server/metadata/cluster-files.ts'
import { keys } from '../../../server/metadata/store/keys.ts'
import { tables } from '../../../server/metadata/store/tables.ts'
import { directories, errnoOf, MetadataRecords } from '../../support/cheating-servers.ts'
import { runDfs } from '../../support/cluster.ts'
import { startStore, type StoreProcesses } from '../../support/store-processes.ts'
import { readFile } from '../../support/whole-files.ts'

// Many processes one after the other, on a machine that may be busy.
t.setTimeout(290_000)

const OWNER = { uid: 0, gid: 0 }
const FAILURE = 1
const small = { chunkservers: 1, replicas: 1, writeQuorum: 1 } as const

async function write(fs: FileSystem, path: string, content: Buffer | string): Promise<void> {
  const handle = await fs.create(path, 0o600, constants.O_RDWR | constants.O_TRUNC, OWNER)
  await fs.truncateHandle(handle, 0)
  await fs.write(handle, Buffer.from(content), 0)
  await fs.release(handle)
}

const read = async (fs: FileSystem, path: string): Promise<string> =>
  String(await readFile(fs, path))

/** One mount's life. */
async function mounted<R>(
  store: StoreProcesses,
  stateDir: string,
  use: (fs: FileSystem) => Promise<R>,
): Promise<R> {
  const life = await store.mount({ stateDir })
  try {
    return await use(life.fs)
  } finally {
    await life.close()
  }
}

/** The server's database, kept and put back while the server is down. */
class Databases {
  readonly #store: StoreProcesses
  readonly #dir: string

  constructor(store: StoreProcesses) {
    this.#store = store
    this.#dir = join(store.dir, 'databases')
    mkdirSync(this.#dir)
  }

  async keep(name: string): Promise<void> {
    await this.#store.metadata.stop('SIGTERM')
    cpSync(this.#live, join(this.#dir, name), { recursive: true })
    await this.#store.metadata.start()
  }

  /** Serves a kept one; the one before is kept as `as`. */
  async serve(name: string, as: string): Promise<void> {
    await this.#store.metadata.stop('SIGTERM')
    cpSync(this.#live, join(this.#dir, as), { recursive: true })
    rmSync(this.#live, { recursive: true })
    cpSync(join(this.#dir, name), this.#live, { recursive: true })
    await this.#store.metadata.start()
  }

  get #live(): string {
    return clusterPaths(directories.metadata(this.#store)).store
  }
}

/** A further device of the store's user, with a profile of its own. */
async function device(store: StoreProcesses, name: string): Promise<string> {
  const { addresses, caPem } = store.profile
  const account = { user: 'tester', password: 'a password of the test', deviceName: name }
  const profile = await loginAccount({ cluster: { addresses, caPem }, ...account })
  const dir = join(store.dir, name)
  await writeProfile(dir, profile)
  return dir
}

/** Changes records while the server is down. */
async function edited<R>(
  store: StoreProcesses,
  edit: (records: MetadataRecords) => Promise<R>,
): Promise<R> {
  const results: R[] = []
  await store.metadata.stop('SIGTERM')
  await MetadataRecords.edit(directories.metadata(store), async (records) => {
    results.push(await edit(records))
  })
  await store.metadata.start()
  const [result] = results
  if (result === undefined) throw new Error('an edit returns something')
  return result
}

const dfs = (dir: string, ...args: string[]): ReturnType<typeof runDfs> =>
  runDfs('dfs', [...args, '--profile', dir])

async function started(t: Test): Promise<{ store: StoreProcesses; databases: Databases }> {
  const store = await startStore(t, small)
  return { store, databases: new Databases(store) }
}

t.test('a database that was rolled back as a whole', async (t) => {
  const { store, databases } = await started(t)
  const laptop = await device(store, 'laptop')
  const desktop = await device(store, 'desktop')
  await mounted(store, laptop, async (fs) => write(fs, '/file', 'as it was'))
  await databases.keep('old')
  await mounted(store, laptop, async (fs) => write(fs, '/file', 'as it is'))
  t.match(dfs(desktop, 'ls'), { status: 0, stdout: 'file\n' })
  const living = await store.mount({ stateDir: desktop })
  t.teardown(async () => living.close())
  t.equal(await read(living.fs, '/file'), 'as it is')
  await databases.serve('old', 'new')

  await t.test('is refused by whoever has seen a newer one', async (t) => {
    t.match(dfs(laptop, 'ls'), { status: FAILURE, stderr: /older tree.*\[rolledBack\]/ })
    t.match(dfs(desktop, 'get', '/file', join(store.dir, 'out')), { status: FAILURE })
    const point = join(store.dir, 'point')
    mkdirSync(point)
    const mount = runDfs('dfs-mount', [point, '--foreground', '--profile', laptop])
    t.match(mount, { status: FAILURE, stderr: /dfs accept-rollback.*\[rolledBack\]/ })
    t.equal(await errnoOf(living.fs.stat('/file')), 'EIO', 'also by a mount that went on')
    t.equal(await errnoOf(read(living.fs, '/file')), 'EIO')
    const told = living.log.errors().filter(({ message }) => message.includes('older tree'))
    t.equal(told.length, 1, 'one line in its log says so')
  })

  await t.test('is accepted knowingly, on each device by itself', async (t) => {
    t.match(dfs(laptop, 'accept-rollback'), { status: 64, stderr: /--yes/ })
    t.match(dfs(laptop, 'ls'), { status: FAILURE })
    const accepted = dfs(laptop, 'accept-rollback', '--yes')
    t.match(accepted, {
      status: 0,
      stderr: /has seen: +state [2-9].*\n.*now: state 1.*\n[^]*accepted/,
    })
    await mounted(store, laptop, async (fs) => {
      t.equal(await read(fs, '/file'), 'as it was')
      await write(fs, '/file', 'after the backup')
    })
    t.match(dfs(desktop, 'ls'), { status: FAILURE, stderr: /rolledBack/ })
    t.match(dfs(desktop, 'accept-rollback', '--yes'), { status: 0 })
    t.match(dfs(desktop, 'accept-rollback', '--yes'), { status: 0, stderr: /nothing to accept/ })
    for (const dir of [desktop, laptop]) {
      await mounted(store, dir, async (fs) => t.equal(await read(fs, '/file'), 'after the backup'))
    }
    t.equal(readdirSync(laptop).filter((name) => name.startsWith('tree-')).length, 1)
  })

  await t.test('and what was given up is refused from then on', async (t) => {
    await databases.serve('new', 'accepted')
    for (const dir of [laptop, desktop]) {
      t.match(dfs(dir, 'ls'), { status: FAILURE, stderr: /rolledBack/ })
    }
  })
})

t.test('two databases for two devices', async (t) => {
  const { store, databases } = await started(t)
  const laptop = await device(store, 'laptop')
  const desktop = await device(store, 'desktop')
  await mounted(store, laptop, async (fs) => write(fs, '/file', 'common'))
  t.match(dfs(desktop, 'ls'), { status: 0 })
  await databases.keep('common')
  await mounted(store, laptop, async (fs) => write(fs, '/left', 'only the laptop sees it'))
  await databases.serve('common', 'left')
  await mounted(store, desktop, async (fs) => {
    t.same(
      (await fs.list('/')).map(({ name }) => name),
      ['file'],
      'the desktop cannot know',
    )
    for (const count of ['1', '2', '3']) await write(fs, `/right-${count}`, count)
  })
  t.match(dfs(laptop, 'ls'), { status: FAILURE, stderr: /rolledBack/ }, "shown the other's tree")
  await databases.serve('left', 'right')
  t.match(dfs(desktop, 'ls'), { status: FAILURE, stderr: /rolledBack/ }, "shown the other's tree")
  t.match(dfs(laptop, 'ls'), { status: 0, stdout: 'file\nleft\n' }, 'its own it goes on with')
})

t.test('single records from earlier beside the newest', async (t) => {
  const { store } = await started(t)
  const laptop = await device(store, 'laptop')
  const folders = ['/content', '/chunks', '/mode', '/removed', '/replaced', '/folder', '/fine']
  const inodes = new Map<string, number>()
  const numbers = async (fs: FileSystem): Promise<void> => {
    for (const path of folders) {
      inodes.set(path, (await fs.stat(path)).inode)
      inodes.set(`${path}/it`, (await fs.stat(`${path}/it`)).inode)
    }
  }
  await mounted(store, laptop, async (fs) => {
    for (const path of folders) {
      await fs.mkdir(path, 0o700, OWNER)
      await write(fs, `${path}/it`, 'as it was')
    }
    await write(fs, '/chunks/it', Buffer.alloc(limits.blockBytes, 'as it was'))
    await numbers(fs)
  })
  const at = (path: string): number => inodes.get(path) ?? 0
  const changed = [
    '/content/it',
    '/chunks/it',
    '/mode/it',
    '/removed/it',
    '/replaced/it',
    '/folder',
  ]
  const old = await edited(store, async (records) => {
    const found: { key: Buffer; value: Buffer }[] = []
    for (const path of changed) {
      const inode = at(path)
      const { key } = await records.dentryOf(inode)
      const { content } = await records.inode(inode)
      const kept = [key, keys.inode(inode)]
      if (path === '/chunks/it') kept.push(keys.window(content, 0))
      for (const one of kept) found.push({ key: one, value: await records.raw(one) })
    }
    return found
  })
  await mounted(store, laptop, async (fs) => {
    await write(fs, '/content/it', 'as it is')
    await write(fs, '/chunks/it', Buffer.alloc(limits.blockBytes, 'as it is'))
    await fs.chmod('/mode/it', 0o640)
    await fs.unlink('/removed/it')
    await write(fs, '/replaced/new', 'as it is')
    await fs.rename('/replaced/new', '/replaced/it')
    await fs.chmod('/folder', 0o750)
    await write(fs, '/fine/it', 'as it is')
  })
  await edited(store, async (records) => {
    for (const { key, value } of old) {
      // As it was stored, whatever table it is of.
      const table = { ...tables.marks, encode: () => value }
      await records.put(table, key, true)
    }
    return old
  })

  const anybody = await store.mount()
  t.teardown(async () => anybody.close())
  const { fs, log } = anybody
  for (const path of changed) {
    log.lines.length = 0
    t.equal(await errnoOf(fs.stat(path)), 'EIO', `${path} is refused`)
    const told = log.errors().filter(({ fields }) => JSON.stringify(fields).includes(path))
    t.ok(told.length > 0, 'and the log names it')
    if (path !== '/folder') t.equal(await errnoOf(fs.list(path.slice(0, -3))), 'EIO', 'also listed')
  }
  t.equal(await read(fs, '/fine/it'), 'as it is', 'all else works')
  await write(fs, '/fine/more', 'and can be changed')
  t.equal(await read(fs, '/fine/more'), 'and can be changed')
})

t.test('a version table that was lost', async (t) => {
  const { store } = await started(t)
  const laptop = await device(store, 'laptop')
  await mounted(store, laptop, async (fs) => write(fs, '/file', 'content'))
  const { userId } = await edited(store, async (records) => {
    const user = await records.user('tester')
    for (let level = 0; level < limits.treeLevels; level++) {
      await records.delete(keys.treePage(user.userId, pageOf(1, level)))
    }
    return user
  })
  t.ok(userId > 0)
  t.match(dfs(laptop, 'ls'), { status: FAILURE, stderr: /version table.*\[notAuthentic\]/ })
  t.match(dfs(laptop, 'accept-rollback', '--yes'), { status: 0, stderr: /nothing to accept/ })
  t.match(dfs(laptop, 'accept-rollback', '--yes', '--forget-versions'), { status: 0 })
  t.match(dfs(laptop, 'ls'), { status: 0, stdout: 'file\n' })
  await mounted(store, laptop, async (fs) => write(fs, '/file', 'changed'))
  await mounted(store, laptop, async (fs) => t.equal(await read(fs, '/file'), 'changed'))
})
