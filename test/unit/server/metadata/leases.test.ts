/**
 * The lease of a tree at the server: who gets it, and how others get past it, in simulated time.
 */
import t from 'tap'
import type { Connection } from '../../../../schema/rpc/api.ts'
import { limits } from '../../../../schema/wire/limits.ts'
import { DfsError } from '../../../../schema/wire/status.ts'
import { Leases, type Leaseholder } from '../../../../server/metadata/leases.ts'
import { connection } from '../../../support/metadata.ts'
import { silent } from '../../../support/transport.ts'

type Holder = { -readonly [K in keyof Leaseholder]: Leaseholder[K] }

interface Mount {
  readonly session: Holder
  /** What it was asked over its connections: method and lease. */
  readonly asked: [string, number][]
  closed: number
  /** Answers a call, or throws. */
  answer: () => Promise<unknown>
}

function mount(session: number, userId = 1): Mount {
  const made: Mount = {
    session: { record: { session, userId }, connection: undefined, ended: false },
    asked: [],
    closed: 0,
    answer: async () => ({}),
  }
  made.session.connection = link(made)
  return made
}

function link(to: Mount): Connection {
  const call = async (method: { name: string }, request: { lease: number }): Promise<unknown> => {
    to.asked.push([method.name, request.lease])
    return to.answer()
  }
  const close = async (): Promise<void> => {
    to.closed++
    to.session.connection = undefined
  }
  return { ...connection(), call: call as Connection['call'], close }
}

const late = async (): Promise<never> => {
  throw new DfsError('deadlineExceeded', 'no answer')
}

function start(): { leases: Leases; time: { ms: number } } {
  const time = { ms: 0 }
  let id = 0
  const pause = async (ms: number): Promise<void> => {
    time.ms += ms
    await new Promise((resolve) => setImmediate(resolve))
  }
  const leases = new Leases({ nextId: () => ++id, log: silent, nowMs: () => time.ms, pause })
  return { leases, time }
}

t.test('the only session of a user gets the lease, and keeps it when it comes back', async (t) => {
  const { leases } = start()
  const one = mount(1)
  const lease = leases.opened(one.session, true)
  t.ok(lease > 0)
  t.ok(leases.holds(one.session, lease))
  t.equal(leases.enter(one.session), undefined, 'it need not wait for itself')
  t.equal(leases.opened(one.session, true), lease)
  t.equal(leases.opened(one.session, false), lease, 'also while others are there')
  t.not(leases.opened(mount(9, 2).session, true), lease, "another user's tree has another")
})

t.test(
  'a second session waits for the answer to the recall, and all who come with it',
  async (t) => {
    const { leases } = start()
    const [one, two, three] = [mount(1), mount(2), mount(3)]
    const lease = leases.opened(one.session, true)
    let answer: (value: unknown) => void = () => undefined
    one.answer = async () => new Promise((resolve) => (answer = resolve))
    t.equal(leases.opened(two.session, false), 0)
    const waits = [
      leases.enter(two.session),
      leases.enter(two.session),
      leases.enter(three.session),
    ]
    let entered = 0
    const all = waits.map(async (wait) => {
      await wait
      entered++
    })
    await new Promise((resolve) => setImmediate(resolve))
    t.same(one.asked, [['recallLease', lease]], 'asked once')
    t.equal(entered, 0)
    t.ok(leases.holds(one.session, lease), 'what it held back is still taken')
    answer({})
    await Promise.all(all)
    t.equal(entered, 3)
    t.notOk(leases.holds(one.session, lease))
    t.equal(leases.enter(two.session), undefined)
    t.equal(leases.enter(one.session), undefined, 'shared: nobody waits')
    t.equal(leases.opened(two.session, false), 0)
    t.equal(one.closed, 0)
  },
)

t.test('who does not answer within the term loses lease and connection', async (t) => {
  const { leases, time } = start()
  const [one, two] = [mount(1), mount(2)]
  const lease = leases.opened(one.session, true)
  one.answer = late
  await leases.enter(two.session)
  t.ok(time.ms >= limits.leaseTermMs, 'not before')
  t.ok(time.ms < limits.leaseTermMs + 1_000, 'nor much later')
  t.notOk(leases.holds(one.session, lease))
  t.equal(one.closed, 1)
  t.equal(leases.opened(one.session, false), 0, 'it hears of it when it comes back')
})

t.test('a holder without a connection is waited for until it is back', async (t) => {
  const { leases, time } = start()
  const [one, two] = [mount(1), mount(2)]
  const lease = leases.opened(one.session, true)
  one.session.connection = undefined
  const entered = leases.enter(two.session)
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
  t.same(one.asked, [])
  one.session.connection = link(one)
  t.equal(leases.opened(one.session, false), lease)
  await entered
  t.same(one.asked, [['recallLease', lease]])
  t.ok(time.ms < limits.leaseTermMs)
})

t.test('a session that ends lets others in, and the last one left gets the lease', async (t) => {
  const { leases } = start()
  const [one, two] = [mount(1), mount(2)]
  const lease = leases.opened(one.session, true)
  one.answer = late
  const entered = leases.enter(two.session)
  one.session.ended = true
  leases.ended(one.session, two.session)
  await entered
  const [[method, given] = ['', 0]] = two.asked
  t.equal(method, 'grantLease')
  t.ok(given > lease, 'numbers go up')
  t.ok(leases.holds(two.session, given))
  t.ok(leases.enter(mount(3).session) !== undefined, 'held from the moment of the offer')
})

t.test('nothing is offered to a session that is away, or while several are open', async (t) => {
  const { leases } = start()
  const [one, two] = [mount(1), mount(2)]
  two.session.connection = undefined
  leases.ended(one.session, two.session)
  t.equal(leases.enter(one.session), undefined)
  leases.ended(one.session, undefined)
  t.equal(leases.enter(one.session), undefined)
})
