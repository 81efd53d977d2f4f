/**
 * What is kept of what was read: a file that is read here and there is soon in memory whole, if it fits; what
 * a sequential reader or writer had makes room while the kernel keeps it, and stays where it does not.
 */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import t from 'tap'
import type { Test } from 'tap'
import type { FileSystem, Handle } from '../../mount/vfs/api.ts'
import { limits } from '../../schema/wire/limits.ts'
import { startStore, type Mounted } from '../support/store-processes.ts'
import { until } from '../support/transport.ts'

const { O_RDWR, O_RDONLY } = constants
const OWNER = { uid: 1, gid: 1 }
const MIB = 1_048_576
const SIZE = 20 * MIB
const BLOCKS = SIZE / limits.blockBytes
const WAIT_MS = 30_000
/** Prime to the number of blocks, and far from a step of a sequential reader. */
const STRIDE = 117

t.setTimeout(120_000)
const store = await startStore(t)
const content = randomBytes(SIZE)
const writer = await store.mount()
const file = await writer.fs.create('/file', 0o644, O_RDWR, OWNER)
await writer.fs.write(file, content, 0)
await writer.fs.release(file)
await writer.close()

async function leased(t: Test, cacheBytes: number): Promise<Mounted> {
  const mounted = await store.mount({ cacheBytes })
  t.teardown(async () => mounted.close())
  const { lease } = mounted.client.session
  t.ok(await until(() => lease.term !== undefined, WAIT_MS), 'the lease was given')
  return mounted
}

/** Reads 4 KiB; whether that took asking the servers. */
async function asks(t: Test, fs: FileSystem, handle: Handle, position: number): Promise<boolean> {
  const into = Buffer.alloc(4_096)
  const outcome = fs.read(handle, into, position)
  await outcome
  if (!into.equals(content.subarray(position, position + 4_096))) t.fail(`bytes at ${position}`)
  return typeof outcome !== 'number'
}

/** How many blocks had to be asked for when one place of each is read in no order. */
async function asked(t: Test, cacheBytes: number): Promise<number> {
  const { fs } = await leased(t, cacheBytes)
  const handle = await fs.open('/file', O_RDONLY)
  let count = 0
  for (let step = 1; step <= BLOCKS; step++) {
    const block = (step * STRIDE) % BLOCKS
    if (await asks(t, fs, handle, block * limits.blockBytes + 8_192)) count++
  }
  await fs.release(handle)
  return count
}

async function readThrough(fs: FileSystem, handle: Handle): Promise<Buffer> {
  const all = Buffer.alloc(SIZE)
  for (let at = 0; at < SIZE; at += 131_072) {
    await fs.read(handle, all.subarray(at, at + 131_072), at)
  }
  return all
}

void t.test('a file that fits is soon in memory whole', async (t) => {
  const count = await asked(t, 64 * MIB)
  t.ok(count < BLOCKS / 2, `${count} of ${BLOCKS} blocks had to be asked for`)
})

void t.test('of a file that does not fit comes what is asked for', async (t) => {
  const count = await asked(t, SIZE)
  t.equal(count, BLOCKS)
})

void t.test(
  'a sequential reader leaves the cache to others while the kernel keeps it',
  async (t) => {
    const { fs } = await leased(t, 64 * MIB)
    const handle = await fs.open('/file', O_RDONLY)
    t.ok((await readThrough(fs, handle)).equals(content))
    t.ok(await asks(t, fs, handle, 4 * MIB))
    await fs.release(handle)
  },
)

void t.test('and a sequential writer, too; what was written is read back', async (t) => {
  const { fs } = await leased(t, 64 * MIB)
  const handle = await fs.create('/written', 0o644, O_RDWR, OWNER)
  for (let at = 0; at < SIZE; at += 131_072) {
    await fs.write(handle, content.subarray(at, at + 131_072), at)
  }
  t.ok((await readThrough(fs, handle)).equals(content), 'before it is saved')
  await fs.fsync(handle)
  t.ok(await asks(t, fs, handle, 4 * MIB))
  await fs.release(handle)
})

void t.test('while somebody else may change the tree, both stays', async (t) => {
  const { fs, client } = await leased(t, 64 * MIB)
  const other = await store.mount()
  await other.fs.mkdir('/other', 0o755, OWNER)
  t.ok(await until(() => client.session.lease.term === undefined, WAIT_MS), 'it was recalled')
  const handle = await fs.open('/file', O_RDONLY)
  t.ok((await readThrough(fs, handle)).equals(content))
  t.notOk(await asks(t, fs, handle, 4 * MIB))
  await fs.release(handle)
  await other.close()
})
