/** One opener for many requests of a chunk, and never one for two readers or for another header. */
import t from 'tap'
import { ChunkOpeners } from '../../../../mount/client/chunk-openers.ts'
import { ChunkSealer } from '../../../../mount/crypto/chunk-cipher.ts'
import { InodeKey } from '../../../../mount/crypto/inode-key.ts'
import { limits } from '../../../../schema/wire/limits.ts'

const key = InodeKey.generate()
const plain = Buffer.from('what the file says')

function sealed(owner: InodeKey, chunk: number) {
  const sealer = new ChunkSealer(owner, chunk)
  const block = Buffer.alloc(plain.length + limits.tagBytes)
  sealer.seal(plain, true, block, 0)
  return { block, wanted: { chunk, header: sealer.header, length: plain.length } }
}

t.test('the same chunk is opened by the same opener, one reader after the other', async (t) => {
  const openers = new ChunkOpeners()
  const { block, wanted } = sealed(key, 1)
  const first = openers.take(key, wanted)
  const beside = openers.take(key, wanted)
  t.not(beside, first, 'two readers at once')
  openers.giveBack(first)
  t.equal(openers.take(key, wanted), first)
  t.ok(first.open(0, block).equals(plain))
  t.ok(beside.open(0, block).equals(plain))
})

t.test('another header, length, chunk or key has an opener of its own', async (t) => {
  const openers = new ChunkOpeners()
  const { block, wanted } = sealed(key, 1)
  openers.giveBack(openers.take(key, wanted))
  const { header } = sealed(key, 1).wanted
  for (const [why, owner, other] of [
    ['header', key, { ...wanted, header }],
    ['length', key, { ...wanted, length: plain.length - 1 }],
    ['chunk', key, { ...wanted, chunk: 2 }],
    ['key', InodeKey.generate(), wanted],
  ] as const) {
    const opener = openers.take(owner, other)
    t.throws(() => opener.open(0, block), { code: 'notAuthentic' }, why)
    openers.giveBack(opener)
  }
  t.ok(openers.take(key, wanted).open(0, block).equals(plain), 'the first is still good')
})

t.test('a header is compared with what it was when its opener was made', async (t) => {
  const openers = new ChunkOpeners()
  const { block, wanted } = sealed(key, 1)
  const header = Buffer.from(wanted.header)
  openers.giveBack(openers.take(key, { ...wanted, header }))
  header[20] = (header[20] ?? 0) ^ 1
  t.throws(() => openers.take(key, { ...wanted, header }).open(0, block), { code: 'notAuthentic' })
})

t.test('keys that nobody uses are zeroed; one in use is not', async (t) => {
  const openers = new ChunkOpeners()
  const used = sealed(key, 1)
  const inUse = openers.take(key, used.wanted)
  const idle = sealed(key, 2)
  const unused = openers.take(key, idle.wanted)
  openers.giveBack(unused)
  for (let chunk = 3; chunk < 100; chunk++) {
    openers.giveBack(openers.take(key, sealed(key, chunk).wanted))
  }
  t.throws(() => unused.open(0, idle.block), { code: 'notAuthentic' })
  t.ok(inUse.open(0, used.block).equals(plain))
  openers.giveBack(inUse)
  openers.erase()
  t.throws(() => inUse.open(0, used.block), { code: 'notAuthentic' })
})
