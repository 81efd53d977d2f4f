/**
 * Any bytes are a name: there and back without loss, one string for one name, and valid UTF-8 as ever.
 */
import { isUtf8 } from 'node:buffer'
import * as fc from 'fast-check'
import t from 'tap'
import { decodeName, encodeName } from '../../../../mount/crypto/name-bytes.ts'

const RUNS = { numRuns: 5_000 }

/** Bytes that come near to UTF-8 far more often than random ones. */
const piece = fc.oneof(
  fc.uint8Array({ maxLength: 4 }),
  fc.string({ unit: 'binary', maxLength: 3 }).map((text) => Buffer.from(text)),
  fc
    .tuple(fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }), fc.nat(3))
    .map(([text, length]) => Buffer.from(text).subarray(0, length)),
  fc
    .constantFrom('c080', 'e08080', 'eda080', 'edb2bf', 'f4908080', 'f5', 'efbfbd', 'efbbbf')
    .map(hex),
)
const anyBytes = fc
  .oneof(fc.uint8Array({ maxLength: 255 }), fc.array(piece, { maxLength: 12 }))
  .map((parts) => Buffer.concat(parts instanceof Uint8Array ? [parts] : parts))
/** Any UTF-16 units at all, also alone. */
const anyUnits = fc
  .array(
    fc.oneof(
      fc.nat(0xffff),
      fc.integer({ min: 0xdc80, max: 0xdcff }),
      fc.integer({ min: 0xd7f0, max: 0xe010 }),
      fc.constantFrom(0xdcc3, 0xdca4, 0xdce2, 0xdc82, 0xdcac, 0xfffd),
    ),
    { maxLength: 20 },
  )
  .map((units) => String.fromCharCode(...units))

function hex(text: string): Buffer {
  return Buffer.from(text, 'hex')
}

t.test('any bytes come back', async (t) => {
  const back = fc.property(anyBytes, (bytes) => encodeName(decodeName(bytes)).equals(bytes))
  fc.assert(back, RUNS)
  for (let byte = 0; byte < 256; byte++) {
    const bytes = Buffer.of(byte)
    t.same(encodeName(decodeName(bytes)), bytes)
  }
})

t.test('valid UTF-8 is the text that it always was', async () => {
  const same = fc.property(anyBytes, (bytes) => {
    const text = decodeName(bytes)
    return isUtf8(bytes) === text.isWellFormed() && (!isUtf8(bytes) || text === bytes.toString())
  })
  fc.assert(same, RUNS)
  const plain = fc.property(fc.string({ unit: 'binary' }), (text) =>
    encodeName(text).equals(Buffer.from(text)),
  )
  fc.assert(plain, RUNS)
})

t.test('a string is refused, or comes back', async () => {
  const canonical = fc.property(anyUnits, (name) => {
    let bytes: Buffer
    try {
      bytes = encodeName(name)
    } catch (error) {
      return (error as { code?: string }).code === 'invalidArgument' && !name.isWellFormed()
    }
    return decodeName(bytes) === name
  })
  fc.assert(canonical, RUNS)
})

t.test('what bytes become is what Python makes of them', async (t) => {
  const known = [
    ['61ff', 'a\udcff'],
    ['c3a4', 'ä'],
    ['c3', '\udcc3'],
    ['a4c3', '\udca4\udcc3'],
    ['c3c3a4', '\udcc3ä'],
    ['e282', '\udce2\udc82'],
    ['e282e282ac', '\udce2\udc82€'],
    ['c0af', '\udcc0\udcaf'],
    ['eda080', '\udced\udca0\udc80'],
    ['edb3bf', '\udced\udcb3\udcbf'],
    ['f09f9880ff', '\u{1F600}\udcff'],
    ['f09f98ff', '\udcf0\udc9f\udc98\udcff'],
    ['f4908080', '\udcf4\udc90\udc80\udc80'],
    ['efbfbd', '\ufffd'],
    ['efbfbdff', '\ufffd\udcff'],
    ['efbbbf', '\ufeff'],
  ] as const
  for (const [bytes, name] of known) {
    t.equal(decodeName(hex(bytes)), name, bytes)
    t.equal(encodeName(name).toString('hex'), bytes)
  }
  t.equal(decodeName(hex('ff61ff62'), 1, 3), 'a\udcff', 'a part of the bytes')
})

t.test('strings that no bytes become are refused', async (t) => {
  const refused = {
    'ä in two escapes': '\udcc3\udca4',
    '€ behind another byte': 'x\udcff\udce2\udc82\udcac',
    'an escaped slash': '\udc2f',
    'an escaped NUL': '\udc00',
    'beyond a byte': '\udd00',
    'the first half of a pair': '\ud800',
    'the halves the wrong way round': '\udc80\ud800',
  }
  for (const [why, name] of Object.entries(refused)) {
    t.throws(() => encodeName(name), { code: 'invalidArgument' }, why)
  }
})
