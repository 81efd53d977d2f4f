/**
 * The contract of the ordered store (server/store/ordered-store.ts), for every engine that stands in
 * for another: what it promises beyond its types.
 */
import * as fc from 'fast-check'
import t, { type Test } from 'tap'
import {
  keyAfter,
  type Change,
  type Entry,
  type OrderedStore,
  type Scan,
} from '../../server/store/ordered-store.ts'

/** A place where a store can be opened, closed and opened again. */
export interface Place {
  open(): Promise<OrderedStore>
  /** Damages the record of a key; nobody has the store open. */
  damage(key: Buffer): Promise<void>
}

const key = (name: string): Buffer => Buffer.from(name)
const put = (name: string, value: string): Change => ({ key: key(name), value: Buffer.from(value) })
const shown = (entries: readonly { key: Buffer; value: Buffer | undefined }[]): string[] =>
  entries.map((entry) => `${entry.key.toString()}=${entry.value?.toString() ?? 'damaged'}`)

async function rest(scan: Scan): Promise<string[]> {
  const found: string[] = []
  for (let page = await scan.next(); page.length > 0; page = await scan.next()) {
    found.push(...shown(page))
  }
  return found
}

/** Runs the suite as subtests. `place` makes a new empty one for each. */
export function conforms(engine: string, place: (t: Test) => Place): void {
  t.test(engine, async (t) => {
    const opened = async (t: Test): Promise<OrderedStore> => {
      const store = await place(t).open()
      t.teardown(() => store.close())
      return store
    }
    readsAndWrites(t, opened)
    ranges(t, opened)
    scans(t, opened)
    lifeAndDamage(t, place)
  })
}

type Opened = (t: Test) => Promise<OrderedStore>

function readsAndWrites(all: Test, opened: Opened): void {
  all.test('gives back what was written, and undefined for what was not', async (t) => {
    const store = await opened(t)
    await store.write([put('a', '1'), put('empty', '')], { sync: true })
    t.equal((await store.get(key('a')))?.toString(), '1')
    t.equal((await store.get(key('empty')))?.length, 0)
    t.equal(await store.get(key('b')), undefined)
    await store.write([{ key: key('a'), value: undefined }], { sync: false })
    t.equal(await store.get(key('a')), undefined)
    const found = await store.getMany([key('none'), key('empty')])
    t.same(
      found.map((value) => value?.length),
      [undefined, 0],
    )
    t.same(await store.getMany([]), [])
  })

  all.test('of two changes of one key in a batch the later wins', async (t) => {
    const store = await opened(t)
    await store.write([put('a', '1'), put('a', '2')], { sync: false })
    t.equal((await store.get(key('a')))?.toString(), '2')
    await store.write([put('a', '3'), { key: key('a'), value: undefined }], { sync: false })
    t.equal(await store.get(key('a')), undefined)
    await store.write([{ key: key('a'), value: undefined }, put('a', '4')], { sync: false })
    t.equal((await store.get(key('a')))?.toString(), '4')
  })

  all.test('a batch is seen whole or not at all, also by what reads meanwhile', async (t) => {
    const store = await opened(t)
    const names = Array.from({ length: 50 }, (_, i) => `k${String(i).padStart(2, '0')}`)
    const range = { from: key('k'), to: key('l'), limit: 100 }
    const looks: Promise<Entry[]>[] = []
    const writes: Promise<void>[] = []
    for (let round = 0; round < 20; round++) {
      const batch = names.map((name) => put(name, String(round)))
      writes.push(store.write(batch, { sync: false }))
      looks.push(store.range(range))
    }
    await Promise.all(writes)
    for (const look of await Promise.all(looks)) {
      const values = new Set(look.map(({ value }) => value.toString()))
      t.ok(look.length === 0 || (look.length === 50 && values.size === 1))
    }
  })

  all.test(
    'batches that are asked for one after the other take effect in that order',
    async (t) => {
      const store = await opened(t)
      for (let i = 0; i < 30; i++) await store.write([put('a', String(i))], { sync: i % 7 === 0 })
      t.equal((await store.get(key('a')))?.toString(), '29')
    },
  )
}

function ranges(all: Test, opened: Opened): void {
  all.test('ranges have a first key, an end, a limit and two directions', async (t) => {
    const store = await opened(t)
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
    t.same(await range({ from: key('x'), to: key('z'), limit: 2 }), [])
  })

  all.test(
    'any keys come in the order of their bytes, each once, as the last batch left them',
    async (t) => {
      const store = await opened(t)
      const bytes = fc.uint8Array({ minLength: 1, maxLength: 4 })
      const batch = fc.array(fc.tuple(bytes, fc.option(fc.uint8Array({ maxLength: 3 }))), {
        maxLength: 12,
      })
      const model = new Map<string, Uint8Array>()
      await fc.assert(
        fc.asyncProperty(batch, fc.nat(5), async (changes, more) => {
          const list = changes.map(([at, value]) => ({
            key: Buffer.from(at),
            value: value ?? undefined,
          }))
          for (const change of list) {
            if (change.value === undefined) model.delete(change.key.toString('hex'))
            else model.set(change.key.toString('hex'), change.value)
          }
          await store.write(list, { sync: false })
          const expected = [...model.keys()].sort()
          const limit = more + 1
          const found: string[] = []
          let from: Buffer = Buffer.of(0)
          for (;;) {
            const page = await store.range({ from, to: END, limit })
            for (const { key: at, value } of page) {
              found.push(at.toString('hex'))
              const kept = model.get(at.toString('hex'))
              if (kept === undefined || Buffer.compare(kept, value) !== 0) return false
            }
            const last = page.at(-1)
            if (last === undefined) break
            from = keyAfter(last.key)
          }
          return JSON.stringify(found) === JSON.stringify(expected)
        }),
        { numRuns: 40 },
      )
    },
  )
}

