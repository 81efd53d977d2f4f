import { join } from 'node:path'
import t, { type Test } from 'tap'
import { CommitLog } from '../../../../../server/metadata/standby/commit-log.ts'
import { historyChange } from '../../../../../server/metadata/standby/history.ts'
import { Replica } from '../../../../../server/metadata/standby/replica.ts'
import { promoteStore } from '../../../../../server/metadata/standby/promotion.ts'
import { Database } from '../../../../../server/metadata/store/database.ts'
import { keys, ranges } from '../../../../../server/metadata/store/keys.ts'
import { Sequence } from '../../../../../server/metadata/store/sequences.ts'
import { tables } from '../../../../../server/metadata/store/tables.ts'
import type { OrderedStore } from '../../../../../server/store/ordered-store.ts'
import { openRocksStore } from '../../../../../server/store/rocks-store.ts'

const record = { name: 'standby-1.dfs', addresses: ['h:1'], sync: false, fallbackMs: 0 }

function fail(error: unknown): never {
  throw error
}

async function open(t: Test, dir = t.testdir()): Promise<{ store: OrderedStore; db: Database }> {
  const store = await openRocksStore(dir)
  const db = await Database.open(store, { cacheBytes: 1_048_576, onFailure: fail })
  t.teardown(() => db.close())
  return { store, db }
}

const put = (db: Database, name: string, value: number): Promise<void> =>
  db.write({}, (txn) => txn.put(tables.numbers, keys.userName(name), { value }))

const numbers = async (store: OrderedStore): Promise<number> =>
  (await store.range({ ...ranges.logRecords, limit: 10_000 })).length

/** Whether a promise is still open after a turn or two. */
async function waiting(promise: Promise<unknown>): Promise<boolean> {
  const late = new Promise((resolve) => setTimeout(resolve, 60, 'late'))
  return (await Promise.race([promise, late])) === 'late'
}

t.test(
  'every batch has the next number, also after a restart; without a standby nothing is logged',
  async (t) => {
    const dir = t.testdir()
    const { store, db } = await open(t, dir)
    for (let i = 1; i <= 5; i++) await put(db, 'n', i)
    t.equal(db.log.history.number, 5)
    t.equal(await numbers(store), 0)
    const { mark } = db.log.history
    await db.close()
    const { db: again } = await open(t, dir)
    t.match(again.log.history, { number: 5, mark, epoch: 1, role: 1 })
    await put(again, 'n', 6)
    t.equal(again.log.history.number, 6)
    t.not(again.log.history.mark, mark)
  },
)

t.test(
  'a standby gets what it lacks from the log; a history that parted is not continued',
  async (t) => {
    const dir = t.testdir()
    const { db } = await open(t, dir)
    await put(db, 'n', 1)
    const before = { ...db.log.history }
    db.log.setStandby(record)
    await put(db, 'n', 2)
    const middle = { ...db.log.history }
    await put(db, 'n', 3)
    for (const place of [before, middle, db.log.history]) t.ok(await db.log.continues(place))
    t.notOk(await db.log.continues({ ...middle, mark: 77 }), 'another batch of that number')
    t.notOk(await db.log.continues({ number: 0, mark: 0 }), 'before the log begins')
    t.notOk(await db.log.continues({ number: 9, mark: 1 }), 'ahead of us')
    t.equal((await db.log.recordsAfter(before.number, 1e6)).length, 2)
    t.equal((await db.log.recordsAfter(before.number, 1)).length, 1, 'at least one')
    await db.close()
    const { db: again } = await open(t, dir)
    again.log.setStandby(record)
    t.ok(await again.log.continues(middle), 'also after a restart')
    t.equal((await again.log.recordsAfter(before.number, 1e6)).length, 2)
  },
)

t.test(
  'a replica applies in order what comes in any order, and refuses what does not follow',
  async (t) => {
    const { store, db } = await open(t)
    db.log.setStandby(record)
    for (let i = 1; i <= 6; i++) await put(db, `n${i}`, i)
    const records = await db.log.recordsAfter(0, 1e6)
    const [one, two, three, ...rest] = records as [Buffer, Buffer, Buffer, Buffer, Buffer, Buffer]

    const other = await openRocksStore(join(t.testdirName, 'replica'))
    const replica = new Replica(other, await CommitLog.load(other), fail)
    t.teardown(() => replica.close())
    const third = replica.append(3, [three], 7)
    const second = replica.append(2, [two], 7)
    t.ok(await waiting(third), 'not before those ahead of it')
    t.equal(await replica.append(1, [one], 7), 1)
    t.ok((await second) >= 2)
    t.ok((await third) >= 3)
    await t.rejects(replica.append(2, [two], 7), { code: 'invalidArgument' }, 'had it already')
    await t.rejects(replica.append(4, [one], 7), { code: 'frameMalformed' }, 'not what follows')
    await replica.settle()
    t.equal(await replica.append(4, rest, 7), 6)
    t.match(replica.commitLog.history, { number: 6, mark: db.log.history.mark, role: 2, epoch: 7 })
    for (let i = 1; i <= 6; i++) {
      t.same(await other.get(keys.userName(`n${i}`)), await store.get(keys.userName(`n${i}`)))
    }
    t.equal(await numbers(other), 6, 'it keeps the log itself')
  },
)

