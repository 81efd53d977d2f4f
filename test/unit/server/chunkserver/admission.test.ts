import * as fc from 'fast-check'
import t from 'tap'
import { Admission } from '../../../../server/chunkserver/admission.ts'

const never = new AbortController().signal

t.test('admits at once while there is room, then in turn', async (t) => {
  const admission = new Admission('tests', 10, 5)
  t.equal(admission.acquire(6, never), undefined)
  t.equal(admission.acquire(4, never), undefined)
  const order: string[] = []
  const big = admission.acquire(8, never)?.then(() => order.push('big'))
  const small = admission.acquire(1, never)?.then(() => order.push('small'))
  admission.release(4)
  await Promise.resolve()
  t.same(order, [], 'a small one does not overtake a big one for ever')
  admission.release(6)
  await Promise.all([big, small])
  t.same(order, ['big', 'small'])
})

t.test('refuses when too many wait', async (t) => {
  const admission = new Admission('tests', 1, 2)
  t.equal(admission.acquire(1, never), undefined)
  const waiting = [admission.acquire(1, never), admission.acquire(1, never)]
  t.throws(() => admission.acquire(1, never), { code: 'tooManyRequests' })
  admission.release(1)
  await waiting[0]
  admission.release(1)
  await waiting[1]
})

t.test('whoever gives up while waiting lets the next through', async (t) => {
  const admission = new Admission('tests', 10, 5)
  t.equal(admission.acquire(6, never), undefined)
  const stop = new AbortController()
  const big = admission.acquire(10, stop.signal)
  const small = admission.acquire(2, never)
  stop.abort()
  await t.rejects(Promise.resolve(big), { code: 'cancelled' })
  await small
  await t.rejects(Promise.resolve(admission.acquire(9, stop.signal)), { code: 'cancelled' })
})

t.test('never hands out more than it has, and nobody is forgotten', async () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 10 }), { maxLength: 40 })
  await fc.assert(
    fc.asyncProperty(sizes, async (wanted) => {
      const admission = new Admission('tests', 10, 100)
      let held = 0
      let most = 0
      await Promise.all(
        wanted.map(async (bytes) => {
          await admission.acquire(bytes, never)
          held += bytes
          most = Math.max(most, held)
          await Promise.resolve()
          held -= bytes
          admission.release(bytes)
        }),
      )
      return most <= 10 && held === 0
    }),
  )
})
