/**
 * Bits flip in single records of a store: each answers EIO for itself, and everything else goes on.
 */
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { NO_PATCH, manifestDigest, windowDigest } from '../../../../schema/wire/content.ts'
import { commit } from '../../../../server/metadata/operations/commit.ts'
import { getInode } from '../../../../server/metadata/operations/get-inode.ts'
import { heartbeat } from '../../../../server/metadata/operations/heartbeat.ts'
import { listUsers } from '../../../../server/metadata/operations/administration.ts'
import { list } from '../../../../server/metadata/operations/list.ts'
import { readWindows } from '../../../../server/metadata/operations/read-windows.ts'
import { resolve } from '../../../../server/metadata/operations/resolve.ts'
import { unlink } from '../../../../server/metadata/operations/unlink.ts'
import { keys } from '../../../../server/metadata/store/keys.ts'
import { tables } from '../../../../server/metadata/store/tables.ts'
import { TICKET_LIFE_MS } from '../../../../server/metadata/ticket-keys.ts'
import { openRocksStore } from '../../../../server/store/rocks-store.ts'
import { attributes, NO_BYTES, TestMetadata, token } from '../../../support/metadata.ts'
import type { TestSession } from '../../../support/metadata.ts'
import { damageRecords } from '../../../support/raw-store.ts'
import { smallTree } from '../../../support/small-tree.ts'

const template = join(t.testdir(), 'template')
const tree = await smallTree(template)
await tree.metadata.close()

interface Damaged {
  readonly metadata: TestMetadata
  readonly session: TestSession
}

/** The tree, with more files in its root, and some records damaged. */
async function damaged(t: Test, all: readonly Buffer[]): Promise<Damaged> {
  const dir = join(t.testdir(), 'store')
  cpSync(template, dir, { recursive: true })
  await damageRecords(dir, all)
  const metadata = await TestMetadata.reopen(dir)
  t.teardown(() => metadata.close())
  metadata.registerServers()
  return { metadata, session: await metadata.session(tree.user) }
}

const names = async (session: TestSession, directory: number, limit = 100): Promise<unknown[]> => {
  const found: unknown[] = []
  let after: Uint8Array = NO_BYTES
  for (let more = true; more;) {
    const page = await session.query(list, { directory, after, limit })
    for (const { token: name, inode } of page.entries) {
      found.push([Buffer.from(name).toString('hex').slice(0, 8), inode?.inode])
      after = name
    }
    more = page.more
  }
  return found
}

const short = (name: string): string => Buffer.from(token(name)).toString('hex').slice(0, 8)

const state = { usedBytes: 0, freeBytes: 1e12, full: false, chunks: 1, load: 0 }
const beat = { ...state, deleted: [], unconfirmed: [], damaged: [] }

t.test('a damaged inode: its name is listed, it alone is EIO, its neighbours work', async (t) => {
  const { session } = await damaged(t, [keys.inode(tree.file)])
  await t.rejects(session.query(getInode, { inode: tree.file, hold: false }), {
    code: 'recordCorrupt',
    errno: 'EIO',
  })
  for (const limit of [1, 2, 100]) {
    const found = await names(session, tree.directory, limit)
    t.equal(found.length, 3)
    t.ok(
      found.some((entry) => String(entry) === String([short('file'), undefined])),
      'the damaged one comes without its inode',
    )
  }
  await t.rejects(
    session.query(resolve, { base: tree.directory, tokens: token('file'), hold: false }),
    { code: 'recordCorrupt' },
  )
  const there = await session.query(resolve, {
    base: tree.directory,
    tokens: token('second'),
    hold: false,
  })
  t.equal(there.entries[0]?.inode.inode, tree.linked)
  await t.resolves(session.make(tree.directory, 'a new one beside it'))
  await t.resolves(
    session.mutate(unlink, { parent: tree.directory, token: token('second'), directory: false }),
  )
})

t.test('a damaged inode that a mount holds does not keep the mount out', async (t) => {
  const { metadata } = await damaged(t, [keys.inode(tree.file)])
  await t.resolves(metadata.session(tree.user, undefined, { held: [tree.file, tree.linked] }))
})

t.test('a damaged entry: the listing goes on behind it, page by page', async (t) => {
  const { session } = await damaged(t, [keys.dentry(tree.directory, token('file'))])
  for (const limit of [1, 2, 100]) t.equal((await names(session, tree.directory, limit)).length, 2)
  await t.rejects(
    session.query(resolve, { base: tree.directory, tokens: token('file'), hold: false }),
    { code: 'recordCorrupt' },
  )
})

t.test('a directory of damaged entries only is listed as empty, and ends', async (t) => {
  const all = ['file', 'second', 'inner'].map((name) => keys.dentry(tree.directory, token(name)))
  const { session } = await damaged(t, all)
  t.same(await names(session, tree.directory, 1), [])
})

