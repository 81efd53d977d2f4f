import fc from 'fast-check'
import t from 'tap'
import {
  changesOf,
  decodeChanges,
  decodeHead,
  encodeRecord,
  framed,
  recordBytes,
  unframed,
} from '../../../../../server/metadata/standby/log-record.ts'

const change = fc.record({
  key: fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  value: fc.option(
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    { nil: undefined },
  ),
})
const head = { previousMark: 2 ** 47 + 3, mark: 2 ** 48, atMs: 1_700_000_000_000 }

t.test('changes come back from a record as they went in', async () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
      const record = encodeRecord(head, changes)
      t.strictSame(decodeHead(record), head)
      t.equal(record.length, recordBytes(changes))
      t.same(changesOf(record), changes)
    }),
    { numRuns: 50 },
  )
})

t.test('records come back from a payload, and a cut one is refused', async (t) => {
  const one = encodeRecord(head, [{ key: Buffer.from('a'), value: Buffer.from('1') }])
  const two = encodeRecord(head, [{ key: Buffer.from('b'), value: undefined }])
  const payload = framed([one, two])
  t.strictSame(unframed(payload), [one, two])
  for (let length = 1; length < payload.length; length++) {
    if (length === one.length + 4) continue
    t.throws(() => unframed(payload.subarray(0, length)), { code: 'frameMalformed' })
  }
})

t.test('what is no change is refused, and never read beyond', async (t) => {
  const good = encodeRecord(head, [{ key: Buffer.from('key'), value: Buffer.from('value') }])
  const changes = good.subarray(24)
  for (let length = 1; length < changes.length; length++) {
    t.throws(() => decodeChanges(changes.subarray(0, length)), { code: 'frameMalformed' })
  }
  const kind = Buffer.from(changes)
  kind.writeUInt8(2, 0)
  t.throws(() => decodeChanges(kind), { code: 'frameMalformed' })
  const long = Buffer.from(changes)
  long.writeUInt32LE(0xffffffff, 5)
  t.throws(() => decodeChanges(long), { code: 'frameMalformed' })
})
