/**
 * Layers of changes against flat arrays: what a read sees, before and after each layer is committed.
 */
import * as fc from 'fast-check'
import t from 'tap'
import type { Extent } from '../../../../schema/generated/common.ts'
import { limits } from '../../../../schema/wire/limits.ts'
import { overlay } from '../../../../schema/wire/extents.ts'
import {
  ChangeStack,
  extentsAfter,
  mtimeOf,
  sizeAfter,
} from '../../../../mount/vfs/change-stack.ts'
import type { PendingChunk } from '../../../../mount/vfs/pending-chunk.ts'

const WINDOW = limits.chunkBytesMax
/** Two windows are looked at, a hundred bytes on each side of their border. */
const BASE = WINDOW - 100
const SPAN = 200

function chunk(id: number): PendingChunk {
  return { id, closed: true, outcome: undefined, openBlock: () => undefined }
}

type Step =
  | { kind: 'write'; from: number; length: number }
  | { kind: 'resize'; from: number }
  | { kind: 'freeze' }
  | { kind: 'commit' }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      from: fc.integer({ min: 0, max: SPAN - 1 }),
      length: fc.integer({ min: 1, max: 60 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('resize' as const),
      from: fc.integer({ min: 0, max: SPAN }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('freeze' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('commit' as const) }) },
)

/** For each byte the chunk that holds it, 0 for none; and the size. */
class Flat {
  readonly chunks = Array.from({ length: SPAN }, () => 0)
  size = 0

  write(from: number, to: number, id: number): void {
    this.chunks.fill(id, from, to)
    this.size = Math.max(this.size, BASE + to)
  }

  resize(to: number): void {
    this.chunks.fill(0, to)
    this.size = BASE + to
  }
}

function seen(stack: ChangeStack, base: Map<number, readonly Extent[]>): number[] {
  const found = Array.from({ length: SPAN }, () => 0)
  for (const window of [0, 1]) {
    const below = stack.hidesBase(window) ? [] : (base.get(window) ?? [])
    for (const { chunk: id, offset, length } of stack.visible(window, below)) {
      const start = window * WINDOW + offset - BASE
      found.fill(id, Math.max(0, start), start + length)
    }
  }
  return found
}

t.test('reads see every change at once, and a commit changes nothing they see', async (t) => {
  const law = fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
    const stack = new ChangeStack()
    const flat = new Flat()
    const base = new Map<number, readonly Extent[]>()
    let baseSize = 0
    let nextChunk = 1
    for (const change of steps) {
      if (change.kind === 'freeze') stack.freeze()
      if (change.kind === 'resize') {
        stack.resize(BASE + change.from, 1)
        flat.resize(change.from)
      }
      if (change.kind === 'write') {
        const to = Math.min(SPAN, change.from + change.length)
        const id = nextChunk++
        for (const [from, end] of split(change.from, to)) {
          stack.addExtent(BASE + from, end - from, chunk(id), from, 1)
        }
        stack.wrote(BASE + to, 1)
        flat.write(change.from, to, id)
      }
      const layer = change.kind === 'commit' ? stack.oldest : undefined
      if (layer !== undefined) {
        for (const window of [0, 1]) {
          base.set(window, extentsAfter(layer, window, base.get(window) ?? []))
        }
        baseSize = sizeAfter(layer, baseSize)
        stack.dropOldest()
      }
      if (stack.sizeOver(baseSize) !== flat.size) return false
      if (!same(seen(stack, base), flat.chunks)) return false
      // Once more without the cache of folded windows.
      stack.forgetVisible()
      if (!same(seen(stack, base), flat.chunks)) return false
    }
    return true
  })
  t.doesNotThrow(() => fc.assert(law, { numRuns: 300 }))
})

function split(from: number, to: number): [number, number][] {
  return from < 100 && to > 100
    ? [
        [from, 100],
        [100, to],
      ]
    : [[from, to]]
}

function same(a: readonly number[], b: readonly number[]): boolean {
  return a.every((value, index) => value === b[index])
}

t.test('extents of a layer are normalised as the contract says', async (t) => {
  const stack = new ChangeStack()
  const one = chunk(1)
  stack.addExtent(0, 10, one, 0, 1)
  stack.addExtent(10, 10, one, 10, 1)
  stack.addExtent(40, 5, one, 20, 1)
  stack.addExtent(5, 2, chunk(2), 0, 1)
  const extents = stack.current.extents.get(0) ?? []
  t.same(extents, overlay([], extents))
  t.equal(extents.length, 4)
})

t.test('what failed to be stored is taken out, and what was below shows again', async (t) => {
  const stack = new ChangeStack()
  stack.addExtent(0, 10, chunk(1), 0, 1)
  stack.freeze()
  stack.addExtent(5, 10, chunk(2), 0, 1)
  stack.dropChunk(2)
  t.same(stack.visible(0, []), [{ chunk: 1, offset: 0, length: 10, chunkOffset: 0 }])
  t.equal(stack.pendingChunk(2), undefined)
  t.ok(stack.pendingChunk(1))
})

t.test('inline content replaces all below it and is cut like anything else', async (t) => {
  const stack = new ChangeStack()
  t.equal(stack.visibleInline(Buffer.from('hello')).length, 5)
  stack.resize(3, 1)
  t.equal(stack.visibleInline(Buffer.from('hello')).length, 3)
  stack.freezeInline(Buffer.from('abcd'))
  t.equal(Buffer.from(stack.visibleInline(Buffer.from('hello')).bytes).toString(), 'abcd')
  t.equal(stack.sizeOver(5), 4)
  t.ok(stack.hidesBase(0))
  stack.resize(2, 1)
  t.equal(stack.visibleInline(Buffer.alloc(0)).length, 2)
})

t.test('an mtime that was set wins over writes before it, and loses to those after', async (t) => {
  const stack = new ChangeStack()
  stack.wrote(10, 5)
  t.equal(stack.mtime, 5_000_000n)
  stack.setMtime(77n)
  t.equal(stack.mtime, 77n)
  t.equal(mtimeOf(stack.current), 77n)
  stack.wrote(10, 9)
  t.equal(stack.mtime, 9_000_000n)
})

t.test('a file ends where ends what of it could be kept', async (t) => {
  const stack = new ChangeStack()
  stack.wrote(60, 1)
  stack.addExtent(0, 60, chunk(1), 0, 1)
  stack.wrote(100, 2)
  t.equal(stack.sizeOver(0), 100)
  stack.loseUnsent()
  t.equal(stack.sizeOver(0), 60, 'what was in no chunk is lost')
  t.equal(stack.sizeOver(80), 80, 'what was there before is not')
  stack.resize(500, 3)
  stack.wrote(800, 4)
  stack.loseUnsent()
  t.equal(stack.sizeOver(0), 500, 'a size that was set stays')

  const chunks = new ChangeStack()
  for (const id of [1, 2]) {
    chunks.addExtent((id - 1) * 60, 60, chunk(id), 0, 1)
    chunks.wrote(id * 60, 1)
  }
  chunks.freeze()
  chunks.wrote(30, 2)
  chunks.dropChunk(2)
  t.equal(chunks.sizeOver(0), 60, 'a chunk that could not be stored')
  t.equal(chunks.sizeOver(100), 100)
})
