import * as fc from 'fast-check'
import t from 'tap'
import { Admission } from '../../../../server/chunkserver/admission.ts'

const never = new AbortController().signal
/** Each in its own right; half of a budget is for one owner. */
const owners = Array.from({ length: 10 }, (_, id) => ({ id }))
const [anna, bert, cleo] = owners as [object, object, object]

t.test('admits at once while there is room, then in turn', async (t) => {
  const admission = new Admission('tests', 20, 5)
  t.equal(admission.acquire(10, anna, never), undefined)
  t.equal(admission.acquire(8, bert, never), undefined)
  const order: string[] = []
  const big = admission.acquire(10, cleo, never)?.then(() => order.push('big'))
  const small = admission.acquire(1, bert, never)?.then(() => order.push('small'))
  admission.release(2, anna)
  await Promise.resolve()
  t.same(order, [], 'a small one does not overtake a big one for ever')
  admission.release(8, anna)
  await Promise.all([big, small])
  t.same(order, ['big', 'small'])
})

t.test('one owner gets half, and does not hold up the others', async (t) => {
  const admission = new Admission('tests', 20, 4)
  t.equal(admission.acquire(10, anna, never), undefined)
  const more = [1, 2, 3, 4].map(async () => admission.acquire(1, anna, never))
  t.throws(() => admission.acquire(1, anna, never), { code: 'tooManyRequests' })
  await admission.acquire(6, bert, never)
  admission.release(1, anna)
  await more[0]
  admission.release(3, anna)
  await Promise.all(more)
})

t.test('refuses when too many wait', async (t) => {
  const admission = new Admission('tests', 2, 200)
  for (const owner of [anna, bert]) t.equal(admission.acquire(1, owner, never), undefined)
  const many = owners.slice(0, 3).flatMap((owner) => Array.from({ length: 200 }, () => owner))
  const waiting = many.slice(0, 512).map(async (owner) => admission.acquire(1, owner, never))
  t.throws(() => admission.acquire(1, cleo, never), { code: 'tooManyRequests' })
  for (const owner of [anna, bert]) admission.release(1, owner)
  for (const [at, done] of waiting.entries()) {
    await done
    admission.release(1, many[at] ?? anna)
  }
})

t.test('whoever gives up while waiting lets the next through', async (t) => {
  const admission = new Admission('tests', 20, 5)
  t.equal(admission.acquire(6, anna, never), undefined)
  t.equal(admission.acquire(6, bert, never), undefined)
  const stop = new AbortController()
  const big = admission.acquire(10, cleo, stop.signal)
  const small = admission.acquire(2, bert, never)
  stop.abort()
  await t.rejects(Promise.resolve(big), { code: 'cancelled' })
  await small
  await t.rejects(Promise.resolve(admission.acquire(9, cleo, stop.signal)), { code: 'cancelled' })
})

t.test('never hands out more than it has, and nobody is forgotten', async () => {
  const request = fc.record({
    bytes: fc.integer({ min: 1, max: 10 }),
    owner: fc.constantFrom(...owners),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(request, { maxLength: 40 }), async (requests) => {
      const admission = new Admission('tests', 20, 100)
      let held = 0
      let most = 0
      await Promise.all(
        requests.map(async ({ bytes, owner }) => {
          await admission.acquire(bytes, owner, never)
          held += bytes
          most = Math.max(most, held)
          await Promise.resolve()
          held -= bytes
          admission.release(bytes, owner)
        }),
      )
      return most <= 20 && held === 0
    }),
  )
})
