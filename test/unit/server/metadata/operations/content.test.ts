/**
 * Content on a real store: plans, commits, reading back, and what becomes of chunks that no file
 * names any more.
 */
import t from 'tap'
import type { NewChunk } from '../../../../../schema/generated/metadata.ts'
import type { HeartbeatRequest } from '../../../../../schema/generated/cluster.ts'
import {
  inlineDigest,
  MANIFEST_ENTRY_BYTES,
  windowDigest,
} from '../../../../../schema/wire/content.ts'
import { limits } from '../../../../../schema/wire/limits.ts'
import type { StatusName } from '../../../../../schema/wire/status.ts'
import { commit } from '../../../../../server/metadata/operations/commit.ts'
import { getInode } from '../../../../../server/metadata/operations/get-inode.ts'
import { clusterStatus } from '../../../../../server/metadata/operations/cluster-status.ts'
import { heartbeat } from '../../../../../server/metadata/operations/heartbeat.ts'
import { plan } from '../../../../../server/metadata/operations/plan.ts'
import { readManifest } from '../../../../../server/metadata/operations/read-manifest.ts'
import { readWindows } from '../../../../../server/metadata/operations/read-windows.ts'
import { repairStatus } from '../../../../../server/metadata/operations/repair-status.ts'
import { reportChunk } from '../../../../../server/metadata/operations/report-chunk.ts'
import { unlink } from '../../../../../server/metadata/operations/unlink.ts'
import { counterNames } from '../../../../../server/metadata/store/counters.ts'
import { TICKET_LIFE_MS } from '../../../../../server/metadata/ticket-keys.ts'
import { commitOf, extent, type Change } from '../../../../support/commits.ts'
import { attributes, NO_BYTES, TestMetadata, token } from '../../../../support/metadata.ts'
import { checkStore } from '../../../../support/metadata-check.ts'

const metadata = await TestMetadata.open(t)
const { services } = metadata
const { user, session } = await metadata.user('ann')
const { root } = user
const WINDOW = limits.chunkBytesMax

const put = (inode: number, change: Change) => session.mutate(commit, commitOf(inode, change))
const windowsOf = (inode: number, first = 0, count = 64) =>
  session.query(readWindows, { inode, first, count })
const counter = (name: string): number => services.database.counters.get(name)

/** Waits for the background, a second at most. */
async function until(holds: () => boolean): Promise<boolean> {
  for (let i = 0; i < 100 && !holds(); i++) await new Promise((done) => setTimeout(done, 10))
  return holds()
}

const beat = (more: Partial<HeartbeatRequest> = {}): HeartbeatRequest => ({
  usedBytes: 0,
  freeBytes: 1e12,
  full: false,
  chunks: 0,
  load: 0,
  deleted: [],
  unconfirmed: [],
  damaged: [],
  ...more,
})

t.test('plans name distinct servers in two racks, and ids that never repeat', async (t) => {
  const { plans } = await session.query(plan, {
    count: 64,
    exclude: [],
    chunk: 0,
    ticket: NO_BYTES,
  })
  t.equal(new Set(plans.map(({ chunk }) => chunk)).size, 64)
  for (const { servers } of plans) {
    t.equal(servers.length, 2)
    t.equal(new Set(servers.map(({ rack }) => rack)).size, 2)
  }
  const [first] = plans
  if (first === undefined) return
  const { chunk, ticket, expires } = first
  const again = await session.query(plan, { count: 0, exclude: [2], chunk, ticket })
  t.match(again.plans, [{ chunk, expires }], 'a plan made anew keeps its id and its end')
  t.same(again.plans[0]?.servers.map(({ id }) => id).toSorted(), [1, 3], 'without the excluded one')
})

