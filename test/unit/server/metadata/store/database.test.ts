/**
 * Transactions and group commit, on RocksDB and on a store that is slow or fails where told.
 */
import t, { type Test } from 'tap'
import { DfsError } from '../../../../../schema/wire/status.ts'
import { counterNames } from '../../../../../server/metadata/store/counters.ts'
import { Database } from '../../../../../server/metadata/store/database.ts'
import { keys, ranges } from '../../../../../server/metadata/store/keys.ts'
import { Queues } from '../../../../../server/metadata/store/queues.ts'
import { Sequence } from '../../../../../server/metadata/store/sequences.ts'
import { tables } from '../../../../../server/metadata/store/tables.ts'
import type { Transaction } from '../../../../../server/metadata/store/transaction.ts'
import type { Change, OrderedStore } from '../../../../../server/store/ordered-store.ts'
import { openRocksStore } from '../../../../../server/store/rocks-store.ts'

const key = (name: string): Buffer => keys.sequence(name)

/** The real store, with writes that wait for a gate. */
class Gated implements OrderedStore {
  readonly batches: number[] = []
  gate: Promise<void> = Promise.resolve()
  fail: Error | undefined
  readonly #store: OrderedStore

  constructor(store: OrderedStore) {
    this.#store = store
  }
  get(at: Buffer): Promise<Buffer | undefined> {
    return this.#store.get(at)
  }
  getMany(
    all: readonly Buffer[],
    onCorrupt?: (index: number) => void,
  ): Promise<(Buffer | undefined)[]> {
    return this.#store.getMany(all, onCorrupt)
  }
  range(options: Parameters<OrderedStore['range']>[0]): ReturnType<OrderedStore['range']> {
    return this.#store.range(options)
  }
  scan(range: Parameters<OrderedStore['scan']>[0]): ReturnType<OrderedStore['scan']> {
    return this.#store.scan(range)
  }
  async write(changes: readonly Change[], options: { sync: boolean }): Promise<void> {
    this.batches.push(changes.length)
    await this.gate
    if (this.fail !== undefined) throw this.fail
    await this.#store.write(changes, options)
  }
  close(): Promise<void> {
    return this.#store.close()
  }
}

async function open(
  t: Test,
  {
    dir = t.testdir(),
    cacheBytes = 1_000_000,
    onFailure = (error: unknown): void => {
      throw error
    },
  } = {},
): Promise<{ database: Database; store: Gated }> {
  const store = new Gated(await openRocksStore(dir))
  const database = await Database.open(store, { cacheBytes, onFailure })
  t.teardown(() => store.close())
  return { database, store }
}

const value = async (txn: Transaction, name: string): Promise<number> =>
  (await txn.get(tables.numbers, key(name)))?.value ?? 0
const set = (txn: Transaction, name: string, to: number): void =>
  txn.put(tables.numbers, key(name), { value: to })
const increment = (database: Database, name: string): Promise<number> =>
  database.write({}, async (txn) => {
    const next = (await value(txn, name)) + 1
    set(txn, name, next)
    return next
  })

t.test('increments that collide are run again, and none is lost', async (t) => {
  const { database } = await open(t)
  const results = await Promise.all(Array.from({ length: 15 }, () => increment(database, 'n')))
  t.equal(new Set(results).size, 15)
  t.equal(await database.read((txn) => value(txn, 'n')), 15)
})

t.test('queues keep those who would collide apart, whatever their number', async (t) => {
  const { database } = await open(t)
  let runs = 0
  await Promise.all(
    Array.from({ length: 500 }, () =>
      database.write({ queues: [1] }, async (txn) => {
        runs++
        set(txn, 'n', (await value(txn, 'n')) + 1)
      }),
    ),
  )
  t.equal(await database.read((txn) => value(txn, 'n')), 500)
  t.equal(runs, 500, 'nobody ran twice')
})

