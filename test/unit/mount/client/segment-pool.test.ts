/**
 * Memory of segments: used again while somebody writes, let go of afterwards.
 */
import t from 'tap'
import { SegmentPool } from '../../../../mount/client/segment-pool.ts'
import { until } from '../../../support/transport.ts'

t.test('what was given is taken again; a bounded number is kept, and not for long', async (t) => {
  const pool = new SegmentPool(1_000)
  const taken = Array.from({ length: 100 }, () => pool.take())
  t.equal(new Set(taken).size, 100, 'nobody gets what another one has')
  for (const segment of taken) pool.give(segment)
  t.ok(pool.kept > 0 && pool.kept < 100, `${pool.kept} are kept`)
  t.ok(taken.includes(pool.take()))
  t.ok(await until(() => pool.kept === 0), 'none when nobody writes')
  const anew = pool.take()
  t.equal(anew.length, 1_000)
  t.notOk(taken.includes(anew))
})
