/**
 * Repair at the metadata server, on a real store: who is lost, what is queued, copied, given up. The
 * chunkservers are answers of the test.
 */
import t, { type Test } from 'tap'
import type { CopyChunkResponse } from '../../../../../schema/generated/cluster.ts'
import { methods } from '../../../../../schema/methods.ts'
import type { Connection } from '../../../../../schema/rpc/api.ts'
import { NO_PATCH, windowDigest } from '../../../../../schema/wire/content.ts'
import { DfsError, STATUS } from '../../../../../schema/wire/status.ts'
import { clusterStatus } from '../../../../../server/metadata/operations/cluster-status.ts'
import { commit } from '../../../../../server/metadata/operations/commit.ts'
import {
  drainServer,
  removeServer,
} from '../../../../../server/metadata/operations/decommission.ts'
import { heartbeat } from '../../../../../server/metadata/operations/heartbeat.ts'
import { registerServer } from '../../../../../server/metadata/operations/register-server.ts'
import { reportChunk } from '../../../../../server/metadata/operations/report-chunk.ts'
import { readWindows } from '../../../../../server/metadata/operations/read-windows.ts'
import { revokeServer } from '../../../../../server/metadata/operations/revoke-server.ts'
import { unlink } from '../../../../../server/metadata/operations/unlink.ts'
import { LOST_AFTER_MS } from '../../../../../server/metadata/repair/repairs.ts'
import { orderDelete } from '../../../../../server/metadata/chunk-references.ts'
import type { Services } from '../../../../../server/metadata/services.ts'
import { counterNames } from '../../../../../server/metadata/store/counters.ts'
import { keys } from '../../../../../server/metadata/store/keys.ts'
import { tables } from '../../../../../server/metadata/store/tables.ts'
import { TICKET_LIFE_MS } from '../../../../../server/metadata/ticket-keys.ts'
import { MemoryDisk } from '../../../../support/memory-store.ts'
import { checkStore } from '../../../../support/metadata-check.ts'
import {
  attributes,
  connection,
  NO_BYTES,
  TestMetadata,
  token,
  type TestSession,
} from '../../../../support/metadata.ts'

const SECOND_MS = 1_000

/** Three chunkservers in two racks that answer what the test says. */
class Cluster {
  readonly metadata: TestMetadata
  readonly session: TestSession
  readonly root: number
  readonly copies: { chunk: number; source: number; target: number }[] = []
  /** What each server has not got, when it is asked. */
  readonly missing = new Map<number, Set<number>>()
  onCopy: (target: number, chunk: number) => Promise<CopyChunkResponse> = async () => ({
    sealedBytes: 10,
    sourceStatus: 0,
    detail: '',
  })

  private constructor(metadata: TestMetadata, session: TestSession, root: number) {
    this.metadata = metadata
    this.session = session
    this.root = root
  }

  static async open(t: Test, dir = t.testdir()): Promise<Cluster> {
    return Cluster.on(t, await TestMetadata.open(t, dir))
  }

  static async on(t: Test, metadata: TestMetadata, name = 'ann'): Promise<Cluster> {
    const { user, session } = await metadata.user(name)
    const cluster = new Cluster(metadata, session, user.root)
    for (const server of [1, 2, 3]) cluster.connect(server)
    t.teardown(async () => metadata.services.repairs.stop())
    return cluster
  }

  connect(server: number): Connection & { end(): void } {
    const link = connection()
    link.call = (async (method: { name: string }, request: unknown) => {
      if (method.name === methods.copyChunk.name) {
        const { chunk, source } = request as { chunk: number; source: { id: number } }
        this.copies.push({ chunk, source: source.id, target: server })
        return this.onCopy(server, chunk)
      }
      const { chunks } = request as { chunks: number[] }
      return { bad: chunks.filter((chunk) => this.missing.get(server)?.has(chunk) === true) }
    }) as Connection['call']
    this.metadata.services.links.add(server, link)
    return link
  }

