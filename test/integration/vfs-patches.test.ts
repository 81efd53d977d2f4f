/**
 * Small writes that are saved by themselves, on real servers: they go with the commit, lie over what
 * chunks hold, and become a chunk when they are many. Whatever is done to the file, the bytes are those
 * of a plain array, for this mount and for another one.
 */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import t, { type Test } from 'tap'
import type { FileSystem, Handle } from '../../mount/vfs/api.ts'
import { methods } from '../../schema/methods.ts'
import { limits } from '../../schema/wire/limits.ts'
import { startStore } from '../support/store-processes.ts'
import { readFile } from '../support/whole-files.ts'

const { O_APPEND, O_RDONLY, O_RDWR } = constants
const OWNER = { uid: 1_000, gid: 1_000 }
const WINDOW = limits.chunkBytesMax

t.setTimeout(240_000)
const store = await startStore(t, { chunkservers: 2, replicas: 2 })
const one = await store.mount()
const two = await store.mount()
t.teardown(async () => {
  await one.close()
  await two.close()
})

async function create(fs: FileSystem, path: string, bytes: Buffer): Promise<Handle> {
  const handle = await fs.create(path, 0o600, O_RDWR, OWNER)
  await fs.write(handle, bytes, 0)
  await fs.fsync(handle)
  return handle
}

async function sameFor(t: Test, path: string, model: Buffer, what: string): Promise<void> {
  t.ok(model.equals(await readFile(one.fs, path)), `${what}, for the writer`)
  t.ok(model.equals(await readFile(two.fs, path)), `${what}, for another mount`)
}

/** What the metadata server has of the first windows of a file. */
async function windowsOf(path: string) {
  const { inode } = await one.fs.stat(path)
  const { windows } = await one.client.session.read(methods.readWindows, {
    inode,
    first: 0,
    count: 2,
  })
  return windows
}

void t.test('a file of a few KiB is a patch, new or written anew', async (t) => {
  for (const size of [4_097, 10_000, 16_374]) {
    const model = randomBytes(size)
    await one.fs.release(await create(one.fs, `/new ${size}`, model))
    await sameFor(t, `/new ${size}`, model, `${size} bytes`)
    randomBytes(size).copy(model)
    const again = await one.fs.open(`/new ${size}`, O_RDWR | constants.O_TRUNC)
    await one.fs.write(again, model, 0)
    await one.fs.release(again)
    await sameFor(t, `/new ${size}`, model, `${size} bytes again`)
    const [window] = await windowsOf(`/new ${size}`)
    t.same(window?.extents, [], 'no chunk')
    const handle = await one.fs.open(`/new ${size}`, O_RDWR)
    await one.fs.write(handle, Buffer.alloc(8_000, 1), size)
    await one.fs.release(handle)
    await sameFor(t, `/new ${size}`, Buffer.concat([model, Buffer.alloc(8_000, 1)]), 'grown')
  }
  await one.fs.release(await create(one.fs, '/new', randomBytes(16_375)))
  t.equal((await windowsOf('/new'))[0]?.patch.length, 0, 'one byte more is a chunk')
})

void t.test('a log that is saved line by line is a few chunks and a patch', async (t) => {
  const lines: Buffer[] = []
  const handle = await one.fs.create('/log', 0o600, O_RDWR | O_APPEND, OWNER)
  for (let n = 0; n < 600; n++) {
    const line = Buffer.from(`line ${n} ${'x'.repeat(n % 150)}\n`)
    lines.push(line)
    await one.fs.write(handle, line, 0)
    await one.fs.fsync(handle)
    if (n % 97 === 0) await sameFor(t, '/log', Buffer.concat(lines), `after line ${n}`)
  }
  const model = Buffer.concat(lines)
  await sameFor(t, '/log', model, 'in the end')
  const [window] = await windowsOf('/log')
  t.ok((window?.patch.length ?? 0) > 0, 'the end of it is a patch')
  const chunks = new Set(window?.extents.map(({ chunk }) => chunk)).size
  t.ok(chunks > 1 && chunks < 20, `${chunks} chunks`)
  await one.fs.release(handle)
  t.equal((await two.fs.stat('/log')).size, model.length)
})

void t.test(
  'pages written over a file are read over it, before and after they are a chunk',
  async (t) => {
    const model = randomBytes(300_000)
    const handle = await create(one.fs, '/pages', model)
    for (let n = 0; n < 40; n++) {
      const at = ((n * 7_919) % 73) * 4_096
      const page = randomBytes(Math.min(n % 3 === 0 ? 4_096 : 100, model.length - at))
      page.copy(model, at)
      await one.fs.write(handle, page, at)
      await one.fs.fsync(handle)
      const into = Buffer.alloc(page.length + 20)
      await one.fs.read(handle, into, Math.max(0, at - 10))
      t.ok(model.subarray(Math.max(0, at - 10)).indexOf(into) === 0, `page ${n} in its place`)
    }
    await sameFor(t, '/pages', model, 'in the end')
    await one.fs.release(handle)
  },
)

