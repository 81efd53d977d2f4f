/**
 * Replicas that are lost come back: real processes, four chunkservers in two racks, disks that are
 * wiped and damaged, kill -9 in the middle.
 */
import { randomBytes } from 'node:crypto'
import { constants, openSync, readdirSync, readSync, rmSync, writeSync, closeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { FileSystem } from '../../mount/vfs/api.ts'
import type { ClusterStatusResponse } from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'
import { command, startStore, type StoreProcesses } from '../support/store-processes.ts'
import { readFile, writeAll } from '../support/whole-files.ts'

const { O_RDWR } = constants
const OWNER = { uid: 1, gid: 1 }
const MIB = 1_048_576
const TEST_MS = 240_000
const REPAIRED_MS = 60_000

t.setTimeout(TEST_MS)

async function put(fs: FileSystem, path: string, bytes: Buffer): Promise<void> {
  const handle = await fs.create(path, 0o644, O_RDWR, OWNER)
  await writeAll(fs, handle, bytes)
  await fs.fsync(handle)
  await fs.release(handle)
}

/** Asks for the status, on a session of its own, until it is as wanted. */
async function until(
  store: StoreProcesses,
  wanted: (status: ClusterStatusResponse) => boolean,
  limitMs = REPAIRED_MS,
): Promise<ClusterStatusResponse> {
  const mount = await store.mount()
  const { client } = mount
  try {
    const end = Date.now() + limitMs
    for (;;) {
      const status = await client.session.read(methods.clusterStatus, {})
      if (wanted(status)) return status
      if (Date.now() > end) {
        throw new Error(`the cluster is not as it should be: ${inspect(status)}`)
      }
      await sleep(100)
    }
  } finally {
    await mount.close()
  }
}

const inspect = (status: ClusterStatusResponse): string =>
  JSON.stringify(status, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))

const whole = ({ underReplicated, copying }: ClusterStatusResponse): boolean =>
  underReplicated === 0 && copying === 0

/** The state of the chunkserver at an index, as the metadata server sees it. */
const stateOf = (store: StoreProcesses, index: number, status: ClusterStatusResponse): string => {
  const address = store.chunkservers[index]?.address ?? ''
  return status.servers.find(({ addresses }) => addresses.includes(address))?.state ?? 'unknown'
}

const is =
  (store: StoreProcesses, index: number, state: string) =>
  (status: ClusterStatusResponse): boolean =>
    stateOf(store, index, status) === state

/** The chunk files below a chunkserver, and what is being written there. */
function chunkFiles(
  store: StoreProcesses,
  index: number,
): { chunks: string[]; incoming: string[] } {
  const root = store.chunkDirectory(index)
  const filesBelow = (folder: string): string[] =>
    readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
      const path = join(folder, entry.name)
      return entry.isDirectory() ? filesBelow(path) : [path]
    })
  const files = filesBelow(root)
  return {
    chunks: files.filter((path) => !path.includes('incoming') && !path.includes('lost')),
    incoming: files.filter((path) => path.includes('incoming')),
  }
}

void t.test('the files of a wiped chunkserver are whole without its partner, too', async (t) => {
  const store = await startStore(t, {
    chunkservers: 4,
    replicas: 2,
    metadataOptions: ['--lost-after', '6s'],
  })
  const large = randomBytes(9 * MIB)
  const small = Array.from({ length: 12 }, () => randomBytes(40_000))
  const first = await store.mount()
  await put(first.fs, '/large', large)
  for (const [i, bytes] of small.entries()) await put(first.fs, `/small-${i}`, bytes)
  await first.close()
  const before = await until(store, whole)
  t.equal(before.servers.filter(({ state }) => state === 'alive').length, 4)

  // One that has something; its partner dies afterwards.
  await store.chunkservers[0]?.stop('SIGKILL')
  rmSync(join(store.dir, 'chunkserver-1'), { recursive: true })
  await until(store, is(store, 0, 'silent'))
  await until(store, is(store, 0, 'lost'))
  const after = await until(store, whole)
  t.equal(after.lostChunks, 0)
  const dir = ['--dir', join(store.dir, 'metadata')]
  const told = command('status', ...dir)
  t.match(told, /chunkservers: .*1 lost/)
  t.match(told, /every chunk has its replicas/)
  const { repair } = JSON.parse(command('status', '--json', ...dir)) as {
    repair: { copied: number; copiedBytes: number }
  }
  t.ok(repair.copied > 0 && repair.copiedBytes > 40_000, JSON.stringify(repair))

  // Each of the others in turn: whatever it had, somebody else has too.
  for (const index of [1, 2, 3]) {
    await store.chunkservers[index]?.stop('SIGKILL')
    const without = await store.mount()
    const { fs } = without
    t.ok((await readFile(fs, '/large')).equals(large), `without chunkserver ${index + 1}`)
    for (const [i, bytes] of small.entries()) {
      if (!(await readFile(fs, `/small-${i}`)).equals(bytes))
        t.fail(`/small-${i} without ${index + 1}`)
    }
    await without.close()
    await store.chunkservers[index]?.start()
    await until(store, is(store, index, 'alive'))
  }
})

