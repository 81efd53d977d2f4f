/**
 * The lease as a mount knows it: when caches may be trusted, and what becomes of what was made
 * under it.
 */
import t from 'tap'
import { Lease } from '../../../../mount/client/lease.ts'
import { limits } from '../../../../schema/wire/limits.ts'

const BOOT = Buffer.alloc(16, 1)
const LATER_BOOT = Buffer.alloc(16, 2)

function start(): { lease: Lease; time: { ms: number } } {
  const time = { ms: 1_000 }
  const lease = new Lease(() => time.ms)
  lease.opened({ lease: 5, boot: BOOT }, time.ms)
  return { lease, time }
}

t.test('caches are trusted while the server was heard from lately', async (t) => {
  const { lease, time } = start()
  t.equal(lease.fresh?.id, 5)
  time.ms += limits.leaseTermMs / 2
  t.equal(lease.fresh, undefined, 'somebody else may be about to have it')
  t.equal(lease.term?.id, 5, 'it is still held')
  lease.heard(time.ms - 10)
  t.equal(lease.fresh?.id, 5)
  lease.heard(time.ms - 100_000)
  t.equal(lease.fresh?.id, 5, 'a late answer takes nothing away')
  lease.disconnected()
  t.equal(lease.fresh, undefined)
})

t.test('a recall ends trust at once, and the lease when all was sent', async (t) => {
  const { lease } = start()
  const { term } = lease
  let sent: () => void = () => undefined
  let calls = 0
  lease.onRecall(async () => {
    calls++
    return new Promise((resolve) => (sent = resolve))
  })
  const recalls = [lease.recalled(5), lease.recalled(5)]
  t.equal(lease.fresh, undefined)
  t.equal(lease.term, undefined)
  t.equal(term?.named, 5, 'what is sent now is sent under the lease')
  sent()
  await Promise.all(recalls)
  t.equal(calls, 1)
  t.equal(term?.state, 'ended')
  t.equal(term?.named, 0, 'what is sent later is as anything else')
})

t.test('a recall that overtakes its grant is not forgotten', async (t) => {
  const lease = new Lease(() => 0)
  await lease.recalled(7)
  lease.opened({ lease: 7, boot: BOOT }, 0)
  t.equal(lease.term, undefined)
  lease.granted(7)
  t.equal(lease.term, undefined)
  lease.granted(8)
  t.equal(lease.term?.id, 8)
  t.equal(lease.fresh, undefined, 'how old the grant is is not known')
})

t.test(
  'back at the same server without the lease: lost, and what was made stays under it',
  async (t) => {
    const { lease } = start()
    const { term } = lease
    lease.opened({ lease: 0, boot: BOOT }, 2_000)
    t.equal(lease.term, undefined)
    t.equal(term?.state, 'lost')
    t.equal(term?.named, 5, 'the server will refuse it')
  },
)

t.test('back with the lease: nothing happened', async (t) => {
  const { lease, time } = start()
  const { term } = lease
  lease.disconnected()
  time.ms += 60_000
  lease.opened({ lease: 5, boot: BOOT }, time.ms)
  t.equal(lease.fresh, term)
})

t.test('back at a server that was started anew: over in good order, whatever comes', async (t) => {
  for (const next of [0, 5, 6]) {
    const { lease } = start()
    const { term } = lease
    lease.opened({ lease: next, boot: LATER_BOOT }, 2_000)
    t.equal(term?.state, 'ended')
    t.not(lease.term, term, 'what was cached under it is not trusted')
  }
})
