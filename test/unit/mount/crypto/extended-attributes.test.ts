/**
 * The record of extended attributes: what goes in comes out, its length tells little, and what was not
 * made so is refused.
 */
import * as fc from 'fast-check'
import t from 'tap'
import { decodeXattrs, encodeXattrs } from '../../../../mount/crypto/extended-attributes.ts'
import { InodeKey } from '../../../../mount/crypto/inode-key.ts'
import { decodeName } from '../../../../mount/crypto/name-bytes.ts'
import { BOX_OVERHEAD_BYTES } from '../../../../mount/crypto/sealed-box.ts'
import { limits } from '../../../../schema/wire/limits.ts'
import { flips } from '../../../support/flips.ts'

const key = InodeKey.generate()

t.test('any names and values come back, in a multiple of 64 bytes', async (t) => {
  const text = fc.string({ unit: 'grapheme', maxLength: 20 }).map((given) => `user.${given}`)
  const bytes = fc.uint8Array({ maxLength: 20 })
  const name = fc.oneof(
    text,
    bytes.map((given) => decodeName(Buffer.concat([Buffer.from('user.'), given]))),
  )
  const value = fc.uint8Array({ maxLength: 300 })
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 30 }), (entries) => {
      const xattrs = new Map(entries)
      const record = encodeXattrs(xattrs)
      t.equal(record.length % 64, 0)
      t.same(decodeXattrs(record), xattrs)
    }),
    { numRuns: 100 },
  )
})

t.test('one value of the longest fits, and what seals it; more does not', async (t) => {
  const longest = new Map([[`user.${'n'.repeat(250)}`, new Uint8Array(limits.xattrValueBytesMax)]])
  const sealed = key.sealXattrs(encodeXattrs(longest))
  t.ok(sealed.length <= limits.sealedXattrsBytesMax)
  t.same(decodeXattrs(key.openXattrs(sealed)), longest)
  t.equal(limits.xattrsBytesMax % 64, 0)
  t.ok(limits.xattrsBytesMax + BOX_OVERHEAD_BYTES <= limits.sealedXattrsBytesMax)
  longest.set('user.another', new Uint8Array(1_000))
  t.throws(() => encodeXattrs(longest), { code: 'noSpace' })
  const names = Array.from({ length: 300 }, (_, n) => `user.${n}`.padEnd(255, 'x'))
  const many = new Map(names.map((long) => [long, new Uint8Array(0)]))
  t.throws(() => encodeXattrs(many), { code: 'noSpace' }, 'more names than can be listed')
})

t.test('nothing that was changed, or sealed for something else, opens', async (t) => {
  const sealed = key.sealXattrs(encodeXattrs(new Map([['user.a', Buffer.from('1')]])))
  t.equal(sealed.length, 64 + BOX_OVERHEAD_BYTES)
  for (const { bit, bytes } of flips(sealed)) {
    t.throws(() => key.openXattrs(bytes), `bit ${bit}`)
  }
  t.throws(() => InodeKey.generate().openXattrs(sealed), { code: 'notAuthentic' })
  t.throws(() => key.openXattrs(key.sealInline(Buffer.alloc(64))), { code: 'notAuthentic' })
})

t.test('a record that ends too early is refused', async (t) => {
  const record = encodeXattrs(new Map([['user.a', Buffer.alloc(100)]]))
  for (const length of [0, 1, 4, 10, 64]) {
    t.throws(() => decodeXattrs(record.subarray(0, length)), { code: 'notAuthentic' })
  }
  const lying = Buffer.from(record)
  lying.writeUInt32LE(0xffff_ffff, 3)
  t.throws(() => decodeXattrs(lying), { code: 'notAuthentic' })
})
