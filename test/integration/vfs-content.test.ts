/**
 * Files through the file system library against real servers: what is written is read, by the same
 * mount at once, by another after close.
 */
import { createHash, randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import t from 'tap'
import type { FileSystem, Handle } from '../../mount/vfs/api.ts'
import { methods } from '../../schema/methods.ts'
import { limits } from '../../schema/wire/limits.ts'
import { startStore } from '../support/store-processes.ts'
import { readFile, writeAll } from '../support/whole-files.ts'

const { O_RDONLY, O_RDWR, O_WRONLY, O_TRUNC, O_APPEND, O_EXCL } = constants
const OWNER = { uid: 1_000, gid: 1_000 }
const MIB = 1_048_576

async function put(fs: FileSystem, path: string, bytes: Buffer): Promise<void> {
  const handle = await fs.create(path, 0o644, O_WRONLY | O_TRUNC, OWNER)
  await writeAll(fs, handle, bytes)
  await fs.flush(handle)
  await fs.release(handle)
}

async function read(fs: FileSystem, handle: Handle, at: number, length: number): Promise<Buffer> {
  const into = Buffer.alloc(length, 0xee)
  return into.subarray(0, await fs.read(handle, into, at))
}

const sum = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

/** A busy machine takes its time to start four processes. */
t.setTimeout(240_000)

void t.test('files', async (t) => {
  const store = await startStore(t)
  const one = await store.mount()
  const two = await store.mount()
  t.teardown(async () => {
    await one.close()
    await two.close()
  })

  for (const size of [0, 1, 4_096, 4_097, 65_536, 65_537, 500_000, 3 * MIB + 17]) {
    await t.test(`${size} bytes come back, here and in another mount`, async (t) => {
      const bytes = randomBytes(size)
      const path = `/size-${size}`
      await put(one.fs, path, bytes)
      t.equal((await two.fs.stat(path)).size, size)
      t.equal(sum(await readFile(one.fs, path)), sum(bytes))
      t.equal(sum(await readFile(two.fs, path)), sum(bytes))
    })
  }

  await t.test('a file of several windows is one chunk per window', async (t) => {
    const bytes = randomBytes(70 * MIB + 5)
    await put(one.fs, '/large', bytes)
    t.equal(sum(await readFile(two.fs, '/large')), sum(bytes))
    const { blocks } = await two.fs.stat('/large')
    t.equal(blocks, Math.ceil(bytes.length / 512))
    const handle = await two.fs.open('/large', O_RDONLY)
    for (const at of [0, 64 * MIB - 3, 64 * MIB, 70 * MIB]) {
      t.ok((await read(two.fs, handle, at, 100)).equals(bytes.subarray(at, at + 100)), `at ${at}`)
    }
    t.equal((await read(two.fs, handle, bytes.length - 2, 100)).length, 2)
    t.equal((await read(two.fs, handle, bytes.length, 100)).length, 0)
    await two.fs.release(handle)
  })

  await t.test('a write is read at once through any handle of the mount', async (t) => {
    const writer = await one.fs.create('/shared', 0o644, O_RDWR, OWNER)
    const reader = await one.fs.open('/shared', O_RDONLY)
    const bytes = randomBytes(2 * MIB)
    for (let at = 0; at < bytes.length; at += 100_000) {
      const piece = bytes.subarray(at, at + 100_000)
      await one.fs.write(writer, piece, at)
      t.ok((await read(one.fs, reader, at, piece.length)).equals(piece))
      t.ok((await read(one.fs, reader, 0, 1_000)).equals(bytes.subarray(0, 1_000)))
    }
    t.equal((await one.fs.stat('/shared')).size, bytes.length, 'also by name')
    t.equal((await two.fs.stat('/shared')).size, 0, 'elsewhere only after a flush')
    await one.fs.fsync(writer)
    t.equal((await two.fs.stat('/shared')).size, bytes.length)
    await one.fs.release(writer)
    await one.fs.release(reader)
  })

  await t.test('overwriting, holes and appends', async (t) => {
    const handle = await one.fs.create('/sparse', 0o600, O_RDWR, OWNER)
    await one.fs.write(handle, Buffer.from('end'), 200 * MIB)
    await one.fs.write(handle, Buffer.from('in the first block'), 10)
    await one.fs.fsync(handle)
    await one.fs.write(handle, Buffer.from('IN'), 10)
    await one.fs.write(handle, Buffer.from('middle'), 64 * MIB - 3)
    await one.fs.flush(handle)
    t.equal(
      (await read(two.fs, await two.fs.open('/sparse', O_RDONLY), 8, 22)).toString('latin1'),
      '\0\0IN the first block\0\0',
    )
    const other = await two.fs.open('/sparse', O_RDONLY)
    t.equal((await read(two.fs, other, 64 * MIB - 4, 8)).toString('latin1'), '\0middle\0')
    t.equal((await read(two.fs, other, 200 * MIB - 1, 9)).toString('latin1'), '\0end')
    t.ok((await two.fs.stat('/sparse')).blocks < 100, 'holes take no space')
    await two.fs.release(other)
    await one.fs.release(handle)

    const log = await one.fs.open('/sparse', O_WRONLY | O_APPEND)
    await one.fs.write(log, Buffer.from(' of'), 0)
    await one.fs.write(log, Buffer.from(' file'), 0)
    await one.fs.release(log)
    const whole = await two.fs.open('/sparse', O_RDONLY)
    t.equal((await read(two.fs, whole, 200 * MIB, 99)).toString(), 'end of file')
    await two.fs.release(whole)
  })

  await t.test('a sparse file of terabytes is written, read and cut', async (t) => {
    const TIB = 1_048_576 * MIB
    const handle = await one.fs.create('/huge', 0o600, O_RDWR, OWNER)
    const places = [0, 5 * 1_024 * MIB - 3, TIB, 15 * TIB]
    for (const at of places) await one.fs.write(handle, Buffer.from(`at ${at}`), at)
    await one.fs.fsync(handle)
    await one.fs.write(handle, Buffer.from('AT'), TIB)
    await one.fs.release(handle)
    const other = await two.fs.open('/huge', O_RDWR)
    t.equal((await two.fs.statHandle(other)).size, 15 * TIB + `at ${15 * TIB}`.length)
    t.equal((await read(two.fs, other, TIB, 7)).toString(), 'AT 1099')
    t.equal((await read(two.fs, other, 5 * 1_024 * MIB - 3, 7)).toString(), 'at 5368')
    t.ok((await read(two.fs, other, 3 * TIB, 1_000)).equals(Buffer.alloc(1_000)))
    await two.fs.truncateHandle(other, TIB + 1)
    await two.fs.release(other)
    t.match(await one.fs.stat('/huge'), { size: TIB + 1 })
    const again = await one.fs.open('/huge', O_RDONLY)
    t.equal((await read(one.fs, again, TIB - 1, 7)).toString('latin1'), '\0A')
    await one.fs.release(again)
  })

  await t.test('truncation cuts, and what grows again is zeros', async (t) => {
    const bytes = randomBytes(300_000)
    await put(one.fs, '/cut', bytes)
    await one.fs.truncate('/cut', 100_000)
    await one.fs.truncate('/cut', 100_010)
    const expected = Buffer.concat([bytes.subarray(0, 100_000), Buffer.alloc(10)])
    t.ok((await readFile(two.fs, '/cut')).equals(expected))
    await one.fs.truncate('/cut', 5)
    t.ok((await readFile(two.fs, '/cut')).equals(bytes.subarray(0, 5)))
    const handle = await one.fs.open('/cut', O_WRONLY | O_TRUNC)
    await one.fs.write(handle, Buffer.from('new'), 0)
    await one.fs.release(handle)
    t.equal((await readFile(two.fs, '/cut')).toString(), 'new')
    t.equal((await two.fs.stat('/cut')).size, 3)
  })

  await t.test('a small file grows out of its inode and back', async (t) => {
    const path = '/grows'
    await put(one.fs, path, Buffer.from('small'))
    const handle = await one.fs.open(path, O_RDWR)
    await one.fs.write(handle, Buffer.alloc(9_000, 7), 1_000)
    await one.fs.fsync(handle)
    let whole = await readFile(two.fs, path)
    t.equal(whole.length, 10_000)
    t.equal(whole.subarray(0, 6).toString('latin1'), 'small\0')
    await one.fs.truncateHandle(handle, 3)
    await one.fs.fsync(handle)
    t.equal((await readFile(two.fs, path)).toString(), 'sma')
    await one.fs.truncateHandle(handle, 0)
    await one.fs.write(handle, Buffer.from('tiny'), 0)
    await one.fs.release(handle)
    whole = await readFile(two.fs, path)
    t.equal(whole.toString(), 'tiny')
  })

  await t.test('an unlinked or replaced file lives on in its handles', async (t) => {
    const bytes = randomBytes(200_000)
    await put(one.fs, '/gone', bytes)
    const here = await one.fs.open('/gone', O_RDWR)
    const there = await two.fs.open('/gone', O_RDONLY)
    await one.fs.unlink('/gone')
    await t.rejects(one.fs.stat('/gone'), { code: 'notFound' })
    t.equal((await one.fs.statHandle(here)).nlink, 0)
    t.ok((await read(two.fs, there, 0, 200_000)).equals(bytes), 'also in the other mount')
    await one.fs.write(here, Buffer.from('still here'), 0)
    await one.fs.fsync(here)
    t.equal((await read(one.fs, here, 0, 10)).toString(), 'still here')
    await one.fs.release(here)
    await two.fs.release(there)

    await put(one.fs, '/old', Buffer.from('old'))
    await put(one.fs, '/new', Buffer.from('new'))
    const old = await one.fs.open('/old', O_RDONLY)
    await one.fs.rename('/new', '/old')
    t.equal((await read(one.fs, old, 0, 9)).toString(), 'old')
    t.equal((await readFile(two.fs, '/old')).toString(), 'new')
    await one.fs.release(old)
  })

  await t.test('many scattered small writes travel as one chunk', async (t) => {
    const size = 8 * MIB
    const model = Buffer.alloc(size)
    const handle = await one.fs.create('/scattered', 0o644, O_RDWR, OWNER)
    await one.fs.truncateHandle(handle, size)
    for (let index = 0; index < 500; index++) {
      const at = (index * 7_919 * 1_009) % (size - 500)
      const bytes = randomBytes(1 + (index % 499))
      bytes.copy(model, at)
      await one.fs.write(handle, bytes, at)
    }
    await one.fs.fsync(handle)
    const { inode } = await one.fs.stat('/scattered')
    const request = { inode, first: 0, count: 1 }
    const { windows, chunks } = await one.client.session.read(methods.readWindows, request)
    t.ok((windows[0]?.extents.length ?? 0) > 400, 'in many places')
    t.equal(chunks.length, 1)
    await one.fs.release(handle)
    t.equal(sum(await readFile(two.fs, '/scattered')), sum(model))
  })

  await t.test('one save of hundreds of windows', async (t) => {
    const count = 400
    const handle = await one.fs.create('/windows', 0o644, O_RDWR, OWNER)
    for (const round of [1, 2]) {
      for (let index = 0; index < count; index++) {
        await one.fs.write(handle, Buffer.from(`${round}-${index}`), index * 64 * MIB + round * 100)
      }
      await one.fs.fsync(handle)
    }
    await one.fs.truncateHandle(handle, 300 * 64 * MIB + 102)
    await one.fs.write(handle, Buffer.from('begin'), 0)
    await one.fs.write(handle, Buffer.from('end'), 399 * 64 * MIB)
    await one.fs.release(handle)
    const other = await two.fs.open('/windows', O_RDONLY)
    t.equal((await read(two.fs, other, 0, 5)).toString(), 'begin')
    for (let index = 0; index < 300; index += 13) {
      const at = index * 64 * MIB
      t.equal((await read(two.fs, other, at + 100, 3)).toString(), `1-${index}`.slice(0, 3))
      t.equal((await read(two.fs, other, at + 200, 3)).toString(), `2-${index}`.slice(0, 3))
    }
    t.equal((await read(two.fs, other, 300 * 64 * MIB + 100, 4)).toString('latin1'), '1-\0\0')
    t.equal((await read(two.fs, other, 350 * 64 * MIB + 100, 3)).toString('latin1'), '\0\0\0')
    t.equal((await read(two.fs, other, 399 * 64 * MIB, 9)).toString(), 'end')
    await two.fs.release(other)
  })

  await t.test('a file of too many pieces is rewritten in the background', async (t) => {
    const path = '/pieces'
    const model = randomBytes(4 * MIB)
    await put(one.fs, path, model)
    const handle = await one.fs.open(path, O_RDWR)
    for (let index = 0; index < 1_100; index++) {
      const at = index * 3_001
      model[at] = index & 0xff
      await one.fs.write(handle, model.subarray(at, at + 1), at)
    }
    await one.fs.fsync(handle)
    const { inode } = await one.fs.stat(path)
    const request = { inode, first: 0, count: 1 }
    let extents = Infinity
    for (let waited = 0; extents > 300 && waited < 100; waited++) {
      const { windows } = await one.client.session.read(methods.readWindows, request)
      extents = windows[0]?.extents.length ?? 0
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    t.ok(extents <= 256, `${extents} extents`)
    t.equal(sum(await readFile(two.fs, path)), sum(model))
    t.equal((await read(one.fs, handle, 0, 100)).compare(model.subarray(0, 100)), 0)
    await one.fs.release(handle)
  })

  await t.test('more pieces than a window can hold are saved nevertheless', async (t) => {
    const model = Buffer.alloc(8 * MIB)
    const handle = await one.fs.create('/more-pieces', 0o644, O_RDWR, OWNER)
    for (let index = 0; index < 20_000; index++) {
      const at = index * 401
      model.writeUInt32LE(index, at)
      await one.fs.write(handle, model.subarray(at, at + 4), at)
    }
    const size = 19_999 * 401 + 4
    await one.fs.release(handle)
    t.equal(sum(await readFile(two.fs, '/more-pieces')), sum(model.subarray(0, size)))
  })

  await t.test('a time that was set stays, although data is saved after it', async (t) => {
    const handle = await one.fs.create('/times', 0o644, O_RDWR, OWNER)
    await one.fs.write(handle, Buffer.alloc(10_000), 0)
    await one.fs.utimens('/times', 1_000_000_001n, 2_000_000_002n)
    await one.fs.chmod('/times', 0o600)
    await one.fs.release(handle)
    t.match(await two.fs.stat('/times'), {
      atime: 1_000_000_001n,
      mtime: 2_000_000_002n,
      mode: 0o100600,
      size: 10_000,
    })
    await two.fs.chown('/times', -1, 77)
    t.match(await one.fs.stat('/times'), { uid: 1_000, gid: 77 })
  })

  await t.test('two mounts that write one file in turns, each after the other', async (t) => {
    const a = await one.fs.create('/turns', 0o644, O_RDWR, OWNER)
    const b = await two.fs.open('/turns', O_RDWR)
    const model = Buffer.alloc(20 * 10_000)
    for (let turn = 0; turn < 20; turn++) {
      const [fs, handle] = turn % 2 === 0 ? [one.fs, a] : [two.fs, b]
      const bytes = Buffer.alloc(10_000, turn + 1)
      bytes.copy(model, turn * 10_000)
      await fs.write(handle, bytes, turn * 10_000)
      await fs.fsync(handle)
    }
    await one.fs.release(a)
    await two.fs.release(b)
    t.equal(sum(await readFile(one.fs, '/turns')), sum(model))
    t.equal(sum(await readFile(two.fs, '/turns')), sum(model))
  })

  await t.test('what is not allowed is refused', async (t) => {
    await put(one.fs, '/file', Buffer.from('x'))
    await one.fs.mkdir('/dir', 0o755, OWNER)
    await one.fs.symlink('/file', '/sym', OWNER)
    t.equal(await two.fs.readlink('/sym'), '/file')
    await t.rejects(one.fs.create('/file', 0o644, O_WRONLY | O_EXCL, OWNER), { code: 'exists' })
    await t.rejects(one.fs.open('/dir', O_RDONLY), { code: 'isDirectory' })
    await t.rejects(one.fs.open('/nothing', O_RDONLY), { code: 'notFound' })
    await t.rejects(one.fs.stat('/file/below'), { code: 'notDirectory' })
    await t.rejects(one.fs.unlink('/dir'), { code: 'isDirectory' })
    await t.rejects(one.fs.rmdir('/file'), { code: 'notDirectory' })
    await t.rejects(one.fs.link('/dir', '/dir2'), { code: 'notPermitted' })
    await t.rejects(one.fs.rename('/dir', '/dir/below'), { code: 'wouldLoop' })
    await t.rejects(one.fs.readlink('/file'), { code: 'invalidArgument' })
    await one.fs.create('/dir/f', 0o644, O_WRONLY, OWNER)
    await t.rejects(one.fs.rmdir('/dir'), { code: 'notEmpty' })
    const reader = await one.fs.open('/file', O_RDONLY)
    t.throws(() => one.fs.write(reader, Buffer.from('x'), 0), { code: 'badHandle' })
    const writer = await one.fs.open('/file', O_WRONLY)
    t.throws(() => one.fs.write(writer, Buffer.from('x'), limits.fileBytesMax), {
      code: 'fileTooLarge',
    })
    await one.fs.release(writer)
    t.throws(() => one.fs.write(writer, Buffer.from('x'), 0), { code: 'badHandle' })
  })

  await t.test('a read-only file system refuses every change', async (t) => {
    const mounted = await store.mount({ readOnly: true })
    const { fs } = mounted
    await t.rejects(fs.open('/file', O_WRONLY), { code: 'readOnly' })
    await t.rejects(fs.mkdir('/d2', 0o755, OWNER), { code: 'readOnly' })
    await t.rejects(fs.unlink('/file'), { code: 'readOnly' })
    await t.rejects(fs.chmod('/file', 0o600), { code: 'readOnly' })
    t.equal((await readFile(fs, '/file')).toString(), 'x')
    await mounted.close()
  })

  await t.test('a directory of many entries is listed whole, with attributes', async (t) => {
    await one.fs.mkdir('/many', 0o755, OWNER)
    const names = Array.from({ length: 1_300 }, (_, index) => `entry ${index} ünïcode`)
    for (let at = 0; at < names.length; at += 50) {
      const batch = names.slice(at, at + 50)
      await Promise.all(batch.map(async (name) => one.fs.symlink('x', `/many/${name}`, OWNER)))
    }
    const listed = await two.fs.list('/many')
    t.same(listed.map(({ name }) => name).sort(), [...names].sort())
    t.ok(listed.every(({ stat }) => stat.size === 1))
  })

  await t.test('nothing went wrong unseen', async (t) => {
    t.same(one.log.errors(), [])
    t.same(two.log.errors(), [])
  })
})