  /** A file with one chunk. */
  async file(name: string, servers?: number[]): Promise<{ inode: number; chunk: number }> {
    const inode = await this.session.make(this.root, name)
    const planned = await this.session.chunk(10)
    const chunk = { ...planned, servers: servers ?? planned.servers }
    const extents = [{ chunk: chunk.chunk, offset: 0, length: 10, chunkOffset: 0 }]
    await this.session.mutate(commit, {
      inode,
      attributes: attributes(1, { size: 10, version: 2 }),
      truncates: false,
      truncateTo: 0,
      windows: [{ index: 0, extents, digest: windowDigest(extents), patch: NO_PATCH }],
      chunks: [chunk],
      inline: NO_BYTES,
    })
    return { inode, chunk: chunk.chunk }
  }

  /** Time passes; those named are heard all the while. */
  async pass(ms: number, ...heard: number[]): Promise<void> {
    const { services, time } = this.metadata
    // In steps that do not look as if this server had slept.
    for (let left = ms; left > 0; left -= 4 * SECOND_MS) {
      time.ms += Math.min(left, 4 * SECOND_MS)
      for (const server of heard) services.topology.heartbeat(server, beat())
      await services.repairs.tick()
    }
  }

  async register(server: number, store: Uint8Array = Buffer.of(server)): Promise<void> {
    const state = this.metadata.services.topology.get(server)
    const { rack = '', addresses = [] } = state?.record ?? {}
    const space = { totalBytes: 1e12, freeBytes: 1e12, chunks: 0 }
    const epoch = { epoch: 0, epochProof: NO_BYTES }
    const request = { rack, addresses, ...space, ...epoch, store }
    await registerServer(server, request, this.metadata.services)
  }

  async places(chunk: number): Promise<number[] | undefined> {
    const { database } = this.metadata.services
    const record = await database.read((txn) => txn.get(tables.chunks, keys.chunk(chunk)))
    return record?.servers.toSorted()
  }

  async orders(server: number, chunk: number): Promise<boolean> {
    const { deletes } = await heartbeat(server, beat(), this.metadata.services)
    return deletes.includes(chunk)
  }

  waiting(left: number): number {
    return this.metadata.services.database.counters.get(counterNames.repairs(left))
  }

  async consistent(t: Test): Promise<void> {
    await this.metadata.services.database.settle()
    t.same(await checkStore(this.metadata.store), [])
  }
}

function orderDeletion({ database }: Services, server: number, chunk: number): Promise<void> {
  return database.write({}, (txn) => orderDelete(txn, server, chunk))
}

const beat = () => ({
  usedBytes: 0,
  freeBytes: 1e12,
  full: false,
  chunks: 0,
  load: 0,
  deleted: [] as number[],
  unconfirmed: [] as number[],
  damaged: [] as number[],
})

async function until(holds: () => boolean | Promise<boolean>): Promise<boolean> {
  for (let i = 0; i < 300; i++) {
    if (await holds()) return true
    await new Promise((done) => setTimeout(done, 10))
  }
  return false
}

const same = (a: number[] | undefined, b: number[]): boolean => String(a) === String(b)

t.test(
  'a silent server is waited for; a lost one is replaced, and trimmed when back',
  async (t) => {
    const cluster = await Cluster.open(t)
    const { services } = cluster.metadata
    const { chunk, inode } = await cluster.file('f', [1, 2])
    services.repairs.start()
    await cluster.pass(2 * LOST_AFTER_MS)
    t.match((await clusterStatus(services)).servers[1], { state: 'silent' }, 'nobody is heard')
    await cluster.pass(LOST_AFTER_MS - 10 * SECOND_MS, 1, 3)
    t.match((await clusterStatus(services)).servers[1], { state: 'silent' })
    t.same([cluster.waiting(1), cluster.copies], [0, []], 'nothing is copied yet')
    await cluster.pass(20 * SECOND_MS, 1, 3)
    t.match((await clusterStatus(services)).servers[1], { state: 'lost' })
    t.ok(await until(async () => same(await cluster.places(chunk), [1, 2, 3])))
    t.same(cluster.copies, [{ chunk, source: 1, target: 3 }])
    const read = await cluster.session.query(readWindows, { inode, first: 0, count: 1 })
    t.same(read.chunks[0]?.servers, [1, 3], 'readers are not sent to the lost one')
    await cluster.consistent(t)

    await cluster.register(2)
    t.ok(await until(async () => (await cluster.places(chunk))?.length === 2))
    const places = (await cluster.places(chunk)) ?? []
    t.ok(places.includes(2), 'the only one in its rack stays')
    const [given = 0] = [1, 2, 3].filter((server) => !places.includes(server))
    t.ok(await cluster.orders(given, chunk), 'and the superfluous replica is deleted')
    await cluster.consistent(t)
  },
)

