/**
 * The ordered store's contract, on RocksDB.
 */
import t from 'tap'
import * as fc from 'fast-check'
import RocksDb from 'rocksdb'
import {
  keyAfter,
  prefixEnd,
  type Entry,
  type OrderedStore,
} from '../../../../server/store/ordered-store.ts'
import { openRocksStore } from '../../../../server/store/rocks-store.ts'

const key = (text: string): Buffer => Buffer.from(text)
const put = (text: string, value: string): { key: Buffer; value: Buffer } => ({
  key: key(text),
  value: Buffer.from(value),
})
const shown = (entries: Entry[]): string[] =>
  entries.map((entry) => `${entry.key.toString()}=${entry.value.toString()}`)

async function withStore(t: { testdir(): string; teardown(f: () => Promise<void>): void }) {
  const store = await openRocksStore(t.testdir())
  t.teardown(() => store.close())
  return store
}

t.test('gives back what was written, and undefined for what was not', async (t) => {
  const store = await withStore(t)
  await store.write([put('a', '1'), put('empty', '')], { sync: true })
  t.equal((await store.get(key('a')))?.toString(), '1')
  t.equal((await store.get(key('empty')))?.length, 0)
  t.equal(await store.get(key('b')), undefined)
  await store.write([{ key: key('a'), value: undefined }], { sync: false })
  t.equal(await store.get(key('a')), undefined)
})

t.test('reads many keys at once, in their order', async (t) => {
  const store = await withStore(t)
  await store.write([put('a', '1'), put('b', '2')], { sync: false })
  const found = await store.getMany([key('b'), key('none'), key('a')])
  t.same(
    found.map((value) => value?.toString()),
    ['2', undefined, '1'],
  )
  t.same(await store.getMany([]), [])
})

t.test('lets the later of two changes of one key win', async (t) => {
  const store = await withStore(t)
  await store.write([put('a', '1'), put('a', '2')], { sync: false })
  t.equal((await store.get(key('a')))?.toString(), '2')
})

t.test('reads ranges in byte order, bounded, both ways', async (t) => {
  const store = await withStore(t)
  await store.write(
    ['a', 'b', 'c', 'd'].map((name) => put(name, name)),
    { sync: false },
  )
  const range = async (options: Parameters<OrderedStore['range']>[0]): Promise<string[]> =>
    shown(await store.range(options))
  t.same(await range({ from: key('a'), to: key('c'), limit: 9 }), ['a=a', 'b=b'])
  t.same(await range({ from: keyAfter(key('a')), to: key('z'), limit: 2 }), ['b=b', 'c=c'])
  t.same(await range({ from: key('a'), to: key('d'), limit: 2, reverse: true }), ['c=c', 'b=b'])
  t.same(await range({ from: key('d'), to: key('a'), limit: 2 }), [])
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

t.test('refuses a damaged record, and a scan can pass over it', async (t) => {
  const directory = t.testdir()
  const raw = new RocksDb(directory)
  await new Promise<void>((resolve) => raw.open({ createIfMissing: true }, () => resolve()))
  await new Promise<void>((resolve) =>
    raw.batch([{ type: 'put', key: key('a'), value: Buffer.from('wrong') }], { sync: true }, () =>
      resolve(),
    ),
  )
  await new Promise<void>((resolve) => raw.close(() => resolve()))
  const store = await openRocksStore(directory)
  t.teardown(() => store.close())
  await store.write([put('b', '2')], { sync: false })
  await t.rejects(store.get(key('a')), { code: 'recordCorrupt' })
  await t.rejects(store.getMany([key('b'), key('a')]), { code: 'recordCorrupt' })
  await t.rejects(store.range({ from: key('a'), to: key('z'), limit: 5 }), {
    code: 'recordCorrupt',
  })
  const damaged: string[] = []
  const entries = await store.range({
    from: key('a'),
    to: key('z'),
    limit: 5,
    onCorrupt: (at) => damaged.push(at.toString()),
  })
  t.same(shown(entries), ['b=2'])
  t.same(damaged, ['a'])
})

t.test('a directory opens once at a time, with a clear refusal', async (t) => {
  const directory = t.testdir()
  const store = await openRocksStore(directory)
  await t.rejects(openRocksStore(directory), { code: 'directoryInUse' })
  await store.close()
  const again = await openRocksStore(directory)
  await again.close()
})

t.test('closing twice is one close, waits for reads, and refuses later calls', async (t) => {
  const store = await openRocksStore(t.testdir())
  await store.write([put('a', '1')], { sync: false })
  const read = store.get(key('a'))
  await Promise.all([store.close(), store.close()])
  t.equal((await read)?.toString(), '1')
  t.throws(() => store.get(key('a')), { name: 'InvariantError' })
})
