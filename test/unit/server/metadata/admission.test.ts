import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { DfsError } from '../../../../schema/wire/status.ts'
import { Admission, type AdmissionBounds } from '../../../../server/metadata/admission.ts'
import {
  SLOW_REQUEST_MS,
  RequestTimes,
  SlowRequests,
} from '../../../../server/metadata/request-times.ts'
import { silent } from '../../../support/transport.ts'

const bounds: AdmissionBounds = {
  running: 4,
  costPerTurn: 100,
  waitingPerUser: 10,
  waiting: 20,
  bytes: 1_000,
}

/** Requests that end when told; `started` tells in which order they were let in. */
class Requests {
  readonly started: string[] = []
  readonly admission: Admission
  readonly #ends = new Map<string, () => void>()

  constructor(more: Partial<AdmissionBounds> = {}) {
    this.admission = new Admission(silent, { ...bounds, ...more })
  }

  ask(user: number, name: string, more: { bytes?: number; cost?: number; gone?: boolean } = {}) {
    const request = { user, method: name, cost: more.cost ?? 1, bytes: more.bytes ?? 1 }
    const asked = this.admission.run(
      { ...request, abandoned: () => more.gone === true },
      async () => {
        this.started.push(name)
        await new Promise<void>((resolve) => this.#ends.set(name, resolve))
        return name
      },
    )
    return asked.catch((error: unknown) => (error as DfsError).code)
  }

  /** Ends what runs, and what comes to run then, until nothing is left. */
  async finish(): Promise<void> {
    for (let quiet = 0; quiet < 3; quiet++) {
      for (const [name, end] of this.#ends) {
        this.#ends.delete(name)
        end()
        quiet = 0
      }
      await turn()
    }
  }
}

t.test('an idle server starts a request at once', async (t) => {
  const requests = new Requests()
  const asked = requests.ask(1, 'a')
  t.strictSame(requests.started, ['a'])
  await requests.finish()
  t.equal(await asked, 'a')
})

t.test('one user leaves a place that another finds at once', async (t) => {
  const requests = new Requests()
  const asked = Array.from({ length: 8 }, (_, i) => requests.ask(1, `a${i}`))
  await turn()
  t.strictSame(requests.started, ['a0', 'a1'], 'half of the places')
  asked.push(requests.ask(2, 'b'))
  await turn()
  t.strictSame(requests.started, ['a0', 'a1', 'b'])
  await requests.finish()
  t.equal((await Promise.all(asked)).length, 9)
  t.equal(requests.started.length, 9)
})

t.test('users take turns, whatever waits in their lines', async (t) => {
  const requests = new Requests({ running: 2, costPerTurn: 1 })
  const asked = ['a0', 'a1', 'a2', 'a3'].map((name) => requests.ask(1, name))
  for (const name of ['b0', 'b1']) asked.push(requests.ask(2, name))
  await requests.finish()
  await Promise.all(asked)
  t.ok(requests.started.indexOf('b1') < requests.started.indexOf('a3'), requests.started.join(' '))
})

t.test('one turn of the event loop starts a bounded amount of work', async (t) => {
  const requests = new Requests({ running: 100, costPerTurn: 10 })
  const asked = Array.from({ length: 9 }, (_, i) => requests.ask(1, `a${i}`, { cost: 4 }))
  t.equal(requests.started.length, 3, '4, 8, and the one that goes over 10')
  await turn()
  t.equal(requests.started.length, 6)
  await requests.finish()
  await Promise.all(asked)
})

t.test('a user with too many waiting is refused, another is not', async (t) => {
  const requests = new Requests()
  const asked = Array.from({ length: 13 }, (_, i) => requests.ask(1, `a${i}`))
  t.equal(await asked[12], 'tooManyRequests')
  const other = requests.ask(2, 'b')
  await requests.finish()
  t.equal(await other, 'b')
  t.equal((await Promise.all(asked)).filter((end) => end === 'tooManyRequests').length, 1)
})

t.test('when all is full, who has most waiting makes room', async (t) => {
  const requests = new Requests({ waiting: 12 })
  const asked = Array.from({ length: 12 }, (_, i) => requests.ask(1, `a${i}`))
  const others = [2, 3, 4, 5].map((user) => requests.ask(user, `b${user}`))
  t.equal(requests.admission.waiting, 12, 'ten of the one and one each of two others')
  await requests.finish()
  t.strictSame(await Promise.all(others), ['b2', 'b3', 'b4', 'b5'])
  const refused = (await Promise.all(asked)).map((end) => end === 'tooManyRequests')
  t.strictSame(refused.slice(-2), [true, true], 'its last two')
  t.equal(refused.filter(Boolean).length, 2)
})

t.test('large requests are bounded by their bytes', async (t) => {
  const requests = new Requests({ running: 2 })
  const asked = Array.from({ length: 5 }, (_, i) => requests.ask(1, `a${i}`, { bytes: 300 }))
  const other = requests.ask(2, 'b', { bytes: 300 })
  await requests.finish()
  const ends = await Promise.all(asked)
  t.ok(ends.includes('tooManyRequests'), 'not all of 1,500 bytes')
  t.equal(ends[0], 'a0')
  t.equal(await other, 'b', 'who has nothing waiting is let in')
})

t.test('what was given up while it waited is not carried out', async (t) => {
  const requests = new Requests({ running: 2 })
  const asked = [requests.ask(1, 'a'), requests.ask(1, 'gone', { gone: true })]
  asked.push(requests.ask(1, 'c'))
  await requests.finish()
  t.strictSame(await Promise.all(asked), ['a', 'cancelled', 'c'])
  t.strictSame(requests.started, ['a', 'c'])
})

t.test('nothing is left behind when all is done', async (t) => {
  const requests = new Requests({ waiting: 5, waitingPerUser: 3 })
  for (let round = 0; round < 20; round++) {
    const asked = Array.from({ length: 30 }, (_, i) =>
      requests.ask((i * 7) % 5, `${round} ${i}`, { bytes: (i * 37) % 400, gone: i % 9 === 0 }),
    )
    await requests.finish()
    await Promise.all(asked)
    t.equal(requests.admission.waiting, 0)
  }
  requests.started.length = 0
  const asked = [requests.ask(1, 'a', { bytes: 900 }), requests.ask(1, 'b')]
  t.strictSame(requests.started, ['a', 'b'], 'all places and bytes are free again')
  await requests.finish()
  await Promise.all(asked)
})

t.test('a slow request is logged with its parts, and not too often', async (t) => {
  const lines: Record<string, unknown>[] = []
  const log = { ...silent, warn: (fields: object) => lines.push({ ...fields }) }
  const times = new RequestTimes()
  let nowMs = times.arrivedMs + SLOW_REQUEST_MS - 1
  const slow = new SlowRequests(log, () => nowMs)
  slow.ended(times, 7, 'commit')
  t.equal(lines.length, 0, 'not slow enough')
  // Not just the bound: sums of fractions of milliseconds round either way.
  nowMs = times.arrivedMs + SLOW_REQUEST_MS + 0.25
  Object.assign(times, { waitedMs: 100, turnMs: 200, readMs: 50, transactionMs: 300, syncMs: 380 })
  slow.ended(times, 7, 'commit')
  t.match(lines, [
    { method: 'commit', user: 7, totalMs: 1_000, waitedMs: 100, turnMs: 200, readMs: 50 },
  ])
  t.match(lines, [{ transactionMs: 300, syncMs: 380, answerMs: 20, unlogged: 0 }])
  for (let i = 0; i < 50; i++) slow.ended(times, 7, 'commit')
  t.equal(lines.length, 10)
  nowMs += 60_000
  slow.ended(times, 7, 'commit')
  t.match(lines.at(-1), { unlogged: 41 })
})