void t.test('a damaged chunk is found by scrub or by a reader, and replaced', async (t) => {
  const store = await startStore(t, {
    chunkservers: 3,
    replicas: 2,
    chunkserverOptions: ['--scrub-rate', '64M'],
  })
  const bytes = randomBytes(3 * MIB)
  const mount = await store.mount()
  await put(mount.fs, '/f', bytes)
  await mount.close()
  const damaged: string[] = []
  for (const index of [0, 1, 2]) {
    const [path] = chunkFiles(store, index).chunks
    if (path === undefined || damaged.length > 0) continue
    const fd = openSync(path, 'r+')
    const byte = Buffer.alloc(1)
    readSync(fd, byte, 0, 1, 1_000_000)
    byte.writeUInt8(byte.readUInt8(0) ^ 0x40)
    writeSync(fd, byte, 0, 1, 1_000_000)
    closeSync(fd)
    damaged.push(path)
  }
  t.equal(damaged.length, 1)
  // A reader that is sent to the bad copy gets the good one; a scrub in its turn finds it as well.
  const reader = await store.mount()
  const { fs } = reader
  let log = ''
  for (let i = 0; i < 200 && !log.includes('made a new replica'); i++) {
    if (!(await readFile(fs, '/f')).equals(bytes)) t.fail('read other bytes')
    await fs.rename('/f', '/g')
    await fs.rename('/g', '/f')
    if (i === 3) {
      // Readers may go to the good copy for ever; restarting begins a round of scrubbing.
      for (const server of store.chunkservers) {
        await server.stop('SIGTERM')
        await server.start()
      }
    }
    await sleep(100)
    log = store.metadata.stderr
  }
  await reader.close()
  t.match(log, /a replica is damaged or missing/)
  t.match(log, /made a new replica/)
  const { servers } = await until(store, whole)
  t.equal(servers.length, 3)
  await until(store, (status) => status.servers.every(({ deletesQueued }) => deletesQueued === 0))
  let good = 0
  for (const index of [0, 1, 2]) good += chunkFiles(store, index).chunks.length
  t.equal(good, 2, 'two files of the chunk are left')
  for (const index of [0, 1, 2]) {
    if (chunkFiles(store, index).chunks.length === 0) continue
    const others = store.chunkservers.filter((_, i) => i !== index)
    for (const server of others) await server.stop('SIGKILL')
    const alone = await store.mount()
    t.ok((await readFile(alone.fs, '/f')).equals(bytes), `chunkserver ${index + 1} alone has it`)
    await alone.close()
    for (const server of others) await server.start()
  }
})

void t.test('a server that comes back leads to no more replicas than wanted', async (t) => {
  const store = await startStore(t, {
    chunkservers: 4,
    replicas: 2,
    metadataOptions: ['--lost-after', '6s'],
    chunkserverOptions: ['--copy-rate', '2M'],
  })
  const files = Array.from({ length: 6 }, () => randomBytes(MIB))
  const mount = await store.mount()
  for (const [i, bytes] of files.entries()) await put(mount.fs, `/f${i}`, bytes)
  await mount.close()
  const index = [0, 1, 2, 3].find((i) => chunkFiles(store, i).chunks.length > 0) ?? 0
  await store.chunkservers[index]?.stop('SIGKILL')
  // One that takes copies dies, too, and comes back at once: it keeps nothing unfinished.
  await until(store, ({ copying }) => copying > 0)
  let target = -1
  for (let i = 0; i < 200 && target < 0; i++) {
    target = [0, 1, 2, 3].find((at) => chunkFiles(store, at).incoming.length > 0) ?? -1
    if (target < 0) await sleep(20)
  }
  t.ok(target >= 0, 'a copy is being written')
  await store.chunkservers[target]?.stop('SIGKILL')
  await store.chunkservers[target]?.start()
  t.same(chunkFiles(store, target).incoming, [])
  await until(store, whole)
  await store.chunkservers[index]?.start()
  await until(store, is(store, index, 'alive'))
  const count = (): number =>
    [0, 1, 2, 3].reduce((n, i) => n + chunkFiles(store, i).chunks.length, 0)
  const end = Date.now() + REPAIRED_MS
  while (count() !== 2 * files.length && Date.now() < end) await sleep(100)
  t.equal(count(), 2 * files.length, 'each chunk has two replicas again')
  await until(store, whole)
  const again = await store.mount()
  for (const [i, bytes] of files.entries()) {
    t.ok((await readFile(again.fs, `/f${i}`)).equals(bytes), `/f${i}`)
  }
  await again.close()
})
