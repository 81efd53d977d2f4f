/**
 * Many things at once on one file: what one part of a program writes, it reads, whatever the others
 * do and whenever the file is saved; and in the end nothing is missing.
 */
import { constants } from 'node:fs'
import t from 'tap'
import type { FileSystem, Handle } from '../../mount/vfs/api.ts'
import { startStore } from '../support/store-processes.ts'

const { O_RDWR, O_RDONLY, O_WRONLY, O_APPEND } = constants
const OWNER = { uid: 1, gid: 1 }
const MIB = 1_048_576
const WORKERS = 6
const STEPS = 120
/** Each worker's part of the file; the fourth one lies across the border of two windows. */
const PART = 17 * MIB

t.setTimeout(240_000)
const store = await startStore(t)

/** Bytes that tell who wrote them and when. */
function stamped(worker: number, step: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at < length; at++)
    bytes[at] = (worker * 37 + step * 11 + at * 3 + (at >> 7)) & 0xff
  return bytes
}

/** Deterministic, and different for each worker and step. */
function pick(worker: number, step: number, salt: number, below: number): number {
  const x = Math.imul(worker * 7_919 + step * 104_729 + salt * 1_299_709 + 1, 2_654_435_761) >>> 0
  return x % below
}

async function work(fs: FileSystem, handle: Handle, worker: number, model: Buffer): Promise<void> {
  const start = worker * PART
  for (let step = 0; step < STEPS; step++) {
    const roll = pick(worker, step, 1, 10)
    const lengthMax = roll === 0 ? 900_000 : roll < 4 ? 70_000 : 3_000
    const length = 1 + pick(worker, step, 2, lengthMax)
    const at = pick(worker, step, 3, model.length - length)
    if (roll < 6) {
      const bytes = stamped(worker, step, length)
      bytes.copy(model, at)
      for (let offset = 0; offset < length; offset += 131_072) {
        await fs.write(handle, bytes.subarray(offset, offset + 131_072), start + at + offset)
      }
    } else if (roll < 9) {
      const into = Buffer.alloc(length, 0xee)
      const count = await fs.read(handle, into, start + at)
      const expected = model.subarray(at, at + count)
      if (!into.subarray(0, count).equals(expected)) {
        const bad = into.findIndex((byte, index) => byte !== expected[index])
        throw new Error(`worker ${worker}, step ${step}: byte ${start + at + bad} is wrong`)
      }
    } else {
      await fs.fsync(handle)
    }
  }
}

for (const cacheBytes of [256 * MIB, 300_000]) {
  void t.test(`parts of one file by many hands, with a cache of ${cacheBytes} bytes`, async (t) => {
    const mount = await store.mount({ cacheBytes })
    const { fs } = mount
    const path = `/parts-${cacheBytes}`
    const first = await fs.create(path, 0o644, O_RDWR, OWNER)
    await fs.truncateHandle(first, WORKERS * PART)
    const models = Array.from({ length: WORKERS }, () => Buffer.alloc(PART))
    const handles = await Promise.all(models.map(async () => fs.open(path, O_RDWR)))
    await Promise.all(
      models.map(async (model, worker) => work(fs, handles[worker] ?? first, worker, model)),
    )
    for (const handle of [...handles, first]) await fs.release(handle)
    t.same(mount.log.errors(), [])
    await mount.close()

    const other = await store.mount()
    const handle = await other.fs.open(path, O_RDONLY)
    const into = Buffer.alloc(MIB)
    for (const [worker, model] of models.entries()) {
      for (let at = 0; at < PART; at += MIB) {
        await other.fs.read(handle, into, worker * PART + at)
        if (!into.equals(model.subarray(at, at + MIB))) t.fail(`part ${worker} differs at ${at}`)
      }
    }
    await other.fs.release(handle)
    await other.close()
  })
}

void t.test('appending through many handles keeps every record whole', async (t) => {
  const mount = await store.mount()
  const { fs } = mount
  await fs.release(await fs.create('/log', 0o644, O_RDWR, OWNER))
  const writers = Array.from({ length: 8 }, (_, writer) => writer)
  await Promise.all(
    writers.map(async (writer) => {
      const handle = await fs.open('/log', O_WRONLY | O_APPEND)
      for (let line = 0; line < 200; line++) {
        await fs.write(handle, Buffer.from(`writer ${writer} line ${line}\n`), 0)
        if (line % 67 === writer) await fs.fsync(handle)
      }
      await fs.release(handle)
    }),
  )
  const handle = await fs.open('/log', O_RDONLY)
  const { size } = await fs.statHandle(handle)
  const whole = Buffer.alloc(size)
  t.equal(await fs.read(handle, whole, 0), size)
  const lines = whole.toString().trimEnd().split('\n')
  t.equal(new Set(lines).size, 1_600)
  t.equal(lines.length, 1_600)
  t.ok(lines.every((line) => /^writer \d line \d+$/.test(line)))
  await fs.release(handle)
  await mount.close()
})

void t.test('names made at once by two mounts are all there, and only once', async (t) => {
  const mounts = await Promise.all([store.mount(), store.mount()])
  const [one, two] = mounts
  await one.fs.mkdir('/race', 0o755, OWNER)
  const outcomes = await Promise.allSettled(
    Array.from({ length: 200 }, async (_, index) => {
      const { fs } = index % 2 === 0 ? one : two
      await fs.mkdir(`/race/${Math.floor(index / 2)}`, 0o755, OWNER)
    }),
  )
  t.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 100)
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') t.match(outcome.reason, { code: 'exists' })
  }
  t.equal((await two.fs.list('/race')).length, 100)
  t.equal((await one.fs.stat('/race')).nlink, 102)
  for (const mount of mounts) await mount.close()
})
