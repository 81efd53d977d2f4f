/**
 * Orders to delete: what is in memory is exact, whatever is decided while the store is read, and the
 * engine is not asked for it.
 */
import t from 'tap'
import { orderDelete } from '../../../../server/metadata/chunk-references.ts'
import { DeleteOrders } from '../../../../server/metadata/delete-orders.ts'
import { Database } from '../../../../server/metadata/store/database.ts'
import { keys } from '../../../../server/metadata/store/keys.ts'
import { tables } from '../../../../server/metadata/store/tables.ts'
import type { OrderedStore } from '../../../../server/store/ordered-store.ts'
import { MemoryDisk } from '../../../support/memory-store.ts'

const SERVER = 7

function open(store: OrderedStore): Promise<Database> {
  const onFailure = (error: unknown): never => {
    throw error
  }
  return Database.open(store, { cacheBytes: 65_536, onFailure })
}

const order = (database: Database, chunks: readonly number[]): Promise<void> =>
  database.write({}, (txn) => {
    for (const chunk of chunks) orderDelete(txn, SERVER, chunk)
  })

const takeBack = (database: Database, chunk: number): Promise<void> =>
  database.write({}, (txn) => txn.delete(tables.deletes, keys.delete(SERVER, chunk)))

/** A disk on which an earlier process left orders. */
async function leftBehind(chunks: readonly number[]): Promise<MemoryDisk> {
  const disk = new MemoryDisk()
  const database = await open(disk.open())
  await order(database, chunks)
  await database.close()
  return disk
}

/** A store whose ranges are answered, as of their beginning, when `letGo` is called. */
function heldUp(store: OrderedStore): {
  slow: OrderedStore
  begun: Promise<void>
  letGo: () => void
} {
  let letGo = (): void => undefined
  let began = (): void => undefined
  const gone = new Promise<void>((resolve) => (letGo = resolve))
  const begun = new Promise<void>((resolve) => (began = resolve))
  const slow: OrderedStore = {
    get: (key) => store.get(key),
    getMany: (many, onCorrupt) => store.getMany(many, onCorrupt),
    async range(options) {
      const entries = await store.range(options)
      if (options.from[0] !== keys.delete(SERVER, 1)[0]) return entries
      began()
      await gone
      return entries
    },
    scan: (range) => store.scan(range),
    write: (changes, options) => store.write(changes, options),
    close: () => store.close(),
  }
  return { slow, begun, letGo: () => letGo() }
}

t.test('an order that is taken back while the store is read is not given', async (t) => {
  const disk = await leftBehind([1, 2, 3])
  const { slow, begun, letGo } = heldUp(disk.open())
  const database = await open(slow)
  const orders = new DeleteOrders(database)
  const given = orders.durable(SERVER, 10)
  await begun
  await takeBack(database, 2)
  const again = orders.durable(SERVER, 10)
  letGo()
  t.strictSame(await given, [1, 3])
  t.strictSame(await again, [1, 3], 'who comes meanwhile waits for the same page')
  t.notOk(orders.has(SERVER, 2))
  await database.close()
})

t.test(
  'an order taken back before the read, and not yet written, is not given either',
  async (t) => {
    const disk = await leftBehind([1, 2, 3])
    const database = await open(disk.open())
    const orders = new DeleteOrders(database)
    const back = takeBack(database, 2)
    t.strictSame(await orders.durable(SERVER, 10), [1, 3])
    await back
    await database.close()
  },
)

t.test('what is decided and not durable waits for the next heartbeat', async (t) => {
  const database = await open(new MemoryDisk().open())
  const orders = new DeleteOrders(database)
  await order(database, [1])
  const second = order(database, [2])
  // Asked in the moment of the decision: the write has not begun.
  while (!orders.has(SERVER, 2)) await Promise.resolve()
  t.strictSame(await orders.durable(SERVER, 1), [1])
  await second
  t.strictSame(await orders.durable(SERVER, 10), [1, 2])
  await database.close()
})

t.test('what is in memory is not asked of the engine', async (t) => {
  const store = new MemoryDisk().open()
  const database = await open(store)
  const orders = new DeleteOrders(database)
  await order(
    database,
    Array.from({ length: 100 }, (_, i) => i + 1),
  )
  let asked = 0
  for (const method of ['get', 'getMany', 'range'] as const) {
    const call = store[method].bind(store) as (...args: unknown[]) => never
    Object.defineProperty(store, method, {
      value: (...args: unknown[]) => {
        asked++
        return call(...args)
      },
    })
  }
  t.equal((await orders.durable(SERVER, 50)).length, 50)
  t.ok(orders.has(SERVER, 100))
  t.equal(asked, 0)
  await database.close()
})