t.test('a server that comes back without its chunks is filled again', async (t) => {
  const cluster = await Cluster.open(t)
  const { services } = cluster.metadata
  const { chunk } = await cluster.file('f', [1, 2])
  cluster.missing.set(2, new Set([chunk]))
  cluster.onCopy = async (target) => {
    cluster.missing.get(target)?.clear()
    return { sealedBytes: 10, sourceStatus: 0, detail: '' }
  }
  services.repairs.start()
  await cluster.register(2)
  await new Promise((done) => setTimeout(done, 50))
  t.same(cluster.copies, [], 'with its old store it is believed')
  await cluster.register(2, Buffer.from('a new disk'))
  t.ok(await until(() => cluster.copies.length > 0))
  t.same(cluster.copies, [{ chunk, source: 1, target: 2 }], 'the rack counts, so in place')
  t.ok(await until(() => cluster.waiting(1) === 0))
  t.same(await cluster.places(chunk), [1, 2])
  t.ok(
    await until(async () => {
      const { database } = services
      const record = await database.read((txn) => txn.get(tables.servers, keys.server(2)))
      return Buffer.from(record?.store ?? []).toString() === 'a new disk'
    }),
    'and is trusted then',
  )
  await cluster.consistent(t)
})

t.test(
  'a lost server is still lost after a restart, and its chunks are still queued',
  async (t) => {
    const dir = t.testdir()
    const cluster = await Cluster.open(t, dir)
    const { chunk } = await cluster.file('f', [1, 2])
    await cluster.pass(LOST_AFTER_MS + 20 * SECOND_MS, 1)
    t.ok(await until(() => cluster.waiting(1) === 1))
    await cluster.metadata.services.repairs.stop()
    await cluster.metadata.close()
    const again = await TestMetadata.reopen(dir)
    t.teardown(() => again.close())
    t.match((await clusterStatus(again.services)).servers, [
      { state: 'silent' },
      { state: 'lost' },
      { state: 'lost' },
    ])
    t.equal(again.services.database.counters.get(counterNames.repairs(1)), 1)
    t.ok(chunk > 0)
    await again.services.database.settle()
    t.same(await checkStore(again.store), [])
  },
)

t.test('a chunk that is deleted while it is copied leaves nothing', async (t) => {
  const cluster = await Cluster.open(t)
  const { services } = cluster.metadata
  const { chunk } = await cluster.file('gone', [1, 2])
  cluster.onCopy = async () => {
    const name = { parent: cluster.root, token: token('gone'), directory: false }
    await cluster.session.mutate(unlink, name)
    await until(async () => (await cluster.places(chunk)) === undefined)
    return { sealedBytes: 10, sourceStatus: 0, detail: '' }
  }
  services.repairs.start()
  await cluster.pass(LOST_AFTER_MS + 20 * SECOND_MS, 1, 3)
  t.ok(await until(() => cluster.copies.length > 0))
  t.ok(await until(async () => cluster.orders(3, chunk)), 'the fresh copy is deleted')
  t.equal(cluster.waiting(1), 0)
  await cluster.consistent(t)
})