void t.test(
  'a patch is cut, grown over, written over and dropped like everything else',
  async (t) => {
    let model = randomBytes(100_000)
    const handle = await create(one.fs, '/cut', model)
    const write = async (at: number, bytes: Buffer): Promise<void> => {
      const grown = Buffer.alloc(Math.max(model.length, at + bytes.length))
      model.copy(grown)
      bytes.copy(grown, at)
      model = grown
      await one.fs.write(handle, bytes, at)
      await one.fs.fsync(handle)
    }
    const resize = async (size: number): Promise<void> => {
      const cut = Buffer.alloc(size)
      model.copy(cut)
      model = cut
      await one.fs.truncateHandle(handle, size)
      await one.fs.fsync(handle)
    }
    await write(90_000, randomBytes(20_000).subarray(0, 3_000))
    await write(50_000, randomBytes(10))
    t.ok((await windowsOf('/cut'))[0]?.patch.length, 'there is one')
    await sameFor(t, '/cut', model, 'written')
    await resize(91_000)
    await sameFor(t, '/cut', model, 'cut in the middle of it')
    await resize(120_000)
    await sameFor(t, '/cut', model, 'grown again')
    await write(40_000, randomBytes(70_000))
    await sameFor(t, '/cut', model, 'written over')
    t.equal((await windowsOf('/cut'))[0]?.patch.length, 0, 'and nothing of it left')
    await write(10, randomBytes(10))
    await resize(5)
    await write(2, Buffer.from('ab'))
    await sameFor(t, '/cut', model, 'small again')
    await write(3_000, randomBytes(3_000))
    await sameFor(t, '/cut', model, 'and large')
    await resize(0)
    await sameFor(t, '/cut', model, 'and empty')
    t.equal((await two.fs.stat('/cut')).blocks, 0)
    await one.fs.release(handle)
  },
)

void t.test('runs on both sides of a window border, and in windows far apart', async (t) => {
  const handle = await create(one.fs, '/border', randomBytes(5_000))
  const at = WINDOW - 50
  const bytes = randomBytes(100)
  await one.fs.write(handle, bytes, at)
  await one.fs.write(handle, Buffer.from('far'), 9 * WINDOW + 7)
  await one.fs.fsync(handle)
  const windows = await windowsOf('/border')
  t.same(
    windows.map(({ index, patch }) => [index, patch.length > 0]),
    [
      [0, true],
      [1, true],
    ],
  )
  for (const { fs } of [one, two]) {
    const reader = await fs.open('/border', O_RDONLY)
    const into = Buffer.alloc(100)
    await fs.read(reader, into, at)
    t.ok(into.equals(bytes))
    await fs.read(reader, into.subarray(0, 3), 9 * WINDOW + 7)
    t.equal(into.toString('latin1', 0, 3), 'far')
    await fs.release(reader)
  }
  await one.fs.truncateHandle(handle, WINDOW + 10)
  await one.fs.fsync(handle)
  const end = (await readFile(two.fs, '/border')).subarray(at)
  t.ok(end.equals(bytes.subarray(0, 60)))
  await one.fs.release(handle)
})

void t.test('two mounts that write small pieces at once lose none of them', async (t) => {
  const model = randomBytes(50_000)
  const a = await create(one.fs, '/both', model)
  const b = await two.fs.open('/both', O_RDWR)
  const work = async (fs: FileSystem, handle: Handle, first: number): Promise<void> => {
    for (let n = first; n < 120; n += 2) {
      const bytes = Buffer.from(`piece ${n} ${'y'.repeat(n)}`)
      bytes.copy(model, n * 300)
      await fs.write(handle, bytes, n * 300)
      await fs.fsync(handle)
    }
  }
  await Promise.all([work(one.fs, a, 0), work(two.fs, b, 1)])
  await sameFor(t, '/both', model, 'all of them')
  await one.fs.release(a)
  await two.fs.release(b)
})

void t.test('a metadata server killed while lines are saved loses none of them', async (t) => {
  const lines: string[] = []
  const handle = await one.fs.create('/kept', 0o600, O_RDWR | O_APPEND, OWNER)
  for (let n = 0; n < 300; n++) {
    const line = `line ${n} ${'z'.repeat(90)}\n`
    await one.fs.write(handle, Buffer.from(line), 0)
    const saved = one.fs.fsync(handle)
    if (n % 60 === 59) {
      await store.metadata.stop('SIGKILL')
      await store.metadata.start()
    }
    await saved
    lines.push(line)
  }
  await one.fs.release(handle)
  await sameFor(t, '/kept', Buffer.from(lines.join('')), 'every line')
})

void t.test('nothing went wrong unseen', async (t) => {
  t.same([...one.log.errors(), ...two.log.errors()], [])
})
