/**
 * Servers die by kill -9 while a mount writes and reads: nothing that was acknowledged is lost, and
 * what could not be saved is reported.
 */
import { createHash, randomBytes } from 'node:crypto'
import { closeSync, constants, openSync, readdirSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { DfsError } from '../../schema/wire/status.ts'
import { startStore, type LogLine } from '../support/store-processes.ts'
import { readFile, writeAll } from '../support/whole-files.ts'

const { O_RDONLY, O_RDWR, O_WRONLY } = constants
const OWNER = { uid: 1, gid: 1 }
const MIB = 1_048_576
/** Servers are started and killed many times; a busy machine takes its time for it. */
const TEST_MS = 240_000

const sum = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

/** A lost server is logged as a warning; an error would mean that data or trust was lost. */
const lost = (lines: readonly LogLine[]): string[] =>
  lines.map(({ message, fields }) => `${message} ${JSON.stringify(fields)}`)

t.setTimeout(TEST_MS)
const store = await startStore(t, { chunkservers: 3, replicas: 2 })

void t.test('a chunkserver that dies while a file is written goes unnoticed', async (t) => {
  const mount = await store.mount()
  const { fs, log } = mount
  const bytes = randomBytes(90 * MIB)
  const handle = await fs.create('/f', 0o644, O_RDWR, OWNER)
  const half = 40 * MIB
  await writeAll(fs, handle, bytes.subarray(0, half))
  await store.chunkservers[0]?.stop('SIGKILL')
  await writeAll(fs, handle, bytes.subarray(half), half)
  await fs.fsync(handle)
  await fs.release(handle)
  t.same(lost(log.errors()), [])

  const other = await store.mount()
  t.equal(sum(await readFile(other.fs, '/f')), sum(bytes), 'with one server down')
  await store.chunkservers[0]?.start()
  await other.close()
  await mount.close()
})

void t.test('with any one server down everything is read', async (t) => {
  const mount = await store.mount()
  const { fs } = mount
  const files = new Map<string, Buffer>()
  for (let index = 0; index < 12; index++) {
    const bytes = randomBytes(100_000 * (index + 1))
    files.set(`/f${index}`, bytes)
    const handle = await fs.create(`/f${index}`, 0o644, O_WRONLY, OWNER)
    await writeAll(fs, handle, bytes)
    await fs.release(handle)
  }
  await mount.close()
  for (const server of store.chunkservers) {
    await server.stop('SIGKILL')
    const reader = await store.mount()
    for (const [path, bytes] of files)
      t.equal(sum(await readFile(reader.fs, path)), sum(bytes), path)
    await reader.close()
    await server.start()
  }
})

void t.test('a metadata server killed again and again loses nothing acknowledged', async (t) => {
  const mount = await store.mount()
  const { fs, log } = mount
  const saved = new Map<string, Buffer>()
  const failures: unknown[] = []
  const done = new AbortController()
  const work = async (worker: number): Promise<void> => {
    for (let index = 0; !done.signal.aborted; index++) {
      const path = `/work/${worker}-${index}`
      const bytes = randomBytes(1 + ((worker * 7_919 + index * 4_001) % 200_000))
      const handle = await fs.create(path, 0o644, O_RDWR, OWNER)
      await writeAll(fs, handle, bytes)
      await fs.fsync(handle)
      await fs.release(handle)
      saved.set(path, bytes)
      if (index % 3 === 2) {
        await fs.rename(path, `${path}-moved`)
        saved.delete(path)
        saved.set(`${path}-moved`, bytes)
      }
    }
  }
  await fs.mkdir('/work', 0o755, OWNER)
  const workers = [0, 1, 2, 3].map(async (worker) =>
    work(worker).catch((e: unknown) => failures.push(e)),
  )
  for (let kill = 0; kill < 3; kill++) {
    // Long enough for a request that the last kill interrupted to get through on a busy machine.
    await sleep(2_000)
    await store.metadata.stop('SIGKILL')
    await store.metadata.start()
  }
  await sleep(500)
  done.abort()
  await Promise.all(workers)
  t.same(failures.map(String), [], 'no operation failed')
  t.same(lost(log.errors()), [])
  await mount.close()

  const reader = await store.mount()
  const listed = await reader.fs.list('/work')
  t.same(listed.map(({ name }) => `/work/${name}`).sort(), [...saved.keys()].sort())
  for (const [path, bytes] of saved) {
    if (sum(await readFile(reader.fs, path)) !== sum(bytes)) t.fail(`${path} differs`)
  }
  t.ok(saved.size > 10, `${saved.size} files`)
  await reader.close()
})

void t.test(
  'a damaged replica is passed over; when all are, the read fails and says why',
  async (t) => {
    const mount = await store.mount()
    const { fs, log } = mount
    const bytes = randomBytes(2 * MIB)
    /** Writes a file; where the two replicas of its chunk are. */
    const written = async (path: string): Promise<string[]> => {
      const before = new Set(chunkFiles())
      const handle = await fs.create(path, 0o644, O_WRONLY, OWNER)
      await writeAll(fs, handle, bytes)
      await fs.release(handle)
      const replicas = chunkFiles().filter((file) => !before.has(file))
      t.equal(replicas.length, 2, 'two replicas')
      return replicas
    }
    const [one = ''] = await written('/passed over')
    // Another file: a replica of the first one, once reported, is repaired from the other.
    const all = await written('/damaged')
    damage(one, MIB / 2)
    const reader = await store.mount()
    t.equal(sum(await readFile(reader.fs, '/passed over')), sum(bytes))
    await reader.close()

    for (const replica of all) damage(replica, MIB / 2)
    const last = await store.mount()
    const open = await last.fs.open('/damaged', O_RDONLY)
    const around = Buffer.alloc(200_000)
    const reading = Promise.resolve(last.fs.read(open, around, MIB / 2 - 100_000))
    const failure = await reading.catch((e: unknown) => e)
    t.match(failure, { errno: 'EIO' })
    t.match(
      last.log.errors().find(({ message }) => message === 'file content cannot be read'),
      { fields: { path: '/damaged', chunks: [Number] } },
    )
    t.equal((await readFile(last.fs, '/f0')).length, 100_000, 'other files are read')
    await last.fs.release(open)
    await last.close()
    t.same(lost(log.errors()), [])
    await mount.close()
  },
)

/** Chunks of all servers that are files of their own. */
function chunkFiles(): string[] {
  return store.chunkservers.flatMap((_, index) => {
    const directory = store.chunkDirectory(index)
    return readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
  })
}

function damage(path: string, position: number): void {
  const file = openSync(path, 'r+')
  writeSync(file, Buffer.from('rot'), 0, 3, position)
  closeSync(file)
}

void t.test('when no server takes data, fsync says so once, and the file goes on', async (t) => {
  const mount = await store.mount()
  const { fs } = mount
  const handle = await fs.create('/last', 0o644, O_RDWR, OWNER)
  await writeAll(fs, handle, Buffer.alloc(MIB, 1))
  await fs.fsync(handle)
  const second = await fs.open('/last', O_RDWR)
  await Promise.all(store.chunkservers.map(async (server) => server.stop('SIGKILL')))
  await fs.write(handle, Buffer.alloc(200_000, 2), 0)
  const started = Date.now()
  await t.rejects(fs.fsync(handle), DfsError)
  t.ok(Date.now() - started < 120_000, 'in bounded time')
  await Promise.all(store.chunkservers.map(async (server) => server.start()))
  let saved = false
  for (let attempt = 0; attempt < 20 && !saved; attempt++) {
    await fs.write(handle, Buffer.alloc(200_000, 3), 0)
    saved = await fs.fsync(handle).then(
      () => true,
      () => false,
    )
    if (!saved) await sleep(500)
  }
  t.ok(saved, 'once the servers are back, saving works again')
  await t.rejects(fs.fsync(second), DfsError, 'the other handle is told of the failure, too')
  await fs.fsync(second)
  await fs.release(second)
  await fs.release(handle)
  const whole = await readFile(fs, '/last')
  t.ok(whole.subarray(0, 200_000).every((byte) => byte === 3))
  t.ok(
    whole.subarray(200_000).every((byte) => byte === 1),
    'the rest is intact',
  )
  await mount.close()
})

void t.test('closing ends within seconds when every server is gone', async (t) => {
  const mount = await store.mount()
  const { fs, log } = mount
  const handle = await fs.create('/unsaved', 0o644, O_RDWR, OWNER)
  await writeAll(fs, handle, Buffer.alloc(MIB, 5))
  await Promise.all(store.chunkservers.map(async (server) => server.stop('SIGKILL')))
  await store.metadata.stop('SIGKILL')
  const started = Date.now()
  await fs.close()
  t.ok(Date.now() - started < 30_000, `${Date.now() - started} ms`)
  const path = { path: '/unsaved' }
  t.ok(log.errors().some(({ message, fields }) => /it is lost/.test(message) && 'path' in fields))
  t.match(log.errors().at(-1)?.fields, path)
  await mount.client.close()
})
