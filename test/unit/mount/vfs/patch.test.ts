/**
 * Patches against a flat array of bytes, and the plain form that is sealed.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import t from 'tap'
import type { Extent } from '../../../../schema/generated/common.ts'
import { windowDigest } from '../../../../schema/wire/content.ts'
import { overlay, truncate } from '../../../../schema/wire/extents.ts'
import { limits } from '../../../../schema/wire/limits.ts'
import { InodeKey } from '../../../../mount/crypto/inode-key.ts'
import { Patch, patchAfter, patchBytes } from '../../../../mount/vfs/patch.ts'
import { repository } from '../../../support/cluster.ts'

interface Vectors {
  secret: string
  patch: {
    window: number
    runs: [number, string][]
    sealed: string
    extents: Extent[]
    digest: string
  }
}

const WINDOW = 300
const key = InodeKey.generate()

/** A layer: cuts, then lays runs of its own patch and extents of chunks over the window. */
const layer = fc.record({
  cut: fc.option(fc.nat(WINDOW)),
  runs: fc.array(
    fc.record({
      offset: fc.nat(WINDOW - 1),
      length: fc.integer({ min: 1, max: 60 }),
      own: fc.boolean(),
    }),
    { maxLength: 6 },
  ),
})

function bytesAt(patch: Patch | undefined): (number | undefined)[] {
  const bytes: (number | undefined)[] = Array.from({ length: WINDOW })
  for (const extent of patch?.extents ?? []) {
    for (const [index, byte] of patch?.bytesOf(extent).entries() ?? []) {
      bytes[extent.offset + index] = byte
    }
  }
  return bytes
}

t.test(
  'a patch after layers has the bytes of a flat array, and survives its sealing',
  async (t) => {
    const law = fc.property(fc.array(layer, { maxLength: 8 }), (layers) => {
      let patch: Patch | undefined
      const model: (number | undefined)[] = Array.from({ length: WINDOW })
      for (const [number, { cut, runs }] of layers.entries()) {
        const bytes = Buffer.from(
          Array.from({ length: WINDOW }, (_, at) => (number * 31 + at) & 0xff),
        )
        const own = Patch.ofBytes(bytes)
        let added: Extent[] = []
        if (cut !== null) model.fill(undefined, cut)
        for (const run of runs) {
          const length = Math.min(run.length, WINDOW - run.offset)
          const chunk = run.own ? own.id : 1
          added = overlay(added, [{ chunk, offset: run.offset, length, chunkOffset: run.offset }])
          for (let at = run.offset; at < run.offset + length; at++) {
            model[at] = run.own ? bytes[at] : undefined
          }
        }
        patch = patchAfter(patch, cut ?? Infinity, added, own)
        t.same(bytesAt(patch), model)
        if (patch === undefined) continue
        t.ok(patch.plainBytes <= patchBytes(WINDOW, WINDOW))
        patch = Patch.open(key, 7, patch.seal(key, 7))
        t.same(bytesAt(patch), model)
      }
    })
    fc.assert(law)
  },
)

t.test('reads find a patch by its extents, which no chunk of a server can be', async (t) => {
  const patch = Patch.open(
    key,
    0,
    sealed(0, [
      [10, 'abc'],
      [20, 'de'],
    ]),
  )
  t.ok(patch !== undefined && patch.id < 0)
  t.same(patch?.extents, [
    { chunk: patch?.id, offset: 10, length: 3, chunkOffset: 0 },
    { chunk: patch?.id, offset: 20, length: 2, chunkOffset: 3 },
  ])
  t.equal(Buffer.from(patch?.openBlock(0) ?? []).toString(), 'abcde')
  t.equal(patch?.openBlock(1), undefined)
  const other = Patch.open(key, 0, sealed(0, [[10, 'abc']]))
  t.not(other?.id, patch?.id)
})

t.test('patches of format version 1 open, and so does their digest', async (t) => {
  const path = join(repository, 'test/fixtures/format/v1/vectors.json')
  const { secret, patch } = JSON.parse(readFileSync(path, 'utf8')) as Vectors
  const owner = new InodeKey(Buffer.from(secret, 'hex'))
  const box = Buffer.from(patch.sealed, 'hex')
  const opened = Patch.open(owner, patch.window, box)
  t.same(
    opened?.extents.map((run) => [run.offset, opened.bytesOf(run).toString()]),
    patch.runs,
  )
  t.equal(Buffer.from(windowDigest(patch.extents, box)).toString('hex'), patch.digest)
})

t.test('none is none', async (t) => {
  t.equal(Patch.open(key, 0, new Uint8Array(0)), undefined)
  t.equal(patchAfter(undefined, Infinity, [], undefined), undefined)
  const patch = Patch.open(key, 0, sealed(0, [[10, 'abc']]))
  t.equal(patchAfter(patch, 10, [], undefined), undefined)
  const over = [{ chunk: 5, offset: 0, length: 100, chunkOffset: 0 }]
  t.equal(patchAfter(patch, Infinity, over, undefined), undefined)
  t.same(truncate(patch?.extents ?? [], 11).length, 1)
})

t.test('what is no list of runs, or of another window or file, is refused', async (t) => {
  const run = (offset: number, length: number): Buffer => {
    const bytes = Buffer.alloc(8)
    bytes.writeUInt32LE(offset)
    bytes.writeUInt32LE(length, 4)
    return bytes
  }
  const two = Buffer.of(2, 0)
  const malformed: [string, Buffer][] = [
    ['nothing', Buffer.alloc(0)],
    ['no runs', Buffer.of(0, 0)],
    ['more runs than bytes', Buffer.of(1, 0, 1)],
    ['an empty run', Buffer.concat([Buffer.of(1, 0), run(5, 0)])],
    ['bytes missing', Buffer.concat([Buffer.of(1, 0), run(5, 3), Buffer.from('ab')])],
    ['bytes left over', Buffer.concat([Buffer.of(1, 0), run(5, 1), Buffer.from('ab')])],
    ['runs that overlap', Buffer.concat([two, run(5, 2), run(6, 1), Buffer.from('abc')])],
    ['runs out of order', Buffer.concat([two, run(9, 1), run(1, 1), Buffer.from('ab')])],
    [
      'a run behind the window',
      Buffer.concat([Buffer.of(1, 0), run(limits.chunkBytesMax - 1, 2), Buffer.from('ab')]),
    ],
  ]
  for (const [what, plain] of malformed) {
    t.throws(() => Patch.open(key, 3, key.sealPatch(3, plain)), { code: 'notAuthentic' }, what)
  }
  const good = sealed(3, [[1, 'x']])
  t.throws(() => Patch.open(key, 4, good), { code: 'notAuthentic' })
  t.throws(() => Patch.open(InodeKey.generate(), 3, good), { code: 'notAuthentic' })
})

function sealed(window: number, runs: readonly (readonly [number, string])[]): Buffer {
  const bytes = Buffer.from(runs.map(([, text]) => text).join(''))
  const from = Patch.ofBytes(bytes)
  let at = 0
  const extents = runs.map(([offset, { length }]) => {
    at += length
    return { chunk: from.id, offset, length, chunkOffset: at - length }
  })
  const patch = Patch.of(extents, [from])
  return patch?.seal(key, window) ?? Buffer.alloc(0)
}
