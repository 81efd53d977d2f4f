/**
 * Backups: what goes in comes out, as of one moment; a file that is not whole restores nothing; and a
 * restored store gives out no number again, and deletes nothing that a newer backup may know.
 */
import { cpSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { CHUNK_ID_MAX } from '../../../../../mount/vfs/block-cache.ts'
import { checkStore } from '../../../../../server/metadata/check/check.ts'
import { writeBackup, type BackupHeader } from '../../../../../server/metadata/backup/file.ts'
import { recordFrames } from '../../../../../server/metadata/backup/frames.ts'
import { restoreBackup } from '../../../../../server/metadata/backup/restore.ts'
import { initCluster, readClusterFiles } from '../../../../../server/metadata/cluster-files.ts'
import { heartbeat } from '../../../../../server/metadata/operations/heartbeat.ts'
import { releaseUnknown } from '../../../../../server/metadata/operations/release-unknown.ts'
import { keys } from '../../../../../server/metadata/store/keys.ts'
import { tables } from '../../../../../server/metadata/store/tables.ts'
import { TICKET_LIFE_MS } from '../../../../../server/metadata/ticket-keys.ts'
import type { OrderedStore } from '../../../../../server/store/ordered-store.ts'
import { openRocksStore } from '../../../../../server/store/rocks-store.ts'
import { TestMetadata } from '../../../../support/metadata.ts'
import { damageRecords } from '../../../../support/raw-store.ts'
import { smallTree } from '../../../../support/small-tree.ts'

const base = t.testdir()
const template = join(base, 'template')
await initCluster({ dir: template, replicas: 2, writeQuorum: 2 })
const tree = await smallTree(join(template, 'db'))
await tree.metadata.close()
const files = await readClusterFiles(template)

const header = (more: Partial<BackupHeader> = {}): Omit<BackupHeader, 'format'> => ({
  cluster: 'ab'.repeat(16),
  schemaVersion: 1,
  created: '2030-01-02T03:04:05.000Z',
  files,
  ...more,
})

const good = join(base, 'good.backup')
await withStore(join(template, 'db'), (store) => writeBackup(good, header(), recordFrames(store)))

async function withStore<R>(dir: string, work: (store: OrderedStore) => Promise<R>): Promise<R> {
  const store = await openRocksStore(dir)
  try {
    return await work(store)
  } finally {
    await store.close()
  }
}

/** Every record by its key, hexadecimal. */
async function all(store: OrderedStore): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  const scan = store.scan({ from: Buffer.of(0), to: Buffer.of(255) })
  for (let page = await scan.next(); page.length > 0; page = await scan.next()) {
    for (const { key, value } of page) {
      found.set(key.toString('latin1'), value?.toString('hex') ?? 'damaged')
    }
  }
  await scan.close()
  return found
}

const wrong = async (t: Test, store: OrderedStore): Promise<string[]> => {
  const { findings } = await checkStore({ store, scratch: t.testdir() })
  return findings.map(({ detail }) => detail)
}

t.test('what goes in comes out, but for sessions, ticket keys and next numbers', async (t) => {
  const dir = join(base, 'restored')
  const { records, damaged } = await restoreBackup({ from: good, dir })
  t.equal(damaged, 0)
  t.equal(statSync(good).mode & 0o777, 0o600)
  t.same(await readClusterFiles(dir), files, 'the authority and all identities are there')
  const before = await withStore(join(template, 'db'), all)
  const after = await withStore(join(dir, 'db'), all)
  const left = [...before.keys()].filter((key) => !after.has(key))
  t.same(
    new Set(left.map((key) => (key.startsWith('m') ? key : key[0]))),
    new Set(['s', 'r', 'mticket-keys']),
  )
  const changed = [...after.keys()].filter((key) => after.get(key) !== before.get(key))
  t.ok(
    changed.every((key) => /^[qv]/u.test(key) || key === 'mrestored' || key === 'mhistory'),
    changed.join(' '),
  )
  t.equal(after.size, before.size - left.length + changed.filter((key) => !before.has(key)).length)
  t.equal(records, before.size - left.length)
  t.same(await withStore(join(dir, 'db'), (store) => wrong(t, store)), [])
})

