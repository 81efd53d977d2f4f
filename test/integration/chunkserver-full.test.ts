/**
 * A disk that fills up, on a real small file system: refused early, said in heartbeats, nothing
 * half left, nothing acknowledged lost.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { limits } from '../../schema/wire/limits.ts'
import { ChunkserverTest } from '../support/chunkservers.ts'
import { until } from '../support/transport.ts'

const BLOCK = limits.sealedBlockBytes
const MIB = 1_048_576

t.setTimeout(90_000)

/** Why no file system can be made here; undefined when one can. */
function noMounts(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can mount a small file system'
  const probe = mkdtempSync(join(tmpdir(), 'dfs-mount-'))
  const mounted = spawnSync('/bin/mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', probe])
  if (mounted.status === 0) execFileSync('/bin/umount', [probe])
  rmSync(probe, { recursive: true })
  return mounted.status === 0 ? undefined : 'mounting is not allowed here'
}

/** A directory on a file system of its own. */
function smallDisk(t: Test, megabytes: number): string {
  const point = t.testdir()
  execFileSync('/bin/mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'none', point])
  t.teardown(() => execFileSync('/bin/umount', ['--lazy', point]))
  const directory = join(point, 'server')
  mkdirSync(directory)
  return directory
}

const skip = noMounts() ?? false

t.test('refuses new chunks before the disk is full, and takes them again', { skip }, async (t) => {
  const test = await ChunkserverTest.create(t)
  const directory = smallDisk(t, 160)
  const server = await test.start(directory, '--reserve=64M')
  await test.alive(1)
  const peer = test.peer(server.address, 1)
  const bytes = randomBytes(160 * BLOCK)
  const stored: number[] = []
  for (let chunk = 1; chunk < 30; chunk++) {
    try {
      await test.write(peer, chunk, bytes)
      stored.push(chunk)
    } catch (error) {
      t.match(error, { code: 'diskFull' })
      break
    }
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
  t.ok(stored.length >= 3 && stored.length < 12, `${stored.length} chunks of 10 MiB`)
  t.ok(await until(() => test.lastHeartbeat(1)?.full === true), 'the heartbeats say so')
  t.equal(test.lastHeartbeat(1)?.freeBytes, 0)
  await t.rejects(test.write(peer, 100, Buffer.alloc(10)), { code: 'diskFull' }, 'small ones too')
  t.same(readdirSync(join(directory, 'chunks/incoming')), [])
  for (const chunk of stored) t.ok((await test.read(peer, chunk)).bytes.equals(bytes))

  test.orders.set(1, [{ deletes: stored.slice(1) }])
  t.ok(await until(() => test.lastHeartbeat(1)?.full === false), 'room again')
  await test.write(peer, 100, bytes)
  t.ok((await test.read(peer, 100)).bytes.equals(bytes))
})

t.test('a disk that fills up in the middle of a write', { skip }, async (t) => {
  const test = await ChunkserverTest.create(t)
  const directory = smallDisk(t, 120)
  const server = await test.start(directory, '--reserve=0')
  await test.alive(1)
  const peer = test.peer(server.address, 1)
  const bytes = randomBytes(1_000 * BLOCK)
  await test.write(peer, 1, bytes.subarray(0, 20 * BLOCK))
  const both = [test.write(peer, 2, bytes), test.write(peer, 3, bytes)]
  const outcomes = await Promise.allSettled(both)
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') t.match(outcome.reason, { code: 'diskFull' })
  }
  t.ok(
    outcomes.some(({ status }) => status === 'rejected'),
    'two such chunks do not fit',
  )
  t.ok(await until(() => readdirSync(join(directory, 'chunks/incoming')).length === 0), 'no rest')
  t.ok((await test.read(peer, 1)).bytes.equals(bytes.subarray(0, 20 * BLOCK)))
  t.equal(server.child.exitCode, null, 'it goes on serving')
})

t.test(
  'a file system without a free byte: an error, an end, and nothing lost',
  { skip },
  async (t) => {
    const test = await ChunkserverTest.create(t)
    const directory = smallDisk(t, 128)
    const server = await test.start(directory, '--reserve=0')
    await test.alive(1)
    const peer = test.peer(server.address, 1)
    const acknowledged: number[] = []
    const failures: unknown[] = []
    let nextChunk = 1
    const write = async (): Promise<void> => {
      while (failures.length === 0) {
        const chunk = nextChunk++
        try {
          await test.write(peer, chunk, contentOf(chunk))
          acknowledged.push(chunk)
        } catch (error) {
          failures.push(error)
        }
      }
    }
    const writers = Array.from({ length: 16 }, write)
    t.ok(await until(() => acknowledged.length > 100), 'writing')
    const ballast = join(directory, '..', 'ballast')
    fill(ballast)
    await Promise.all(writers)
    t.match(failures[0], { code: /diskFull|shuttingDown/ })
    // Either the index hit the end, which ends the process, or the measurement came first.
    const ended = await until(() => server.child.exitCode !== null, 1_000)
    if (ended) t.match(server.stderr, /disk|space/i, 'it says why')
    else await server.kill()
    rmSync(ballast)
    await test.forget(server.address)

    const again = await test.start(directory)
    await test.alive(1)
    const peerAgain = test.peer(again.address, 1)
    for (const chunk of acknowledged) {
      if (!(await test.read(peerAgain, chunk)).bytes.equals(contentOf(chunk)))
        t.fail(`chunk ${chunk}`)
    }
    t.ok(acknowledged.length > 100, `${acknowledged.length} chunks are all there`)
  },
)

function contentOf(chunk: number): Buffer {
  return Buffer.alloc(20_000, chunk & 0xff)
}

/** Takes every free byte of a file system. */
function fill(path: string): void {
  for (let size = 32 * MIB; size >= 4_096; size /= 2) {
    const piece = Buffer.alloc(size)
    for (let fits = true; fits;) {
      try {
        writeFileSync(path, piece, { flag: 'a' })
      } catch (error) {
        if (!(error instanceof Error) || !error.message.includes('ENOSPC')) throw error
        fits = false
      }
    }
  }
}