t.test('what was committed is read back, with tickets and addresses', async (t) => {
  const file = await session.make(root, 'read back')
  const chunk = await session.chunk(1_000)
  const extents = [extent(chunk.chunk, 0, 1_000)]
  const { inode } = await put(file, {
    size: 1_000,
    version: 2,
    windows: [{ index: 0, extents }],
    chunks: [chunk],
  })
  t.match(inode, { allocatedBytes: 1_000, attributes: { size: 1_000, version: 2 } })
  const read = await windowsOf(file)
  t.same(read.windows, [{ index: 0, extents, patch: NO_BYTES }])
  t.match(read.chunks, [{ chunk: chunk.chunk, length: 1_000, servers: chunk.servers }])
  t.equal(read.servers.length, 2)
  const [location] = read.chunks
  await session.query(reportChunk, {
    chunk: chunk.chunk,
    server: 1,
    reason: 'a test',
    ticket: location?.ticket ?? NO_BYTES,
  })
  await t.rejects(
    session.query(reportChunk, { chunk: 1, server: 1, reason: '', ticket: NO_BYTES }),
    { code: 'ticketInvalid' },
  )
})

t.test('overwriting releases a chunk when no window names it any more', async (t) => {
  const file = await session.make(root, 'overwrite')
  const [a, b, c] = [await session.chunk(100), await session.chunk(50), await session.chunk(50)]
  const chunks = counter(counterNames.chunks)
  await put(file, {
    size: 100,
    version: 2,
    windows: [{ index: 0, extents: [extent(a.chunk, 0, 100)] }],
    chunks: [a],
  })
  const half = [extent(a.chunk, 0, 50), extent(b.chunk, 50, 50)]
  await put(file, {
    size: 100,
    version: 3,
    windows: [{ index: 0, extents: [extent(b.chunk, 50, 50)], after: half }],
    chunks: [b],
  })
  t.equal(counter(counterNames.chunks), chunks + 2)
  const whole = [extent(c.chunk, 0, 50), extent(b.chunk, 50, 50)]
  await put(file, {
    size: 100,
    version: 4,
    windows: [{ index: 0, extents: [extent(c.chunk, 0, 50)], after: whole }],
    chunks: [c],
  })
  t.equal(counter(counterNames.chunks), chunks + 2, 'the first is gone')
  const ordered = new Set<number>()
  for (const server of a.servers) {
    for (const id of (await heartbeat(server, beat(), services)).deletes) ordered.add(id)
  }
  t.ok(ordered.has(a.chunk), 'and ordered to be deleted')
})

t.test('orders to delete are repeated until they are reported as carried out', async (t) => {
  const file = await session.make(root, 'orders')
  const chunk = await session.chunk(10)
  const [server = 0] = chunk.servers
  await put(file, {
    size: 10,
    version: 2,
    windows: [{ index: 0, extents: [extent(chunk.chunk, 0, 10)] }],
    chunks: [chunk],
  })
  const ordered = async (deleted: number[] = []): Promise<boolean> =>
    (await heartbeat(server, beat({ deleted }), services)).deletes.includes(chunk.chunk)
  const chunks = counter(counterNames.chunks)
  await session.mutate(unlink, { parent: root, token: token('orders'), directory: false })
  t.ok(await until(() => counter(counterNames.chunks) === chunks - 1))
  await services.database.settle()
  t.ok(await ordered())
  t.ok(await ordered(), 'again')
  t.notOk(await ordered([chunk.chunk]), 'until it was reported')
  t.notOk(await ordered([chunk.chunk]), 'and reporting twice does no harm')
})

t.test('a new chunk that no window names in the end is deleted at once', async (t) => {
  const file = await session.make(root, 'unnamed')
  const [a, b] = [await session.chunk(10), await session.chunk(10)]
  const extents = [extent(a.chunk, 0, 10), extent(b.chunk, 0, 10)]
  await put(file, {
    size: 10,
    version: 2,
    windows: [{ index: 0, extents, after: [extent(b.chunk, 0, 10)] }],
    chunks: [a, b],
  })
  const [server = 0] = a.servers
  t.ok((await heartbeat(server, beat(), services)).deletes.includes(a.chunk))
})