t.test('a copy whose answer is lost is deleted before another is made there', async (t) => {
  const cluster = await Cluster.open(t)
  const { services } = cluster.metadata
  const { chunk } = await cluster.file('f', [1, 2])
  let answers = 0
  cluster.onCopy = async () => {
    if (answers++ === 0) throw new DfsError('connectionLost', 'the answer was lost')
    return { sealedBytes: 10, sourceStatus: 0, detail: '' }
  }
  services.repairs.start()
  await cluster.pass(LOST_AFTER_MS + 20 * SECOND_MS, 1, 3)
  t.ok(await until(async () => cluster.orders(3, chunk)))
  await cluster.pass(60 * SECOND_MS, 1, 3)
  t.equal(cluster.copies.length, 1, 'not while the order waits')
  await heartbeat(3, { ...beat(), deleted: [chunk] }, services)
  // Past its back-off, and with nobody shut out any more.
  const made = await until(async () => {
    await cluster.pass(600 * SECOND_MS, 1, 3)
    return same(await cluster.places(chunk), [1, 2, 3])
  })
  t.ok(made)
  t.notOk(await cluster.orders(3, chunk))
  await cluster.consistent(t)
})

t.test('a source that turns out bad is checked, counted out, and another is taken', async (t) => {
  const cluster = await Cluster.open(t)
  const { services } = cluster.metadata
  const { chunk } = await cluster.file('f', [1, 2, 3])
  await services.repairs.damaged(3, [chunk])
  t.equal(cluster.waiting(2), 0, 'two good ones are enough')
  t.same(await cluster.places(chunk), [1, 2], 'and the damaged one goes')
  cluster.missing.set(1, new Set([chunk]))
  const [one] = (
    await cluster.session.query(readWindows, {
      inode: (await cluster.file('other', [1, 2])).inode,
      first: 0,
      count: 1,
    })
  ).chunks
  const report = { server: 1, reason: 'cannot read it', ticket: one?.ticket ?? NO_BYTES }
  await cluster.session.query(reportChunk, { ...report, chunk: one?.chunk ?? 0 })
  await new Promise((done) => setTimeout(done, 50))
  t.equal(cluster.waiting(1), 0, 'a report alone counts for nothing')
  cluster.onCopy = async () => ({
    sealedBytes: 0,
    sourceStatus: STATUS.chunkCorrupt.wire,
    detail: 'bad',
  })
  services.repairs.start()
  await services.repairs.damaged(2, [chunk])
  t.ok(await until(() => cluster.waiting(0) === 1), 'the last source was read, and found bad')
  t.same(cluster.copies[0], { chunk, source: 1, target: 2 })
})

t.test('a server is drained and removed, one that is revoked is replaced', async (t) => {
  const cluster = await Cluster.open(t)
  const { services } = cluster.metadata
  const { chunk } = await cluster.file('f', [1, 2])
  services.repairs.start()
  await t.rejects(removeServer({ server: 1 }, services), { code: 'notPermitted' })
  await drainServer({ server: 1, drain: true }, services)
  t.ok(await until(async () => same(await cluster.places(chunk), [2, 3])))
  t.same(cluster.copies.length, 1)
  t.ok(await cluster.orders(1, chunk))
  t.ok(await until(async () => (await clusterStatus(services)).servers[0]?.state === 'drained'))
  for (let i = 0; i < 20; i++) t.notOk((await cluster.session.chunk(1)).servers.includes(1))
  await t.rejects(removeServer({ server: 1 }, services), { message: /stop it first/ })
  await cluster.pass(20 * SECOND_MS, 2, 3)
  await removeServer({ server: 1 }, services)
  t.same(
    (await clusterStatus(services)).servers.map(({ id }) => id),
    [2, 3],
  )
  await revokeServer({ server: 2, force: false }, services)
  t.ok(await until(() => cluster.waiting(1) === 1))
  await t.rejects(removeServer({ server: 2 }, services), { message: /not everywhere else/ })
  await cluster.consistent(t)
})

