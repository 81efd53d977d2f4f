/**
 * A long path is filled in larger bursts, and told from a short one by its round-trip time.
 */
import t from 'tap'
import { quicLimits } from '../../../../schema/quic/limits.ts'
import { LongPath } from '../../../../schema/quic/long-path.ts'

t.test('a path is long by its round-trip time, looked at now and then', async (t) => {
  let rttMs = 0
  let looks = 0
  const path = new LongPath(() => {
    looks++
    return rttMs
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
  const path = new LongPath(() => rttMs)
  path.look(0)
  t.equal(path.burst(1_350), quicLimits.burstDatagrams)
  t.equal(path.burst(16_383), Math.ceil(quicLimits.burstBytes / 16_383))
  rttMs = 20
  path.look(1_000)
  t.equal(path.burst(1_350), quicLimits.longBurstDatagrams)
  t.equal(path.burst(16_383), Math.ceil(quicLimits.longBurstBytes / 16_383))
})
