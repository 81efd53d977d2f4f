/**
 * The buffer of written bytes against a flat array of bytes and flags.
 */
import * as fc from 'fast-check'
import t from 'tap'
import { DirtyRanges, SEGMENT_BYTES, type Segment } from '../../../../mount/vfs/dirty-ranges.ts'
import { limits } from '../../../../schema/wire/limits.ts'

/** Around the end of the first window, so that segments meet its border. */
const BASE = limits.chunkBytesMax - 150_000
const SPAN = 300_000

type Step =
  | { kind: 'write' | 'fill'; position: number; length: number; value: number }
  | { kind: 'truncate'; position: number }
  | { kind: 'takeFirst' }

const position = fc.integer({ min: 0, max: SPAN - 1 })
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constantFrom('write' as const, 'fill' as const),
    position,
    length: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 140_000 })),
    value: fc.integer({ min: 1, max: 255 }),
  }),
  fc.record({ kind: fc.constant('truncate' as const), position }),
  fc.record({ kind: fc.constant('takeFirst' as const) }),
)

class Flat {
  readonly bytes = Buffer.alloc(SPAN)
  readonly dirty = new Uint8Array(SPAN)

  apply(change: Step, first: Segment | undefined): void {
    if (change.kind === 'truncate') return this.#clear(change.position, SPAN)
    if (change.kind === 'takeFirst') {
      if (first === undefined) return undefined
      return this.#clear(first.offset - BASE, first.offset - BASE + first.length)
    }
    const end = Math.min(SPAN, change.position + change.length)
    for (let at = change.position; at < end; at++) {
      if (change.kind === 'fill' && this.dirty[at] === 1) continue
      this.bytes[at] = change.value
      this.dirty[at] = 1
    }
    return undefined
  }

  #clear(from: number, to: number): void {
    this.bytes.fill(0, from, to)
    this.dirty.fill(0, from, to)
  }
}

/** Takes all segments out, in order. */
function takeAll(ranges: DirtyRanges): Segment[] {
  const taken: Segment[] = []
  for (let first = ranges.first; first !== undefined; first = ranges.first) {
    ranges.remove(first)
    taken.push(first)
  }
  return taken
}

t.test('holds exactly what was written, whatever the order of writes and cuts', async (t) => {
  const law = fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
    const ranges = new DirtyRanges()
    const flat = new Flat()
    for (const change of steps) {
      const { first } = ranges
      flat.apply(change, first)
      if (change.kind === 'truncate') ranges.truncate(BASE + change.position)
      else if (change.kind === 'takeFirst') {
        if (first !== undefined) ranges.remove(first)
      } else {
        const length = Math.min(change.length, SPAN - change.position)
        const bytes = Buffer.alloc(length, change.value)
        if (change.kind === 'write') ranges.write(BASE + change.position, bytes)
        else ranges.fillGaps(BASE + change.position, bytes)
      }
    }
    const read = Buffer.alloc(SPAN)
    ranges.copyInto(read, 0, BASE, SPAN)
    const covered = new Uint8Array(SPAN).fill(1)
    for (const gap of ranges.gaps(BASE, SPAN)) covered.fill(0, gap.from - BASE, gap.to - BASE)
    const count = flat.dirty.reduce((sum, flag) => sum + flag, 0)
    return (
      read.equals(flat.bytes) &&
      Buffer.compare(covered, flat.dirty) === 0 &&
      ranges.bytes === count &&
      takeAll(ranges).every(sound) &&
      ranges.capacity === 0
    )
  })
  t.doesNotThrow(() => fc.assert(law, { numRuns: 150 }))
})

function sound(segment: Segment): boolean {
  const first = Math.floor(segment.offset / limits.chunkBytesMax)
  const last = Math.floor((segment.offset + segment.length - 1) / limits.chunkBytesMax)
  return segment.length >= 1 && segment.length <= SEGMENT_BYTES && first === last
}

t.test('sequential writing fills whole segments, each in a buffer of its own', async (t) => {
  const ranges = new DirtyRanges()
  const piece = Buffer.alloc(4_096, 7)
  for (let at = 0; at < 3 * SEGMENT_BYTES; at += piece.length) ranges.write(at, piece)
  t.equal(ranges.runBytes, 3 * SEGMENT_BYTES)
  t.equal(ranges.capacity, 3 * SEGMENT_BYTES, 'no memory beside the bytes')
  const next = ranges.nextOfRun(2 * SEGMENT_BYTES, undefined)
  t.match(next, { offset: 0, length: SEGMENT_BYTES })
})

t.test('a run is offered from its minimum on, and only what no write can lengthen', async (t) => {
  const ranges = new DirtyRanges()
  ranges.write(0, Buffer.alloc(SEGMENT_BYTES))
  t.equal(ranges.nextOfRun(2 * SEGMENT_BYTES, undefined), undefined, 'too short a run')
  t.match(ranges.nextOfRun(2 * SEGMENT_BYTES, 0), { offset: 0 }, 'unless it continues a chunk')
  ranges.write(SEGMENT_BYTES, Buffer.alloc(10))
  const first = ranges.nextOfRun(SEGMENT_BYTES, undefined)
  if (first !== undefined) ranges.remove(first)
  t.equal(ranges.nextOfRun(SEGMENT_BYTES, SEGMENT_BYTES), undefined, 'ten bytes may still grow')
})

t.test('a jump ends the run', async (t) => {
  const ranges = new DirtyRanges()
  ranges.write(0, Buffer.alloc(3 * SEGMENT_BYTES))
  ranges.write(10 * SEGMENT_BYTES, Buffer.alloc(100))
  t.equal(ranges.runBytes, 100)
  t.equal(ranges.nextOfRun(SEGMENT_BYTES, undefined), undefined)
})

t.test('many small scattered writes take little more memory than their bytes need', async (t) => {
  const ranges = new DirtyRanges()
  for (let index = 0; index < 100; index++) ranges.write(index * 1e6, Buffer.alloc(10))
  t.equal(ranges.bytes, 1_000)
  t.equal(ranges.capacity, 100 * 4_096)
})
