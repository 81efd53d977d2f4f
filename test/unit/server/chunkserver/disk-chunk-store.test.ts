/**
 * The chunk store on files and RocksDB: the contract of all stores, and what only this one has.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import RocksDb from 'rocksdb'
import t, { type Test } from 'tap'
import { limits } from '../../../../schema/wire/limits.ts'
import { bounds } from '../../../../server/chunkserver/bounds.ts'
import { chunkPath } from '../../../../server/chunkserver/chunk-file-writer.ts'
import { DiskChunkStore } from '../../../../server/chunkserver/disk-chunk-store.ts'
import { keys } from '../../../../server/chunkserver/index-keys.ts'
import { recoverFiles, removeTemporaryFiles } from '../../../../server/chunkserver/recover-files.ts'
import {
  chunkStoreConforms,
  get,
  put,
  type StoreUnderTest,
} from '../../../support/chunk-store-conformance.ts'
import { keepingLog } from '../../../support/chunkservers.ts'
import { silent } from '../../../support/transport.ts'

const BLOCK = limits.sealedBlockBytes
const never = new AbortController().signal

function openStore(directory: string, log = silent): Promise<DiskChunkStore> {
  return DiskChunkStore.open({ directory, log, onFailure: (error) => t.fail(error.message) })
}

async function openFor(t: Test): Promise<StoreUnderTest & { store: DiskChunkStore }> {
  const directory = t.testdir()
  let current = await openStore(directory)
  t.teardown(() => current.close())
  const store = current
  return {
    store,
    async reopen() {
      await current.close()
      current = await openStore(directory)
      return current
    },
  }
}

chunkStoreConforms(t, openFor)

t.test('small chunks make no files, larger ones one each, below two levels', async (t) => {
  const { store } = await openFor(t)
  await put(store, 1, randomBytes(BLOCK))
  t.same(readdirSync(store.paths.root).sort(), ['incoming', 'lost'])
  await put(store, 0x12_3456, randomBytes(BLOCK + 1))
  t.equal(chunkPath(store.paths, 0x12_3456), join(store.paths.root, '01/23/0000000000123456'))
  t.equal(readFileSync(chunkPath(store.paths, 0x12_3456)).length, BLOCK + 1 + 8 + 40 + 40)
})

t.test(
  'files past the page cache are whole at every size, also when its stages are all out',
  async (t) => {
    const { store } = await openFor(t)
    const { stageBytes, stagesMax } = bounds
    const all = randomBytes(5 * stageBytes)
    const sizes = [1, 2, 4].flatMap((n) =>
      [-4_096, -1, 0, 1, 4_096].map((by) => n * stageBytes + by),
    )
    for (const [at, bytes] of sizes.entries()) {
      await put(store, at + 1, all.subarray(0, bytes), 1 + (at % 9))
      t.ok((await get(store, at + 1)).equals(all.subarray(0, bytes)), `${bytes} bytes`)
    }
    const others = await Promise.all(
      Array.from({ length: stagesMax + 1 }, async (_, i) => {
        const writer = await store.create(1_000 + i, Buffer.alloc(40, 1))
        for (const part of [0, 4])
          await writer.append(all.subarray(part * BLOCK, (part + 4) * BLOCK))
        return writer
      }),
    )
    for (const writer of others) {
      await writer.append(all.subarray(8 * BLOCK, 20 * BLOCK + 5))
      await writer.commit()
    }
    for (const i of others.keys()) {
      t.ok((await get(store, 1_000 + i)).equals(all.subarray(0, 20 * BLOCK + 5)))
    }
  },
)

t.test('a file system without direct writes is written the ordinary way', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'dfs-ramfs-'))
  // RAM file systems refuse O_DIRECT, with EINVAL.
  const mounted = spawnSync('/bin/mount', ['-t', 'ramfs', 'none', directory]).status === 0
  try {
    const store = await openStore(directory)
    try {
      const bytes = randomBytes(3 * bounds.stageBytes + 7)
      await put(store, 1, bytes)
      t.ok(
        (await get(store, 1)).equals(bytes),
        mounted ? 'in RAM' : 'on the ordinary one: only root mounts',
      )
    } finally {
      await store.close()
    }
  } finally {
    if (mounted) execFileSync('/bin/umount', ['--lazy', directory])
    rmSync(directory, { recursive: true })
  }
})

t.test('damage of any kind in a file is found before a byte leaves', async (t) => {
  const { store } = await openFor(t)
  const bytes = randomBytes(3 * BLOCK)
  const damages: [string, (path: string) => void][] = [
    ['a flipped bit in the first block', (path) => flip(path, 100)],
    ['a flipped bit in the last block', (path) => flip(path, 3 * BLOCK - 1)],
    ['a flipped bit in the checksums', (path) => flip(path, 3 * BLOCK + 1)],
    ['a flipped bit in the header', (path) => flip(path, 3 * BLOCK + 20)],
    ['a flipped bit in the footer', (path) => flip(path, 3 * BLOCK + 12 + 40 + 3)],
    ['a truncated file', (path) => truncateSync(path, 2 * BLOCK)],
    ['an empty file', (path) => truncateSync(path, 0)],
    ['a file of zeros', (path) => writeFileSync(path, Buffer.alloc(3 * BLOCK + 92))],
    ['another chunk in its place', (path) => writeFileSync(path, fileOf(store, 1_000))],
    ['no file', (path) => rmSync(path)],
  ]
  await put(store, 1_000, bytes)
  for (const [at, [what, damage]] of damages.entries()) {
    const chunk = at + 1
    await put(store, chunk, bytes)
    damage(chunkPath(store.paths, chunk))
    const code = what === 'no file' ? 'chunkMissing' : 'chunkCorrupt'
    await t.rejects(get(store, chunk), { code }, what)
    await t.rejects(get(store, chunk), { code: 'chunkCorrupt' }, `${what}, from then on`)
    await t.rejects(put(store, chunk, bytes), { code: 'chunkCorrupt' })
  }
  t.same(
    await store.damaged(0, 100),
    damages.map((_, at) => at + 1),
  )
  t.equal(store.damageFound, damages.length)
  t.ok((await get(store, 1_000)).equals(bytes))
  await store.delete([1, 2])
  t.equal((await store.damaged(0, 100)).length, damages.length - 2)
  await put(store, 1, bytes)
  t.ok((await get(store, 1)).equals(bytes), 'deleted and written again')
})

t.test('a good copy takes the place of a damaged one, which stays until then', async (t) => {
  const under = await openFor(t)
  const { store } = under
  const sizes = [100, BLOCK, 3 * BLOCK + 5]
  const originals = sizes.map((size) => randomBytes(size))
  for (const [at, bytes] of originals.entries()) await put(store, at + 1, bytes)
  await put(store, 4, randomBytes(2 * BLOCK))
  for (const chunk of [1, 2]) await store.markDamaged(chunk, 'by the test')
  flip(chunkPath(store.paths, 3), BLOCK)
  rmSync(chunkPath(store.paths, 4))
  const totals = { ...store.totals }
  for (const [at, bytes] of [...originals, randomBytes(2 * BLOCK)].entries()) {
    const chunk = at + 1
    const given = await store.replace(chunk, Buffer.alloc(40, 3)).catch(async () => {
      // Nobody had looked at this copy before.
      await t.rejects(get(store, chunk), { code: 'chunkCorrupt' })
      return store.replace(chunk, Buffer.alloc(40, 3))
    })
    await given.append(bytes.subarray(0, BLOCK))
    await given.abort()
    t.equal(await store.holds(chunk), chunk === 3, 'given up, it changes nothing')
    if (chunk === 3) await t.rejects(get(store, 3), { code: 'chunkCorrupt' })
    const writer = await store.replace(chunk, Buffer.alloc(40, 3))
    await t.rejects(store.replace(chunk, Buffer.alloc(40, 3)), { code: 'tooManyRequests' })
    for (let from = 0; from < bytes.length; from += BLOCK) {
      await writer.append(bytes.subarray(from, from + BLOCK))
    }
    await writer.commit()
    t.ok(await store.holds(chunk))
    t.ok((await get(store, chunk)).equals(bytes))
  }
  t.same(await store.damaged(0, 9), [])
  t.same(store.totals, totals, 'the sums stay exact')
  const again = await under.reopen()
  for (const [at, bytes] of originals.entries()) {
    t.ok((await get(again, at + 1)).equals(bytes), 'also after a restart')
  }
  const options = { beforeMs: Date.now() + 1, limit: 99, after: undefined }
  const { chunks } = await again.unconfirmed(options)
  t.same(new Set(chunks), new Set([1, 2, 3, 4]))
  t.equal(chunks.length, 4, 'each is named once')
})

t.test('a copy that is good is not replaced, and a missing one is made', async (t) => {
  const { store } = await openFor(t)
  const bytes = randomBytes(2 * BLOCK)
  t.notOk(await store.holds(5))
  for (const [other, code] of [
    [bytes, undefined],
    [bytes, undefined],
    [randomBytes(2 * BLOCK), 'chunkExists'],
  ] as const) {
    const writer = await store.replace(5, Buffer.alloc(40, 3))
    await writer.append(other)
    if (code === undefined) await writer.commit()
    else await t.rejects(writer.commit(), { code })
  }
  t.ok((await get(store, 5)).equals(bytes))
})

t.test('damage is remembered over a restart, and logged with chunk and path', async (t) => {
  const directory = t.testdir()
  const log = keepingLog()
  const store = await openStore(directory, log)
  await put(store, 77, randomBytes(2 * BLOCK))
  flip(chunkPath(store.paths, 77), BLOCK)
  await t.rejects(get(store, 77), { code: 'chunkCorrupt' })
  await store.markDamaged(77, 'again')
  t.match(log.lines.at(-1)?.fields, { chunk: 77, path: chunkPath(store.paths, 77) })
  await store.close()
  const again = await openStore(directory)
  await t.rejects(get(again, 77), { code: 'chunkCorrupt', message: /block 1 of/ })
  await again.close()
})

t.test('a lost index is built again from the files', async (t) => {
  const directory = t.testdir()
  const before = await openStore(directory)
  const bytes = randomBytes(5 * BLOCK)
  await put(before, 10, bytes)
  await put(before, 20_000, bytes.subarray(BLOCK))
  await before.close()
  rmSync(join(directory, 'index'), { recursive: true })
  const store = await openStore(directory)
  t.same(await recoverFiles(store, silent, never), { files: 2, indexed: 2, lost: 0 })
  t.ok((await get(store, 10)).equals(bytes))
  t.same(store.totals, { chunks: 2, sealedBytes: 9 * BLOCK })
  const options = { beforeMs: Date.now() + 1, limit: 9, after: undefined }
  t.equal((await store.unconfirmed(options)).chunks.length, 2, 'to be confirmed anew')
  t.same(await recoverFiles(store, silent, never), { files: 2, indexed: 0, lost: 0 })
  await store.close()
})

t.test('what a crash leaves is removed or set aside, never served', async (t) => {
  const directory = t.testdir()
  const log = keepingLog()
  const store = await openStore(directory)
  await put(store, 10, randomBytes(2 * BLOCK))
  writeFileSync(join(store.paths.incoming, '000000000000000b'), 'half')
  const torn = chunkPath(store.paths, 12)
  writeFileSync(torn, randomBytes(3 * BLOCK))
  t.equal(await removeTemporaryFiles(store.paths.incoming), 1)
  t.same(readdirSync(store.paths.incoming), [])
  t.same(await recoverFiles(store, log, never), { files: 2, indexed: 0, lost: 1 })
  t.same(readdirSync(store.paths.lost), ['000000000000000c'])
  t.match(log.lines.at(-1)?.fields, { chunk: 12, path: torn })
  await t.rejects(get(store, 12), { code: 'chunkMissing' })
  await store.close()
})

t.test('a damaged index record is contained, and made good from the file', async (t) => {
  const directory = t.testdir()
  const before = await openStore(directory)
  const bytes = randomBytes(2 * BLOCK)
  for (const chunk of [1, 2]) await put(before, chunk, bytes)
  for (const chunk of [3, 4]) await put(before, chunk, bytes.subarray(BLOCK))
  await before.close()
  await overwrite(join(directory, 'index'), [keys.record(1), keys.record(3), keys.payload(4)])

  const store = await openStore(directory)
  for (const chunk of [1, 3, 4]) {
    await t.rejects(get(store, chunk), { code: 'chunkCorrupt' })
    await t.rejects(put(store, chunk, bytes), { code: 'chunkCorrupt' })
  }
  t.ok((await get(store, 2)).equals(bytes))
  t.same(await recoverFiles(store, silent, never), { files: 2, indexed: 1, lost: 0 })
  t.ok((await get(store, 1)).equals(bytes), 'a file holds all that its record said')
  await store.markDamaged(3, 'its index record is damaged')
  t.same(await store.damaged(0, 9), [3, 4])
  t.same(await store.delete([3, 4]), [3, 4])
  await put(store, 3, bytes)
  await store.close()
  const after = await openStore(directory)
  t.same(after.totals, { chunks: 3, sealedBytes: 6 * BLOCK }, 'counted anew')
  await after.close()
})

t.test('more chunks are read in turns than files stay open', async (t) => {
  const { store } = await openFor(t)
  const count = 600
  const bytes = randomBytes(BLOCK + 1)
  const chunks = Array.from({ length: count }, (_, at) => at + 1)
  for (let at = 0; at < count; at += 50) {
    await Promise.all(chunks.slice(at, at + 50).map((chunk) => put(store, chunk, bytes)))
  }
  for (let round = 0; round < 2; round++) {
    const all = await Promise.all(chunks.map((chunk) => get(store, chunk)))
    t.ok(all.every((got) => got.equals(bytes)))
  }
  const open = readdirSync('/proc/self/fd').length
  t.ok(open < 512 + 150, `${open} descriptors`)
})

t.test('one directory belongs to one process', async (t) => {
  const { store } = await openFor(t)
  const directory = join(store.paths.root, '..')
  await t.rejects(openStore(directory), { code: 'directoryInUse' })
})

/** Puts rubbish in the place of records, beneath the store that checks them. */
async function overwrite(index: string, records: readonly Buffer[]): Promise<void> {
  const db = new RocksDb(index)
  const done = (run: (callback: (error?: Error | null) => void) => void): Promise<void> =>
    new Promise((resolve, reject) => {
      run((error) => {
        if (error) reject(error)
        else resolve()
      })
    })
  await done((callback) => db.open({}, callback))
  const rubbish = records.map((key) => ({ type: 'put' as const, key, value: randomBytes(30) }))
  await done((callback) => db.batch(rubbish, { sync: true }, callback))
  await done((callback) => db.close(callback))
}

function flip(path: string, at: number): void {
  const file = readFileSync(path)
  file.writeUInt8(file.readUInt8(at) ^ 0x10, at)
  writeFileSync(path, file)
}

function fileOf(store: DiskChunkStore, chunk: number): Buffer {
  return readFileSync(chunkPath(store.paths, chunk))
}
