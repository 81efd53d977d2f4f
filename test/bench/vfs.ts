/**
 * How fast the file system library is over real servers on this machine, without FUSE: one mount,
 * three chunkservers, two replicas.
 *
 * The numbers to watch are the client's CPU seconds per GB and per 1000 files: wall times include
 * the servers, which share the machine. The yardstick is the same work on the local disk, with fsync.
 */
import { randomBytes } from 'node:crypto'
import { constants, mkdtempSync, promises as disk, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FileSystem } from '../../mount/vfs/api.ts'
import { StoreProcesses } from '../support/store-processes.ts'

const MIB = 1_048_576
const BULK_BYTES = 512 * MIB
/** What the kernel sends and asks for at once through FUSE. */
const PIECE = 131_072
const FILES = 500
const OWNER = { uid: 0, gid: 0 }

/** One line: what was done, how fast, and what it cost this process. */
async function measure(
  what: string,
  amount: { bytes?: number; count?: number },
  work: () => Promise<void>,
): Promise<void> {
  const cpu = process.cpuUsage()
  const started = performance.now()
  await work()
  const seconds = (performance.now() - started) / 1_000
  const used = process.cpuUsage(cpu)
  const cpuSeconds = (used.user + used.system) / 1e6
  const speed =
    amount.bytes === undefined
      ? `${((amount.count ?? 0) / seconds).toFixed(0)}/s\t${((cpuSeconds / (amount.count ?? 1)) * 1_000).toFixed(2)} CPU s per 1000`
      : `${(amount.bytes / 1e6 / seconds).toFixed(0)} MB/s\t${(cpuSeconds / (amount.bytes / 1e9)).toFixed(2)} CPU s per GB`
  console.log(`${what}\t${speed}`)
}

async function writeBulk(fs: FileSystem, path: string, bytes: Buffer): Promise<void> {
  const handle = await fs.create(path, 0o644, constants.O_RDWR, OWNER)
  for (let at = 0; at < BULK_BYTES; at += PIECE) {
    const start = at % bytes.length
    const written = fs.write(handle, bytes.subarray(start, start + PIECE), at)
    if (typeof written !== 'number') await written
  }
  await fs.flush(handle)
  await fs.release(handle)
}

async function readBulk(fs: FileSystem, path: string): Promise<void> {
  const handle = await fs.open(path, constants.O_RDONLY)
  const into = Buffer.alloc(PIECE)
  for (let at = 0; at < BULK_BYTES; at += PIECE) {
    const read = fs.read(handle, into, at)
    if (typeof read !== 'number') await read
  }
  await fs.release(handle)
}

async function smallFiles(fs: FileSystem, directory: string, bytes: Buffer): Promise<void> {
  await fs.mkdir(directory, 0o755, OWNER)
  for (let index = 0; index < FILES; index++) {
    const handle = await fs.create(`${directory}/${index}`, 0o644, constants.O_WRONLY, OWNER)
    await fs.write(handle, bytes, 0)
    await fs.flush(handle)
    await fs.release(handle)
  }
}

async function randomReads(fs: FileSystem, path: string, count: number): Promise<void> {
  const handle = await fs.open(path, constants.O_RDONLY)
  const into = Buffer.alloc(4_096)
  for (let index = 0; index < count; index++) {
    await fs.read(handle, into, ((index * 2_654_435_761) % (BULK_BYTES / 4_096)) * 4_096)
  }
  await fs.release(handle)
}

async function onDisk(dir: string, bytes: Buffer): Promise<void> {
  await measure('disk: write', { bytes: BULK_BYTES }, async () => {
    const file = await disk.open(join(dir, 'bulk'), 'w')
    for (let at = 0; at < BULK_BYTES; at += PIECE) {
      await file.write(bytes, at % bytes.length, PIECE, at)
    }
    await file.sync()
    await file.close()
  })
  await measure('disk: files of 4 KiB', { count: FILES }, async () => {
    for (let index = 0; index < FILES; index++) {
      const file = await disk.open(join(dir, `small-${index}`), 'w')
      await file.write(bytes, 0, 4_096)
      await file.sync()
      await file.close()
    }
  })
}

export async function run(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'dfs-bench-'))
  const store = new StoreProcesses(dir)
  const bytes = randomBytes(16 * MIB)
  try {
    await store.start({ chunkservers: 3, replicas: 2 })
    await onDisk(dir, bytes)
    const writer = await store.mount()
    const { fs } = writer
    await measure('write', { bytes: BULK_BYTES }, async () => writeBulk(fs, '/bulk', bytes))
    const reader = await store.mount({ cacheBytes: 1_024 * MIB })
    await measure('read', { bytes: BULK_BYTES }, async () => readBulk(reader.fs, '/bulk'))
    await measure('read, cached', { bytes: BULK_BYTES }, async () => readBulk(reader.fs, '/bulk'))
    const cold = await store.mount({ cacheBytes: 16 * MIB })
    await measure('random 4 KiB', { count: 500 }, async () => randomReads(cold.fs, '/bulk', 500))
    for (const size of [4_096, 20_000]) {
      const content = bytes.subarray(0, size)
      const what = `files of ${size} bytes`
      await measure(what, { count: FILES }, async () => smallFiles(fs, `/d${size}`, content))
    }
    await measure('stat', { count: 2_000 }, async () => {
      for (let index = 0; index < 2_000; index++) await fs.stat(`/d4096/${index % FILES}`)
    })
    await measure('list with attributes', { count: FILES }, async () => {
      await fs.list('/d4096')
    })
    for (const mounted of [writer, reader, cold]) await mounted.close()
  } finally {
    await store.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}