t.test('what is decided while a batch is written goes into the next, in one', async (t) => {
  const { database, store } = await open(t)
  let go = (): void => undefined
  store.gate = new Promise((done) => (go = done))
  const first = database.write({}, (txn) => set(txn, 'first', 1))
  await new Promise((done) => setTimeout(done, 20))
  const rest = Array.from({ length: 50 }, (_, i) =>
    database.write({}, (txn) => set(txn, `n${i}`, 1)),
  )
  await new Promise((done) => setTimeout(done, 20))
  go()
  await Promise.all([first, ...rest])
  // Each with the record of its number in the log.
  t.same(store.batches, [1 + 1, 50 + 1])
})

t.test(
  'nobody is told of what is not durable yet: not the writer, not a reader, not who is refused',
  async (t) => {
    const { database, store } = await open(t)
    let go = (): void => undefined
    store.gate = new Promise((done) => (go = done))
    const order: string[] = []
    const told = (who: string) => () => void order.push(who)
    const all: Promise<unknown>[] = [
      database.write({}, (txn) => set(txn, 'n', 7)).then(told('writer')),
      database.read((txn) => value(txn, 'other')).then(told('reader of something else')),
    ]
    await new Promise((done) => setTimeout(done, 20))
    all.push(
      database.read((txn) => value(txn, 'n')).then((seen) => void order.push(`reader of ${seen}`)),
      database
        .read(async (txn) => {
          if ((await value(txn, 'n')) === 7) throw new DfsError('exists', 'it is there')
        })
        .catch(told('refused')),
    )
    await new Promise((done) => setTimeout(done, 20))
    t.same(order, ['reader of something else'])
    go()
    await Promise.all(all)
    t.same(new Set(order.slice(1)), new Set(['writer', 'reader of 7', 'refused']))
  },
)

t.test('a refusal that rests on what changed meanwhile is none', async (t) => {
  const { database } = await open(t)
  let runs = 0
  const result = await database.write({}, async (txn) => {
    const seen = await value(txn, 'n')
    if (runs++ === 0) {
      await database.write({}, (other) => set(other, 'n', 1))
      throw new DfsError('notFound', 'as it was before')
    }
    return seen
  })
  t.equal(result, 1)
  t.equal(runs, 2)
})

t.test('a transaction that never comes through is told to come back', async (t) => {
  const { database } = await open(t)
  await t.rejects(
    database.write({}, async (txn) => {
      await value(txn, 'n')
      await increment(database, 'n')
    }),
    { code: 'tooManyRequests' },
  )
})

t.test('a batch that cannot be written is reported, and nobody is answered', async (t) => {
  const failures: unknown[] = []
  const { database, store } = await open(t, { onFailure: (error) => void failures.push(error) })
  store.fail = new Error('the disk is gone')
  let answered = false
  void database.write({}, (txn) => set(txn, 'n', 1)).then(() => (answered = true))
  await new Promise((done) => setTimeout(done, 30))
  void database.write({}, (txn) => set(txn, 'm', 1)).then(() => (answered = true))
  await new Promise((done) => setTimeout(done, 30))
  t.same(failures, [store.fail])
  t.notOk(answered)
})

t.test('counters and effects happen once, with the decision, and limits refuse', async (t) => {
  const dir = t.testdir()
  const { database } = await open(t, { dir })
  let effects = 0
  await Promise.all(
    Array.from({ length: 10 }, () =>
      database.write({ queues: [1] }, async (txn) => {
        set(txn, 'n', (await value(txn, 'n')) + 1)
        txn.add(counterNames.inodes, 2)
        txn.afterDecision(() => effects++)
      }),
    ),
  )
  t.equal(effects, 10)
  const refusal = database.write({}, (txn) => {
    set(txn, 'n', 99)
    txn.add(counterNames.inodes, 1, {
      max: 20,
      refuse() {
        throw new DfsError('quotaExceeded', 'full')
      },
    })
  })
  await t.rejects(refusal, { code: 'quotaExceeded' })
  t.equal(await database.read((txn) => value(txn, 'n')), 10, 'a refused one changes nothing')
  await database.close()
  const { database: again } = await open(t, { dir })
  t.equal(again.counters.get(counterNames.inodes), 20)
})