t.test(
  'a cut drops windows, keeps the rest, and agrees on the window it goes through',
  async (t) => {
    const file = await session.make(root, 'cut')
    const [a, b] = [await session.chunk(WINDOW), await session.chunk(WINDOW)]
    await put(file, {
      size: 2 * WINDOW,
      version: 2,
      windows: [
        { index: 0, extents: [extent(a.chunk, 0, WINDOW)] },
        { index: 1, extents: [extent(b.chunk, 0, WINDOW)] },
      ],
      chunks: [a, b],
    })
    await t.rejects(put(file, { size: 100, version: 3, truncateTo: 100 }), {
      code: 'invalidArgument',
    })
    await t.rejects(put(file, { size: 100, version: 3 }), { code: 'invalidArgument' })
    const kept = [extent(a.chunk, 0, 100)]
    const { inode } = await put(file, {
      size: 100,
      version: 3,
      truncateTo: 100,
      windows: [{ index: 0, extents: [], after: kept }],
    })
    t.equal(inode.allocatedBytes, 100)
    t.same((await windowsOf(file)).windows, [{ index: 0, extents: kept, patch: NO_BYTES }])
    const grown = await put(file, { size: 3 * WINDOW, version: 4 })
    t.equal(grown.inode.allocatedBytes, 100, 'growing leaves a hole')
    t.equal((await windowsOf(file)).windows.length, 1)
  },
)

t.test('cutting to nothing and writing anew in one commit leaves only the new', async (t) => {
  const file = await session.make(root, 'anew')
  const [a, b] = [await session.chunk(100), await session.chunk(10)]
  await put(file, {
    size: 100,
    version: 2,
    windows: [{ index: 0, extents: [extent(a.chunk, 0, 100)] }],
    chunks: [a],
  })
  const chunks = counter(counterNames.chunks)
  const { inode } = await put(file, {
    size: 10,
    version: 3,
    truncateTo: 0,
    windows: [{ index: 0, extents: [extent(b.chunk, 0, 10)] }],
    chunks: [b],
  })
  t.equal(inode.allocatedBytes, 10)
  t.ok(await until(() => counter(counterNames.chunks) === chunks), 'the old chunk goes')
})

t.test('inline content replaces windows, and windows replace it', async (t) => {
  const file = await session.make(root, 'inline')
  const [a, b] = [await session.chunk(100), await session.chunk(10)]
  await put(file, {
    size: 100,
    version: 2,
    windows: [{ index: 0, extents: [extent(a.chunk, 0, 100)] }],
    chunks: [a],
  })
  const inline = Buffer.from('sealed')
  const sealed = attributes(1, { size: 2, version: 3, contentDigest: inlineDigest(inline) })
  const small = await put(file, { size: 2, version: 3, more: { inline, attributes: sealed } })
  t.equal(small.inode.allocatedBytes, inline.length)
  t.same((await windowsOf(file)).windows, [])
  const large = await put(file, {
    size: 10,
    version: 4,
    windows: [{ index: 0, extents: [extent(b.chunk, 0, 10)] }],
    chunks: [b],
  })
  t.match(large.inode, { allocatedBytes: 10, inline: NO_BYTES })
})

t.test('a manifest lists the digests of all windows', async (t) => {
  const file = await session.make(root, 'manifest')
  const COUNT = 40
  const chunk = await session.chunk(COUNT)
  const windows = Array.from({ length: COUNT }, (_, i) => ({
    index: i * 2,
    extents: [extent(chunk.chunk, 0, 1, i)],
  }))
  await put(file, { size: WINDOW * COUNT * 2, version: 2, windows, chunks: [chunk] })
  const { bytes, windowCount } = await readManifest({ inode: file }, session.caller, services)
  t.equal(windowCount, COUNT)
  for (const [i, { index, extents }] of windows.entries()) {
    const at = i * MANIFEST_ENTRY_BYTES
    t.equal(bytes.readUInt32LE(at), index)
    t.same(bytes.subarray(at + 4, at + MANIFEST_ENTRY_BYTES), windowDigest(extents))
  }
  const one = await session.make(root, 'manifest of nothing')
  t.equal((await readManifest({ inode: one }, session.caller, services)).windowCount, 0)
  t.match(await put(file, { size: 1, version: 3, truncateTo: 1, windows: [] }), {
    inode: { allocatedBytes: 1 },
  })
})

