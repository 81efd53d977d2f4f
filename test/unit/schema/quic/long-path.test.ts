/**
 * A long path is filled in larger bursts, and told from a short one by its round-trip time; a lossy one
 * by the share of what was lost.
 */
import t from 'tap'
import { quicLimits } from '../../../../schema/quic/limits.ts'
import { LongPath } from '../../../../schema/quic/long-path.ts'

t.test('a path is long by its round-trip time, looked at now and then', async (t) => {
  let rttMs = 0
  let looks = 0
  const path = new LongPath(() => {
    looks++
    return { rttMs, sent: 0, lost: 0 }
  })
  path.look(0)
  t.notOk(path.long)
  rttMs = 20
  path.look(1)
  t.notOk(path.long, 'not looked at in every turn')
  path.look(1_000)
  t.ok(path.long)
  rttMs = 1
  path.look(2_000)
  t.notOk(path.long, 'and short again')
  t.equal(looks, 3)
})

t.test('bursts are bounded by datagrams and by bytes', async (t) => {
  let rttMs = 1
  const path = new LongPath(() => ({ rttMs, sent: 0, lost: 0 }))
  path.look(0)
  t.equal(path.burst(1_350), quicLimits.burstDatagrams)
  t.equal(path.burst(16_383), Math.ceil(quicLimits.burstBytes / 16_383))
  rttMs = 20
  path.look(1_000)
  t.equal(path.burst(1_350), quicLimits.longBurstDatagrams)
  t.equal(path.burst(16_383), Math.ceil(quicLimits.longBurstBytes / 16_383))
})

t.test('a path is lossy while a few datagrams get lost on it, and it is long', async (t) => {
  const counts = { rttMs: 20, sent: 50, lost: 1 }
  const path = new LongPath(() => ({ ...counts }))
  path.look(0)
  t.notOk(path.lossy, 'too few to judge')
  Object.assign(counts, { sent: 150, lost: 2 })
  path.look(1_000)
  t.ok(path.lossy)
  Object.assign(counts, { sent: 10_150, lost: 3 })
  path.look(2_000)
  path.look(11_500)
  t.ok(path.lossy, 'what is repaired is not counted as lost, so a little keeps it so')
  path.look(12_500)
  t.notOk(path.lossy, 'until nothing was lost for long')
  Object.assign(counts, { sent: 20_150, lost: 203 })
  path.look(13_000)
  t.ok(path.lossy)
  Object.assign(counts, { sent: 20_350, lost: 263 })
  path.look(13_500)
  t.notOk(path.lossy, 'a full queue is not repaired')
  Object.assign(counts, { sent: 30_350, lost: 363 })
  path.look(14_000)
  t.ok(path.lossy)
  counts.rttMs = 40
  path.look(14_200)
  t.notOk(path.lossy, 'a queue that stands is not made longer')
  counts.rttMs = 21
  path.look(14_300)
  t.ok(path.lossy)
  counts.rttMs = 1
  path.look(14_500)
  t.notOk(path.lossy, 'a short path repeats soon enough')
})
