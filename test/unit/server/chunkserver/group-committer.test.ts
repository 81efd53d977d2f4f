import t, { type Test } from 'tap'
import { DfsError } from '../../../../schema/wire/status.ts'
import { GroupCommitter } from '../../../../server/chunkserver/group-committer.ts'
import type { Change, OrderedStore } from '../../../../server/store/ordered-store.ts'
import { openRocksStore } from '../../../../server/store/rocks-store.ts'

const totalsKey = Buffer.from('mtotals')

/** A real store that counts its batches, and fails from the n-th on. */
async function committerOver(t: Test, failFrom = Infinity) {
  const store = await openRocksStore(t.testdir())
  t.teardown(() => store.close())
  const batches: number[] = []
  const failures: DfsError[] = []
  const counting: OrderedStore = {
    get: (key) => store.get(key),
    getMany: (wanted, onCorrupt) => store.getMany(wanted, onCorrupt),
    range: (options) => store.range(options),
    scan: (range) => store.scan(range),
    close: () => store.close(),
    async write(changes, options) {
      batches.push(changes.length)
      if (batches.length >= failFrom) throw new DfsError('diskFull', 'injected')
      await store.write(changes, options)
    },
  }
  const committer = new GroupCommitter(
    counting,
    { key: totalsKey, value: { chunks: 0, sealedBytes: 0 } },
    (error) => failures.push(error),
  )
  return { committer, store, batches, failures }
}

const change = (name: string): Change[] => [{ key: Buffer.from(name), value: Buffer.from(name) }]

t.test('what comes while a batch is written shares the next, with the sums after it', async (t) => {
  const { committer, store, batches } = await committerOver(t)
  const added = { chunks: 1, bytes: 10 }
  const names = Array.from({ length: 200 }, (_, at) => `key-${at}`)
  const first = committer.commit(change('first'), added)
  await Promise.all([first, ...names.map((name) => committer.commit(change(name), added))])
  t.ok(batches.length <= 3, `201 commits in ${batches.length} batches`)
  t.same(committer.totals, { chunks: 201, sealedBytes: 2_010 })
  for (const name of names) t.same(await store.get(Buffer.from(name)), Buffer.from(name))
  t.ok(await store.get(totalsKey))
  committer.distrustTotals()
  await committer.commit(change('guess'), added)
  t.equal(await store.get(totalsKey), undefined, 'to be counted anew at the next start')
  await committer.idle()
})

t.test('large commits do not grow a batch without bound', async (t) => {
  const { committer, batches } = await committerOver(t)
  const value = Buffer.alloc(1_048_576)
  const commits = Array.from({ length: 20 }, (_, at) =>
    committer.commit([{ key: Buffer.from(`big-${at}`), value }]),
  )
  await Promise.all(commits)
  t.ok(batches.length >= 3, `20 MiB in ${batches.length} batches`)
})

t.test('after a failed batch every later change is refused, and it is said once', async (t) => {
  const { committer, failures, batches } = await committerOver(t, 2)
  await committer.commit(change('good'), { chunks: 1, bytes: 5 })
  const bad = [
    committer.commit(change('a'), { chunks: 1, bytes: 5 }),
    committer.commit(change('b')),
  ]
  for (const commit of bad) await t.rejects(commit, { code: 'diskFull' })
  await t.rejects(committer.commit(change('c')), { code: 'diskFull' })
  t.equal(failures.length, 1)
  t.equal(batches.length, 2)
  t.same(committer.totals, { chunks: 1, sealedBytes: 5 })
})