t.test('refusals', async (t) => {
  const file = await session.make(root, 'refusals')
  const other = await session.make(root, 'other')
  const { user: bob, session: stranger } = await metadata.user('bob')
  const [a, foreign] = [await session.chunk(100), await stranger.chunk(100)]
  const taken = await session.chunk(100)
  await put(other, {
    size: 100,
    version: 2,
    windows: [{ index: 0, extents: [extent(taken.chunk, 0, 100)] }],
    chunks: [taken],
  })
  const one = (chunk: NewChunk, extents = [extent(chunk.chunk, 0, 100)]): Change => ({
    size: 100,
    version: 2,
    windows: [{ index: 0, extents }],
    chunks: [chunk],
  })
  const refusals: [string, StatusName, Change][] = [
    ['another version', 'versionConflict', { ...one(a), version: 3 }],
    [
      'another digest',
      'versionConflict',
      { ...one(a), windows: [{ index: 0, extents: [extent(a.chunk, 0, 100)], after: [] }] },
    ],
    ['a chunk of another file', 'invalidArgument', { ...one(taken), chunks: [] }],
    ['a chunk committed already', 'invalidArgument', one(taken)],
    ["somebody else's plan", 'ticketInvalid', one(foreign)],
    ['a forged ticket', 'ticketInvalid', one({ ...a, ticket: Buffer.alloc(64, 1) })],
    ['a chunk that was never planned', 'invalidArgument', { ...one(a, [extent(99_999, 0, 100)]) }],
    ['too few replicas', 'invalidArgument', one({ ...a, servers: [1] })],
    ['one replica twice', 'invalidArgument', one({ ...a, servers: [1, 1] })],
    ['a server that does not exist', 'invalidArgument', one({ ...a, servers: [1, 77] })],
    ["behind the chunk's end", 'invalidArgument', one(a, [extent(a.chunk, 0, 100, 1)])],
    ["behind the file's end", 'invalidArgument', { ...one(a), size: 99 }],
    ['an empty extent', 'invalidArgument', one(a, [extent(a.chunk, 0, 0)])],
    [
      'an extent that leaves its window',
      'invalidArgument',
      { ...one(a, [extent(a.chunk, WINDOW - 1, 2)]), size: 2 * WINDOW },
    ],
    [
      'windows out of order',
      'invalidArgument',
      {
        ...one(a),
        size: 9 * WINDOW,
        windows: [
          { index: 1, extents: [] },
          { index: 0, extents: [] },
        ],
      },
    ],
    [
      'a window behind the largest file',
      'invalidArgument',
      { ...one(a), windows: [{ index: 262_144, extents: [] }] },
    ],
    [
      'more extents than a window may have',
      'invalidArgument',
      one(
        a,
        Array.from({ length: limits.windowExtentsMax + 1 }, () => extent(a.chunk, 0, 100)),
      ),
    ],
    [
      'a patch that is too large',
      'invalidArgument',
      {
        size: 100,
        version: 2,
        windows: [{ index: 0, extents: [], patch: Buffer.alloc(limits.sealedPatchBytesMax + 1) }],
      },
    ],
    [
      'a patch that its digest does not name',
      'versionConflict',
      {
        size: 100,
        version: 2,
        more: {
          windows: [
            { index: 0, extents: [], patch: Buffer.of(1), digest: windowDigest([], Buffer.of(2)) },
          ],
        },
      },
    ],
    ['a chunk of no bytes', 'invalidArgument', one({ ...a, length: 0 })],
    ['a chunk named twice', 'invalidArgument', { ...one(a), chunks: [a, a] }],
    [
      'inline content and windows',
      'invalidArgument',
      { ...one(a), more: { inline: Buffer.from('x') } },
    ],
  ]
  for (const [what, code, change] of refusals) await t.rejects(put(file, change), { code }, what)
  await t.rejects(put(root, one(a)), { code: 'invalidArgument' }, 'content of a directory')
  await t.rejects(stranger.query(readWindows, { inode: file, first: 0, count: 1 }), {
    code: 'staleInode',
  })
  await t.rejects(windowsOf(file, 0, 65), { code: 'invalidArgument' })
  t.ok(bob.root > 0)
  t.equal(
    (await session.query(getInode, { inode: file, hold: false })).inode.attributes.version,
    1,
    'none of them changed anything',
  )
  await put(file, one(a))
})