t.test('a cache of hardly anything changes nothing but speed', async (t) => {
  const { database } = await open(t, { cacheBytes: 2_000 })
  const put = (inode: number, marker: number): Promise<void> =>
    database.write({ queues: [inode] }, (txn) =>
      txn.put(tables.dentries, keys.dentry(inode, Buffer.alloc(32)), {
        inode: marker,
        entry: Buffer.alloc(100),
      }),
    )
  for (let round = 1; round <= 3; round++) {
    await Promise.all(Array.from({ length: 100 }, (_, i) => put(i, round * 1_000 + i)))
  }
  const found = await database.read((txn) =>
    txn.getAll(
      tables.dentries,
      Array.from({ length: 100 }, (_, i) => keys.dentry(i, Buffer.alloc(32))),
    ),
  )
  t.same(
    found.map((dentry) => dentry?.inode),
    Array.from({ length: 100 }, (_, i) => 3_000 + i),
  )
  const page = await database.durableRange(ranges.dentries(5), 10)
  t.equal(page.length, 1)
})

t.test('ids of a sequence never repeat, also when it is opened again', async (t) => {
  const dir = t.testdir()
  const { database } = await open(t, { dir })
  const sequence = await Sequence.open(database, 'ids')
  const ids = await Promise.all(Array.from({ length: 25_000 }, () => sequence.take()))
  t.equal(new Set(ids).size, 25_000)
  t.equal(Math.min(...ids.slice(0, 10)), 1)
  await database.close()
  const { database: again } = await open(t, { dir })
  const next = await (await Sequence.open(again, 'ids')).take()
  t.notOk(ids.includes(next))
  t.ok(next > 25_000)
})

t.test(
  'whoever enters several queues at once waits for those before, and for nobody else',
  async (t) => {
    const queues = new Queues()
    const order: string[] = []
    const enter = async (name: string, ...numbers: number[]): Promise<() => void> => {
      const leave = await queues.enter(numbers)
      order.push(name)
      return leave
    }
    const first = await enter('first', 1, 2, 2)
    const second = enter('second', 2, 3)
    const third = enter('third', 3, 1)
    const free = enter('free', 4)
    ;(await free)()
    t.same(order, ['first', 'free'])
    first()
    ;(await second)()
    ;(await third)()
    t.same(order, ['first', 'free', 'second', 'third'])
    t.equal(queues.size, 0, 'and nothing is left behind')
  },
)

t.test('what waits goes in batches of a bounded size, each with its own counters', async (t) => {
  const dir = t.testdir()
  const failed: unknown[] = []
  const { database, store } = await open(t, { dir, onFailure: (error) => failed.push(error) })
  const write = store.write.bind(store)
  store.write = async (changes, options) => {
    if (store.batches.length === 2) store.fail = new Error('the disk is gone')
    await write(changes, options)
  }
  const count = 5_000
  let durable = 0
  for (let record = 0; record < count; record++) {
    void database
      .write({}, (txn) => {
        set(txn, `record ${record}`, record)
        txn.add(counterNames.inodes, 1)
      })
      .then(
        () => durable++,
        () => undefined,
      )
  }
  while (failed.length === 0) await new Promise(setImmediate)
  for (const size of store.batches) t.ok(size <= 1_100, `${size} changes in one batch`)
  t.ok(durable >= 1_024 && durable < count, `${durable} are durable`)
  await store.close()
  const again = await open(t, { dir })
  const entries = await again.store.range({ ...ranges.sequences, limit: count })
  t.equal(entries.length, durable, 'the records of those that were answered')
  t.equal(again.database.counters.get(counterNames.inodes), durable, 'and as many counted')
})