t.test('a file that was cut or changed anywhere restores nothing', async (t) => {
  const bytes = readFileSync(good)
  const parent = t.testdir()
  const from = join(parent, 'bad.backup')
  const dir = join(parent, 'dir')
  const attempt = async (content: Buffer, what: string): Promise<void> => {
    writeFileSync(from, content)
    await t.rejects(restoreBackup({ from, dir }), { code: /recordCorrupt|versionMismatch/u }, what)
    t.same(readdirSync(parent), ['bad.backup'], 'and nothing is left behind')
  }
  for (let i = 0; i < 12; i++) {
    const at = Math.floor((i / 12) * bytes.length)
    await attempt(bytes.subarray(0, at), `cut at ${at} of ${bytes.length}`)
    const flipped = Buffer.from(bytes)
    flipped.writeUInt8(flipped.readUInt8(at) ^ 4, at)
    await attempt(flipped, `flipped at ${at}`)
  }
  await attempt(bytes.subarray(0, -1), 'the last byte missing')
  await attempt(Buffer.concat([bytes, Buffer.of(0)]), 'a byte too many')
})

t.test('nothing is replaced: no file by a backup, no directory by a restore', async (t) => {
  await t.rejects(
    withStore(join(template, 'db'), (store) => writeBackup(good, header(), recordFrames(store))),
    { code: 'exists' },
  )
  await t.rejects(restoreBackup({ from: good, dir: template }), { code: 'exists' })
  const dir = join(t.testdir({ empty: {} }), 'empty')
  await t.resolves(restoreBackup({ from: good, dir }), 'an empty directory will do')
  await t.rejects(restoreBackup({ from: join(base, 'none'), dir: join(base, 'new') }), {
    code: 'notFound',
  })
})

t.test('a backup that a newer program wrote is refused', async (t) => {
  const from = join(t.testdir(), 'newer.backup')
  await withStore(join(template, 'db'), (store) =>
    writeBackup(from, header({ schemaVersion: 99 }), recordFrames(store)),
  )
  await t.rejects(restoreBackup({ from, dir: join(base, 'new') }), { code: 'versionMismatch' })
  t.notOk(existsSync(join(base, 'new')))
})

t.test('a backup that fails leaves no file', async (t) => {
  const parent = t.testdir()
  const failing = async function* (): AsyncGenerator<Buffer> {
    yield Buffer.alloc(100_000)
    await Promise.reject(new Error('the connection is gone'))
  }
  await t.rejects(writeBackup(join(parent, 'a.backup'), header(), failing()), /is gone/u)
  t.same(readdirSync(parent), [])
  const cut = async function* (): AsyncGenerator<Buffer> {
    yield Buffer.alloc(3)
  }
  await t.rejects(writeBackup(join(parent, 'a.backup'), header(), cut()), { code: 'recordCorrupt' })
  t.same(readdirSync(parent), [], 'also when it only ended too early')
})

t.test('damaged records are left out, and counted', async (t) => {
  const parent = t.testdir()
  const dir = join(parent, 'db')
  cpSync(join(template, 'db'), dir, { recursive: true })
  await damageRecords(dir, [keys.inode(tree.file)])
  const from = join(parent, 'damaged.backup')
  await withStore(dir, (store) => writeBackup(from, header(), recordFrames(store)))
  const { damaged } = await restoreBackup({ from, dir: join(parent, 'restored') })
  t.equal(damaged, 1)
})

t.test('a backup is of one moment, however much is written while it is taken', async (t) => {
  const parent = t.testdir()
  const metadata = await TestMetadata.open(t, join(parent, 'live'))
  const { user, session } = await metadata.user('ann')
  for (let i = 0; i < 2_000; i++) await session.make(user.root, `before ${i}`)
  const from = join(parent, 'live.backup')
  let made = 0
  const slow = async function* (): AsyncGenerator<Buffer> {
    for await (const frame of recordFrames(metadata.services.database.durable)) {
      for (let i = 0; i < 100; i++) await session.make(user.root, `during ${made++}`)
      yield frame
    }
  }
  await writeBackup(from, header(), slow())
  t.ok(made > 100, `${made} files came meanwhile`)
  const dir = join(parent, 'restored')
  await restoreBackup({ from, dir })
  await withStore(join(dir, 'db'), async (store) => {
    const { findings } = await checkStore({ store, scratch: parent })
    t.same(findings, [])
    const root = await store.get(keys.inode(user.root))
    const entries = root === undefined ? 0 : tables.inodes.decode(root).inode.entryCount
    t.equal(entries, 2_000, 'what came later is not in it')
  })
})