t.test('a promoted store has the next epoch and gives out none of the ids of before', async (t) => {
  const dir = t.testdir()
  const { store, db } = await open(t, dir)
  const sequence = await Sequence.open(db, 'inodes')
  const id = await sequence.take()
  await t.rejects(
    promoteStore(store, ['old:1']),
    { code: 'exists' },
    'a metadata server is no standby',
  )
  await store.write([historyChange({ ...db.log.history, role: 2 })], { sync: true })
  const { epoch, role, number } = await promoteStore(store, ['old:1'])
  t.match({ epoch, role, number }, { epoch: 2, role: 1, number: db.log.history.number + 1 })
  await db.close()
  const { db: again } = await open(t, dir)
  t.match(again.log.standby, { addresses: ['old:1'], name: '', sync: false })
  t.ok((await (await Sequence.open(again, 'inodes')).take()) > id + 1_000_000)
})

t.test('a synchronous standby is waited for, by readers and scans, too', async (t) => {
  const { db } = await open(t)
  db.log.setStandby({ ...record, sync: true })
  db.log.begin()
  db.log.connect(0)
  const first = put(db, 'a', 1)
  const second = put(db, 'b', 2)
  t.ok(await waiting(first))
  t.equal(db.log.written, 1, 'on our own disk meanwhile')
  const read = db.read((txn) => txn.get(tables.numbers, keys.userName('a')))
  const scan = db.durableRange({ from: keys.userName(''), to: keys.userName('z') }, 10)
  t.ok(await waiting(read), 'nobody sees what may be lost')
  t.ok(await waiting(scan), 'nor by a scan')
  const third = put(db, 'c', 3)
  t.ok(await waiting(third))
  t.equal(db.log.written, 2, 'the next batch does not wait for the one before')
  db.log.ack(1)
  await Promise.all([first, second, read, scan])
  t.ok(await waiting(third))
  t.ok(db.log.lagMs(Date.now()) > 0)
  db.log.ack(2)
  await third
  t.equal(db.log.lagMs(Date.now()), 0)
})

t.test(
  'without its synchronous standby a server refuses changes, until told to go on',
  async (t) => {
    const dir = t.testdir()
    const { db } = await open(t, dir)
    const sync = { ...record, sync: true }
    db.log.setStandby(sync)
    await db.write({}, (txn) => txn.put(tables.standbys, keys.standby, sync))
    await db.close()
    const { db: again } = await open(t, dir)
    await put(again, 'started', 1)
    again.log.begin()
    t.equal(again.log.refusal()?.code, 'standbyAway', 'it may lack what we answer with')
    again.log.connect(0)
    t.equal(again.log.refusal()?.code, 'standbyAway')
    again.log.ack(again.log.written)
    t.equal(again.log.refusal(), undefined)
    again.log.disconnect()
    const undecided = put(again, 'n', 1)
    t.ok(await waiting(undecided))
    await new Promise((resolve) => setTimeout(resolve, 2_100))
    await t.rejects(put(again, 'n', 2), { code: 'standbyAway' })
    again.log.setStandby({ ...sync, fallbackMs: 10 })
    await new Promise((resolve) => setTimeout(resolve, 30))
    t.ok(again.log.checkFallback(), 'the operator named a time')
    await undecided
    await put(again, 'n', 3)
    again.log.connect(again.log.written)
    t.ok(again.log.waits, 'and waits again when it is back')
  },
)

t.test('a superseded server decides nothing, and what it has not acknowledged fails', async (t) => {
  const dir = t.testdir()
  const { db } = await open(t, dir)
  db.log.setStandby({ ...record, sync: true })
  db.log.begin()
  db.log.connect(0)
  const open1 = put(db, 'n', 1)
  open1.catch(() => undefined)
  t.ok(await waiting(open1))
  await db.supersede(5)
  await t.rejects(open1, { code: 'notPrimary' })
  await t.rejects(put(db, 'n', 2), { code: 'notPrimary' })
  const { number } = db.log.history
  await db.close()
  const { db: again } = await open(t, dir)
  t.match(again.log.history, { role: 3, number, epoch: 1 }, 'and it is on record')
})

t.test('the log is bounded: the oldest goes, and who lacks it copies anew', async (t) => {
  const store = await openRocksStore(t.testdir())
  t.teardown(() => store.close())
  const bounds = { bytesMax: 2_000, tailBytesMax: 500 }
  const log = await CommitLog.load(store, bounds)
  log.setStandby(record)
  const batch = async (): Promise<void> => {
    const changes = [{ key: Buffer.from('u'), value: Buffer.alloc(100) }]
    await store.write([...changes, ...log.append(changes)], { sync: false })
    log.wrote(log.history.number)
  }
  for (let i = 0; i < 40; i++) await batch()
  t.ok(log.bytes <= 2_000, `${log.bytes} bytes for one that is away`)
  t.equal((await log.recordsAfter(0, 1e6)).length, 0)
  const kept = await numbers(store)
  t.ok(kept > 5 && kept < 20, `${kept} records`)
  log.connect(40)
  await batch()
  t.ok(log.bytes <= 700, `${log.bytes} bytes of what it has`)
  const again = await CommitLog.load(store, bounds)
  t.equal(again.bytes, log.bytes, 'counted anew at the start')
  t.equal((await again.recordsAfter(40, 1e6)).length, 1)
})

t.test(
  'what cannot be undone waits for a standby that follows, and for one that is expected back',
  async (t) => {
    const { db } = await open(t)
    await put(db, 'n', 1)
    t.ok(await db.log.covered(), 'without a standby')
    db.log.setStandby({ ...record, name: '' })
    await put(db, 'n', 2)
    t.ok(await db.log.covered(), 'nor for one that never came')
    db.log.setStandby(record)
    t.notOk(await db.log.covered(), 'one that is away')
    db.log.connect(0)
    const covered = db.log.covered()
    t.ok(await waiting(covered))
    db.log.ack(2)
    t.ok(await covered)
    await put(db, 'n', 3)
    t.notOk(await db.log.covered(), 'one that is slow')
  },
)