const END = Buffer.alloc(16, 255)

function scans(all: Test, opened: Opened): void {
  all.test('a scan is of the moment it began, whatever is written meanwhile', async (t) => {
    const store = await opened(t)
    const names = Array.from({ length: 3_000 }, (_, i) => `k${String(i).padStart(4, '0')}`)
    await store.write(
      names.map((name) => put(name, 'x'.repeat(100))),
      { sync: false },
    )
    const scan = store.scan({ from: key('k'), to: key('l') })
    const first = await scan.next()
    t.ok(first.length > 0 && first.length < names.length, 'pages are bounded')
    await store.write(
      names.map((name, i) =>
        i % 2 === 0 ? { key: key(name), value: undefined } : put(name, 'new'),
      ),
      { sync: false },
    )
    await store.write([put('k9999', 'late')], { sync: false })
    const found = [...shown(first), ...(await rest(scan))]
    t.same(
      found,
      names.map((name) => `${name}=${'x'.repeat(100)}`),
    )
    t.same(await scan.next(), [], 'and its end stays its end')
    await scan.close()
    const again = store.scan({ from: key('k'), to: key('l') })
    t.equal((await rest(again)).length, 1_501)
    await again.close()
  })

  all.test('several scans and their ranges do not disturb each other', async (t) => {
    const store = await opened(t)
    await store.write([put('a', '1'), put('b', '2'), put('c', '3')], { sync: false })
    const one = store.scan({ from: key('a'), to: key('c') })
    const two = store.scan({ from: key('b'), to: key('z') })
    const none = store.scan({ from: key('x'), to: key('z') })
    t.same(await Promise.all([rest(one), rest(two), rest(none)]), [
      ['a=1', 'b=2'],
      ['b=2', 'c=3'],
      [],
    ])
    for (const scan of [one, two, none]) await scan.close()
  })

  all.test('closing waits for scans, which may be broken off', async (t) => {
    const store = await opened(t)
    await store.write([put('a', '1')], { sync: false })
    const scan = store.scan({ from: key('a'), to: key('z') })
    let closed = false
    const closing = store.close().then(() => (closed = true))
    await new Promise((done) => setTimeout(done, 20))
    t.notOk(closed)
    await scan.close()
    await closing
    t.ok(closed)
  })
}

function lifeAndDamage(all: Test, place: (t: Test) => Place): void {
  all.test(
    'what was written is there when it is opened again; it opens once at a time',
    async (t) => {
      const here = place(t)
      const store = await here.open()
      await store.write([put('a', '1')], { sync: true })
      await store.write([put('b', '2')], { sync: false })
      await t.rejects(here.open(), { code: 'directoryInUse' })
      await Promise.all([store.close(), store.close()])
      t.throws(() => store.get(key('a')), { name: 'InvariantError' })
      t.throws(() => store.scan({ from: key('a'), to: key('b') }), { name: 'InvariantError' })
      const again = await here.open()
      t.same(shown(await again.range({ from: key('a'), to: key('z'), limit: 9 })), ['a=1', 'b=2'])
      await again.close()
    },
  )

  all.test('a damaged record is refused, or told of and passed over', async (t) => {
    const here = place(t)
    const before = await here.open()
    await before.write([put('a', '1'), put('b', '2'), put('c', '3')], { sync: true })
    await before.close()
    await here.damage(key('b'))
    const store = await here.open()
    t.teardown(() => store.close())
    const whole = { from: key('a'), to: key('z'), limit: 9 }
    const corrupt = { code: 'recordCorrupt' }
    await t.rejects(store.get(key('b')), corrupt)
    await t.rejects(store.getMany([key('a'), key('b')]), corrupt)
    await t.rejects(store.range(whole), corrupt)
    const told: unknown[] = []
    const many = await store.getMany([key('a'), key('b'), key('c')], (i) => told.push(i))
    t.same(
      many.map((value) => value?.toString()),
      ['1', undefined, '3'],
    )
    const onCorrupt = (at: Buffer): void => void told.push(at.toString())
    t.same(shown(await store.range({ ...whole, onCorrupt })), ['a=1', 'c=3'])
    t.same(shown(await store.range({ ...whole, limit: 2, onCorrupt })), ['a=1'], 'it counts')
    t.same(told, [1, 'b', 'b'])
    const scan = store.scan(whole)
    t.same(await rest(scan), ['a=1', 'b=damaged', 'c=3'])
    await scan.close()
    await store.write([put('b', 'new')], { sync: true })
    t.equal((await store.get(key('b')))?.toString(), 'new', 'writing it anew heals it')
  })
}