t.test('a damaged chunk: its file is EIO, and no server is told to delete it', async (t) => {
  const { metadata, session } = await damaged(t, [keys.chunk(tree.chunks[0])])
  await t.rejects(session.query(readWindows, { inode: tree.file, first: 0, count: 1 }), {
    code: 'recordCorrupt',
  })
  await heartbeat(1, beat, metadata.services)
  metadata.time.ms += 3 * TICKET_LIFE_MS
  const report = { ...beat, unconfirmed: [...tree.chunks, 3], damaged: [...tree.chunks] }
  const { deletes, confirmed } = await heartbeat(1, report, metadata.services)
  t.notOk(deletes.includes(tree.chunks[0]), 'it may be in use')
  t.notOk(confirmed.includes(tree.chunks[0]))
  t.ok(deletes.includes(3), 'others are judged as ever')
})

t.test('a damaged window: its file alone cannot be read', async (t) => {
  const { session } = await damaged(t, [keys.window(tree.file, 0)])
  await t.rejects(session.query(readWindows, { inode: tree.file, first: 0, count: 1 }), {
    code: 'recordCorrupt',
  })
  const other = await session.make(tree.root, 'other')
  const chunk = await session.chunk(10)
  const extents = [{ chunk: chunk.chunk, offset: 0, length: 10, chunkOffset: 0 }]
  const digest = windowDigest(extents)
  const contentDigest = manifestDigest(Buffer.concat([Buffer.alloc(4), digest]))
  await session.mutate(commit, {
    inode: other,
    attributes: attributes(1, { version: 2, size: 10, contentDigest }),
    truncates: false,
    truncateTo: 0,
    windows: [{ index: 0, extents, digest, patch: NO_PATCH }],
    chunks: [chunk],
    inline: NO_BYTES,
  })
  const { windows } = await session.query(readWindows, { inode: other, first: 0, count: 1 })
  t.equal(windows.length, 1)
})

t.test('damaged records of users, sessions and chunkservers do not stop the start', async (t) => {
  const dir = join(t.testdir(), 'store')
  cpSync(template, dir, { recursive: true })
  const first = await TestMetadata.reopen(dir)
  await first.addUser('bob')
  const session = await first.session(tree.user)
  await first.close()
  await damageRecords(dir, [keys.user(2), keys.session(session.id), keys.server(2)])
  const metadata = await TestMetadata.reopen(dir)
  t.teardown(() => metadata.close())
  const { users } = await listUsers(metadata.services)
  t.same(
    users.map(({ user }) => user),
    ['ann'],
  )
  t.ok(metadata.services.topology.get(1))
  t.notOk(metadata.services.topology.get(2))
  await t.resolves(metadata.session(tree.user, undefined, { session: session.id }))
})

t.test('a damaged answer is not given, and its operation is not carried out again', async (t) => {
  const dir = join(t.testdir(), 'store')
  cpSync(template, dir, { recursive: true })
  const first = await TestMetadata.reopen(dir)
  const session = await first.session(tree.user)
  const operation = session.operation()
  const request = { parent: tree.root, token: token('linked'), directory: false, operation }
  await session.mutate(unlink, request)
  await first.close()
  await damageRecords(dir, [keys.reply(session.id, operation.id)])
  const metadata = await TestMetadata.reopen(dir)
  t.teardown(() => metadata.close())
  const again = await metadata.session(tree.user, undefined, { session: session.id })
  t.equal(again.id, session.id)
  await t.rejects(again.mutate(unlink, request), { code: 'recordCorrupt' })
})

t.test('damaged marks say what they said', async (t) => {
  const dir = join(t.testdir(), 'store')
  cpSync(template, dir, { recursive: true })
  const raw = await openRocksStore(dir)
  const value = tables.marks.encode(true)
  await raw.write(
    [
      { key: keys.delete(1, 4_000), value },
      { key: keys.delete(1, 4_001), value },
      { key: keys.counter('deletes/1'), value: tables.numbers.encode({ value: 2 }) },
      { key: keys.purge(4_000), value },
      { key: keys.orphan(4_000), value },
    ],
    { sync: true },
  )
  await raw.close()
  await damageRecords(dir, [keys.delete(1, 4_000), keys.purge(4_000), keys.orphan(4_000)])
  const metadata = await TestMetadata.reopen(dir)
  t.teardown(() => metadata.close())
  const { services } = metadata
  t.same((await heartbeat(1, beat, services)).deletes, [4_000, 4_001], 'orders are given')
  await heartbeat(1, { ...beat, deleted: [4_000, 4_001] }, services)
  t.same((await heartbeat(1, beat, services)).deletes, [], 'and carried out')
  // Sessions of before the restart might hold it.
  metadata.time.ms += 120_000
  await services.sessions.sweep()
  await services.purger.reap(4_000)
  await services.purger.stop()
  await services.database.settle()
  t.equal(await metadata.store.get(keys.purge(4_000)), undefined)
  t.equal(await metadata.store.get(keys.orphan(4_000)), undefined)
})

t.test('a damaged counter stops the start, and says what helps', async (t) => {
  const dir = join(t.testdir(), 'store')
  cpSync(template, dir, { recursive: true })
  await damageRecords(dir, [keys.counter('inodes')])
  await t.rejects(TestMetadata.reopen(dir), { code: 'recordCorrupt', message: /check --repair/u })
})
