/**
 * Keys, and what is RocksDB's own; the contract of the store is in conformance.test.ts.
 */
import t from 'tap'
import * as fc from 'fast-check'
import { keyAfter, prefixEnd } from '../../../../server/store/ordered-store.ts'
import { openRocksStore } from '../../../../server/store/rocks-store.ts'

const key = (text: string): Buffer => Buffer.from(text)
const put = (text: string, value: string): { key: Buffer; value: Buffer } => ({
  key: key(text),
  value: Buffer.from(value),
})
t.test('the end of a prefix lies behind all of its keys', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1 }), fc.uint8Array(), (prefix, rest) => {
      fc.pre(prefix.some((byte) => byte < 255))
      const end = prefixEnd(prefix)
      const inside = Buffer.concat([prefix, rest])
      return inside.compare(end) < 0 && keyAfter(inside).compare(inside) > 0
    }),
  )
  t.throws(() => prefixEnd(Buffer.of(255, 255)), RangeError)
})

t.test('a read under way at the close is answered', async (t) => {
  const store = await openRocksStore(t.testdir())
  await store.write([put('a', '1')], { sync: false })
  const read = store.get(key('a'))
  await store.close()
  t.equal((await read)?.toString(), '1')
})
