import t from 'tap'
import { DiskChunkStore } from '../../../../server/chunkserver/disk-chunk-store.ts'
import { DamagedReport, UnconfirmedReport } from '../../../../server/chunkserver/reports.ts'
import { put } from '../../../support/chunk-store-conformance.ts'
import { silent } from '../../../support/transport.ts'

const HOUR_MS = 3_600_000
const MARGIN_MS = 600_000

const openStore = (directory: string) =>
  DiskChunkStore.open({ directory, log: silent, onFailure: (error) => t.fail(error.message) })

t.test(
  'a chunk is reported once its plan cannot be used any more, until it is decided',
  async (t) => {
    const store = await openStore(t.testdir())
    await put(store, 1, Buffer.alloc(1))
    const written = Date.now()
    const report = new UnconfirmedReport(store)
    t.same(await report.portion(written + HOUR_MS + MARGIN_MS - 1_000), [], 'still within its plan')
    const late = written + HOUR_MS + MARGIN_MS + 60_000
    t.same(await report.portion(late), [1])
    t.same(await report.portion(late), [1], 'again while unanswered')
    report.answered()
    t.same(await report.portion(late), [], 'the end of the pass')
    t.same(await report.portion(late + 60_000), [1], 'in the next pass')
    report.answered()
    await store.confirm([1])
    t.same(await report.portion(late + 200_000), [])
    t.same(await report.portion(late + 400_000), [])
    await store.close()
  },
)

t.test('damaged copies are reported in passes until they are deleted', async (t) => {
  const store = await openStore(t.testdir())
  for (let chunk = 1; chunk <= 150; chunk++) {
    await put(store, chunk, Buffer.alloc(1))
    await store.markDamaged(chunk, 'for a test')
  }
  const report = new DamagedReport(store)
  const now = Date.now()
  t.equal((await report.portion(now)).length, 100)
  t.equal((await report.portion(now))[0], 1, 'again while unanswered')
  report.answered()
  t.same((await report.portion(now))[0], 101)
  report.answered()
  t.same(await report.portion(now), [])
  await store.delete(Array.from({ length: 149 }, (_, at) => at + 1))
  t.same(await report.portion(now + 60_000), [150])
  await store.close()
})
