/**
 * Files of very many windows, and windows of very many pieces, on real servers: what takes several
 * requests, or work in the background, and must not show.
 *
 * DFS_TEST_LONG=1 saves 10,000 pieces one by one instead of 1,300.
 */
import { constants } from 'node:fs'
import t from 'tap'
import { methods } from '../../schema/methods.ts'
import { limits } from '../../schema/wire/limits.ts'
import { startStore } from '../support/store-processes.ts'

const { O_RDONLY, O_RDWR } = constants
const OWNER = { uid: 1_000, gid: 1_000 }
const WINDOW = limits.chunkBytesMax
const long = process.env['DFS_TEST_LONG'] === '1'
const pieces = long ? 10_000 : 1_300

t.setTimeout(long ? 900_000 : 240_000)

void t.test('very many windows and pieces', async (t) => {
  const store = await startStore(t, { chunkservers: 1, replicas: 1 })
  const one = await store.mount()
  const two = await store.mount()
  t.teardown(async () => {
    await one.close()
    await two.close()
  })

  await t.test('a file of more windows than one commit may cut is cut', async (t) => {
    const windows = limits.windowsCutMax + 100
    const handle = await one.fs.create('/many', 0o600, O_RDWR, OWNER)
    const mark = Buffer.alloc(8)
    for (let window = 0; window < windows; window++) {
      mark.writeDoubleLE(window)
      await one.fs.write(handle, mark, window * WINDOW)
    }
    await one.fs.fsync(handle)
    t.equal((await two.fs.stat('/many')).size, (windows - 1) * WINDOW + 8)
    // In the middle of a window that holds data on both sides of the cut.
    await one.fs.truncateHandle(handle, WINDOW + 5)
    await one.fs.write(handle, Buffer.from('end'), 2 * WINDOW)
    await one.fs.fsync(handle)
    await one.fs.release(handle)
    const stat = await two.fs.stat('/many')
    t.equal(stat.size, 2 * WINDOW + 3)
    t.equal(stat.blocks, Math.ceil((8 + 5 + 3) / 512))
    const again = await two.fs.open('/many', O_RDONLY)
    const into = Buffer.alloc(8)
    t.equal(await two.fs.read(again, into, WINDOW), 8)
    mark.writeDoubleLE(1)
    t.same(into, Buffer.concat([mark.subarray(0, 5), Buffer.alloc(3)]))
    t.equal(await two.fs.read(again, into, 2 * WINDOW), 3)
    await two.fs.release(again)
    const { windows: left } = await two.client.session.read(methods.readWindows, {
      inode: stat.inode,
      first: 0,
      count: 64,
    })
    t.same(
      left.filter(({ extents }) => extents.length > 0).map(({ index }) => index),
      [0, 1, 2],
    )
  })

  await t.test(`${pieces} pieces, each saved by itself, leave few`, async (t) => {
    const bytes = 4_096
    const places = WINDOW / bytes
    const handle = await one.fs.create('/pieces', 0o600, O_RDWR, OWNER)
    const written = new Map<number, number>()
    let most = 0
    const { inode } = await one.fs.stat('/pieces')
    const request = { inode, first: 0, count: 1 }
    const extents = async (): Promise<number> => {
      const { windows } = await two.client.session.read(methods.readWindows, request)
      return windows[0]?.extents.length ?? 0
    }
    for (let n = 1; n <= pieces; n++) {
      // Every other place at most, so that no two pieces join.
      const place = 2 * ((n * 7_919) % (places / 2))
      await one.fs.write(handle, Buffer.alloc(bytes, n), place * bytes)
      await one.fs.fsync(handle)
      written.set(place, n)
      if (n % 100 === 0) most = Math.max(most, await extents())
    }
    t.ok(most > 900 && most <= limits.windowExtentsMax, `${most} extents at most`)
    let last = most
    for (let waited = 0; last > 1_024 && waited < 200; waited++) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      last = await extents()
    }
    t.ok(last <= 1_024, `${last} at the end`)
    const reader = await two.fs.open('/pieces', O_RDONLY)
    const into = Buffer.alloc(bytes)
    let wrong = 0
    for (const [place, n] of written) {
      await two.fs.read(reader, into, place * bytes)
      if (!into.equals(Buffer.alloc(bytes, n))) wrong++
      into.fill(0)
      await two.fs.read(reader, into, (place + 1) * bytes)
      if (into.some((byte) => byte !== 0)) wrong++
    }
    t.equal(wrong, 0)
    await two.fs.release(reader)
    await one.fs.release(handle)
  })

  await t.test('nothing went wrong unseen', (t) => {
    t.same([...one.log.errors(), ...two.log.errors()], [])
    t.end()
  })
})