t.test('a plan that has expired is refused, and only then is its chunk dead', async (t) => {
  const file = await session.make(root, 'expired')
  const [named, unnamed] = [await session.chunk(10), await session.chunk(10)]
  const [server = 0] = named.servers
  const change = (chunk: NewChunk, version: number): Change => ({
    size: 10,
    version,
    windows: [{ index: 0, extents: [extent(chunk.chunk, 0, 10)] }],
    chunks: [chunk],
  })
  await put(file, change(named, 2))
  const unconfirmed = [named.chunk, unnamed.chunk]
  const early = await heartbeat(server, beat({ unconfirmed }), services)
  t.same(early.confirmed, [named.chunk])
  t.notOk(early.deletes.includes(unnamed.chunk), 'its plan may still be committed')
  metadata.time.ms += 61_000
  await heartbeat(server, beat(), services)
  metadata.time.ms += TICKET_LIFE_MS + 1
  for (const id of [1, 2, 3]) await heartbeat(id, beat(), services)
  await t.rejects(put(file, change(unnamed, 3)), { code: 'planExpired' })
  const late = await heartbeat(server, beat({ unconfirmed }), services)
  t.same(late.confirmed, [named.chunk])
  t.ok(late.deletes.includes(unnamed.chunk))
  const elsewhere = [1, 2, 3].find((id) => !named.servers.includes(id)) ?? 0
  const extra = await heartbeat(elsewhere, beat({ unconfirmed: [named.chunk] }), services)
  t.ok(extra.deletes.includes(named.chunk), 'a replica that nobody counts on goes')
})

t.test('a damaged copy is not read and not deleted, and waits for its replacement', async (t) => {
  const file = await session.make(root, 'damaged')
  const chunk = await session.chunk(10)
  const [first = 0, second = 0] = chunk.servers
  await put(file, {
    size: 10,
    version: 2,
    windows: [{ index: 0, extents: [extent(chunk.chunk, 0, 10)] }],
    chunks: [chunk],
  })
  const damaged = [chunk.chunk]
  t.notOk((await heartbeat(first, beat({ damaged }), services)).deletes.includes(chunk.chunk))
  t.same((await windowsOf(file)).chunks[0]?.servers, [second])
  t.equal(counter(counterNames.repairs(1)), 1)
  t.notOk((await heartbeat(second, beat({ damaged }), services)).deletes.includes(chunk.chunk))
  t.same((await windowsOf(file)).chunks[0]?.servers, [first, second], 'both, for want of better')
  t.same([counter(counterNames.repairs(0)), counter(counterNames.repairs(1))], [1, 0])
  t.match(await repairStatus(services), { waiting: [1, 0], lostInodes: [file] })
  t.match(await clusterStatus(services), { underReplicated: 1, lostChunks: 1 })
  await session.mutate(unlink, { parent: root, token: token('damaged'), directory: false })
  t.ok(
    await until(() => counter(counterNames.repairs(0)) === 0),
    'with its file it leaves the queue',
  )
})

t.test('no plan without enough servers', async (t) => {
  const ask = { count: 1, exclude: [], chunk: 0, ticket: NO_BYTES }
  for (const id of [1, 2]) await heartbeat(id, beat({ full: true }), services)
  await t.rejects(session.query(plan, ask), { code: 'noSpace' })
  metadata.time.ms += 10_000
  await heartbeat(1, beat(), services)
  await t.rejects(session.query(plan, ask), { code: 'tooFewServers' })
})

t.test('afterwards everything that is kept twice agrees', async (t) => {
  await services.purger.stop()
  await services.database.settle()
  t.same(await checkStore(metadata.store), [])
})
