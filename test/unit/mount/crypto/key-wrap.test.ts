/**
 * Wrapped keys open for their owner, their purpose and their wrapping key, and for nothing else.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  generateKey,
  unwrapKey,
  wrapKey,
  type WrapContext,
} from '../../../../mount/crypto/key-wrap.ts'
import { BOX_OVERHEAD_BYTES, openBox, sealBox } from '../../../../mount/crypto/sealed-box.ts'
import { repository } from '../../../support/cluster.ts'
import { flips } from '../../../support/flips.ts'

interface Vectors {
  wrap: {
    wrapping: string
    purpose: WrapContext['purpose']
    owner: string
    key: string
    wrapped: string
  }
}

const path = join(repository, 'test/fixtures/format/v1/vectors.json')
const { wrap } = JSON.parse(readFileSync(path, 'utf8')) as Vectors
const hex = (text: string): Buffer => Buffer.from(text, 'hex')

const wrapping = generateKey()
const key = generateKey()
const context: WrapContext = { purpose: 'root by master', owner: 'alice' }
const wrapped = wrapKey(wrapping, context, key)

t.test('a key wrapped in format version 1 comes out', async (t) => {
  const { purpose, owner } = wrap
  t.same(unwrapKey(hex(wrap.wrapping), { purpose, owner }, hex(wrap.wrapped)), hex(wrap.key))
})

t.test('what is wrapped comes out again, and is never wrapped the same way twice', async (t) => {
  t.same(unwrapKey(wrapping, context, wrapped), key)
  t.notSame(wrapKey(wrapping, context, key), wrapped)
})

const refusals = [
  { why: 'under another key', wrapping: generateKey(), context },
  { why: 'for another purpose', wrapping, context: { ...context, purpose: 'master by device' } },
  { why: 'of another user', wrapping, context: { ...context, owner: 'alicia' } },
] as const
for (const { why, wrapping: other, context: wrong } of refusals) {
  t.test(`refuses a wrap ${why}`, async (t) => {
    t.throws(() => unwrapKey(other, wrong, wrapped), { code: 'notAuthentic' })
  })
}

t.test('no flipped bit and no cut goes unnoticed', async (t) => {
  for (const { bit, bytes } of flips(wrapped)) {
    t.throws(
      () => unwrapKey(wrapping, context, bytes),
      { code: /^not(Authentic|Supported)$/ },
      `${bit}`,
    )
  }
  for (let length = 0; length < wrapped.length; length++) {
    const cut = wrapped.subarray(0, length)
    t.throws(() => unwrapKey(wrapping, context, cut), { code: 'notAuthentic' }, `${length} bytes`)
  }
})

t.test('a box that opens but holds no key is refused', async (t) => {
  const short = wrapKey(wrapping, context, Buffer.alloc(31))
  t.throws(() => unwrapKey(wrapping, context, short), { code: 'notAuthentic' })
})

t.test('a box of a newer format says so', async (t) => {
  const box = sealBox(key, Buffer.of(1), Buffer.alloc(0))
  t.equal(box.length, BOX_OVERHEAD_BYTES)
  t.same(openBox(key, Buffer.of(1), box, 'nothing'), Buffer.alloc(0))
  for (const at of [0, 1]) {
    const newer = Buffer.from(box)
    newer[at] = 2
    t.throws(() => openBox(key, Buffer.of(1), newer, 'a thing'), {
      code: 'notSupported',
      message: /^a thing: /,
    })
  }
})