t.test('a newer backup, restored after an older one, collides with nothing either', async (t) => {
  const parent = t.testdir()
  const next = async (dir: string): Promise<number[]> =>
    withStore(join(dir, 'db'), async (store) =>
      Promise.all(
        ['inodes', 'chunks', 'users', 'servers'].map(async (name) => {
          const stored = await store.get(keys.sequence(name))
          return stored === undefined ? 0 : tables.numbers.decode(stored).value
        }),
      ),
    )
  await restoreBackup({ from: good, dir: join(parent, 'first') })
  const first = await next(join(parent, 'first'))
  await new Promise((done) => setTimeout(done, 1_100))
  await restoreBackup({ from: good, dir: join(parent, 'second') })
  const second = await next(join(parent, 'second'))
  const ahead = second.map((number, i) => number - (first[i] ?? 0))
  t.ok(ahead[0] !== undefined && ahead[0] > 5_000, ahead.join(' '))
  t.ok(ahead[1] !== undefined && ahead[1] > 5_000)
  t.ok(ahead.every((number) => number >= 1))
  t.ok(
    second.every((number) => number < CHUNK_ID_MAX / 2),
    'clients can still use them',
  )
})

t.test('restored: no number is given out again, and unknown chunks are kept', async (t) => {
  const parent = t.testdir()
  const dir = join(parent, 'restored')
  const live = await TestMetadata.reopen(join(template, 'db'))
  live.registerServers()
  const liveSession = await live.session(tree.user)
  // After the backup, and lost with the disk.
  const lostInode = await liveSession.make(tree.root, 'lost')
  const lostChunk = await liveSession.chunk(1_000)
  await live.close()
  await restoreBackup({ from: good, dir })
  const metadata = await TestMetadata.reopen(join(dir, 'db'))
  t.teardown(() => metadata.close())
  metadata.registerServers()
  const session = await metadata.session(tree.user)
  const inode = await session.make(tree.root, 'new')
  const chunk = await session.chunk(1_000)
  t.ok(inode > lostInode + 1e9, `inode ${inode} is far ahead of ${lostInode}`)
  t.ok(chunk.chunk > lostChunk.chunk + 1e9)

  const report = async (): Promise<number[]> => {
    const state = { usedBytes: 0, freeBytes: 1e12, full: false, chunks: 1, load: 0 }
    const unconfirmed = [lostChunk.chunk, chunk.chunk, tree.chunks[0]]
    const { deletes } = await heartbeat(
      1,
      { ...state, deleted: [], unconfirmed, damaged: [] },
      metadata.services,
    )
    return deletes.filter((id) => id !== tree.chunks[0]).sort((a, b) => a - b)
  }
  t.same(await report(), [])
  metadata.time.ms += 61_000
  await report()
  metadata.time.ms += 3 * TICKET_LIFE_MS
  t.same(await report(), [chunk.chunk], 'what was planned since and not committed is deleted')
  t.same(await releaseUnknown(metadata.services), { released: true })
  t.same(await report(), [lostChunk.chunk, chunk.chunk], 'the other once it is let go of')
  t.same(await releaseUnknown(metadata.services), { released: false })
})

t.test('restored: what the backup says of replicas is not taken for granted', async (t) => {
  const parent = t.testdir()
  const db = join(parent, 'live', 'db')
  cpSync(join(template, 'db'), db, { recursive: true })
  const [chunk] = tree.chunks
  const gone = 900
  await withStore(db, async (store) => {
    const server = await store.get(keys.server(1))
    if (server === undefined) throw new Error('there is no chunkserver 1')
    const record = { ...tables.servers.decode(server), store: Buffer.from('seen') }
    const queued = tables.marks.encode(true)
    await store.write(
      [
        { key: keys.server(1), value: tables.servers.encode(record) },
        // A copy beyond the wanted number, which may be the only one by now; and a deleted chunk.
        { key: keys.delete(66, chunk), value: queued },
        { key: keys.delete(66, gone), value: queued },
        { key: keys.counter('deletes/66'), value: tables.numbers.encode({ value: 2 }) },
      ],
      { sync: true },
    )
  })
  const from = join(parent, 'replicas.backup')
  await withStore(db, (store) => writeBackup(from, header(), recordFrames(store)))
  const dir = join(parent, 'restored')
  await restoreBackup({ from, dir })
  await withStore(join(dir, 'db'), async (store) => {
    const server = await store.get(keys.server(1))
    t.equal(server && tables.servers.decode(server).store.length, 0, 'it is asked what it has')
    t.notOk(await store.get(keys.delete(66, chunk)))
    t.ok(await store.get(keys.delete(66, gone)))
    t.same(await wrong(t, store), [])
  })
})