t.test('a copy that no record knows is taken where one is lacking, and only there', async (t) => {
  const cluster = await Cluster.open(t)
  const { services } = cluster.metadata
  const { chunk } = await cluster.file('f', [1, 2])
  const tell = async (more: Partial<ReturnType<typeof beat>> = {}): Promise<number[]> => {
    const { confirmed } = await heartbeat(3, { ...beat(), unconfirmed: [chunk], ...more }, services)
    return confirmed
  }
  t.same(await tell(), [], 'there are enough')
  await cluster.pass(LOST_AFTER_MS + 20 * SECOND_MS, 1, 3)
  t.ok(await until(() => cluster.waiting(1) === 1))
  t.same(await tell({ damaged: [chunk] }), [], 'not one that is damaged')
  t.notOk(await cluster.orders(3, chunk))
  await orderDeletion(services, 3, chunk)
  t.same(await tell(), [], 'nor one that is going')
  await tell({ deleted: [chunk], unconfirmed: [] })
  t.same(await tell(), [chunk])
  t.same(await cluster.places(chunk), [1, 2, 3])
  t.equal(cluster.waiting(1), 0)
  await cluster.consistent(t)
})

t.test('a copy that no record knows goes only when enough others are sure', async (t) => {
  const cluster = await Cluster.open(t)
  const { services, time } = cluster.metadata
  const { chunk } = await cluster.file('f', [1, 2])
  const ask = async (): Promise<boolean> => {
    const { deletes } = await heartbeat(3, { ...beat(), unconfirmed: [chunk] }, services)
    return deletes.includes(chunk)
  }
  time.ms += 61 * SECOND_MS
  await ask()
  time.ms += 2 * TICKET_LIFE_MS
  for (const server of [1, 2]) services.topology.heartbeat(server, beat())
  const second = services.topology.get(2)
  if (second !== undefined) second.inventoried = false
  t.notOk(await ask(), 'nobody has asked the second one what it has')
  if (second !== undefined) second.inventoried = true
  await ask()
  await services.database.settle()
  t.ok(await ask())
  await cluster.consistent(t)
})

t.test('a superseded server begins nothing any more, and comes to an end', async (t) => {
  const cluster = await Cluster.open(t)
  const { services } = cluster.metadata
  await cluster.file('f', [1, 2])
  services.repairs.start()
  await services.database.supersede(9)
  await cluster.pass(LOST_AFTER_MS + 20 * SECOND_MS, 1, 3)
  services.repairs.standingChanged(2)
  await services.repairs.stop()
  t.same(cluster.copies, [])
  t.not(services.topology.get(2)?.record.lost, true, 'nor does it decide who is lost')
})

t.test('a damaged mark or record holds up neither heartbeats nor repair', async (t) => {
  const disk = new MemoryDisk()
  const before = await TestMetadata.on(disk.open())
  await before.addServers()
  const first = await Cluster.on(t, before)
  const { chunk } = await first.file('f', [1, 2])
  const { chunk: other } = await first.file('g', [1, 2])
  await orderDeletion(first.metadata.services, 3, chunk)
  await first.metadata.services.repairs.stop()
  await first.metadata.close()
  disk.damage([keys.serverChunk(2, chunk), keys.delete(3, chunk), keys.chunk(other)])
  const after = await TestMetadata.on(disk.open())
  t.teardown(() => after.close())
  after.registerServers()
  const cluster = await Cluster.on(t, after, 'bob')
  await cluster.pass(LOST_AFTER_MS + 20 * SECOND_MS, 1, 3)
  t.ok(await until(() => cluster.waiting(1) === 1), 'the chunk with a damaged mark is queued')
  t.ok(await cluster.orders(3, chunk))
  const unconfirmed = [chunk, other]
  const { confirmed } = await heartbeat(3, { ...beat(), unconfirmed }, cluster.metadata.services)
  t.same(confirmed, [])
})

t.test('what was written with fewer replicas than wanted is completed', async (t) => {
  const cluster = await Cluster.open(t)
  const { services } = cluster.metadata
  const policy = services.policy as { writeQuorum: number }
  policy.writeQuorum = 1
  const { chunk } = await cluster.file('f', [1])
  t.equal(cluster.waiting(1), 1)
  services.repairs.start()
  t.ok(await until(async () => same(await cluster.places(chunk), [1, 2])), 'in the other rack')
  await cluster.consistent(t)
})
