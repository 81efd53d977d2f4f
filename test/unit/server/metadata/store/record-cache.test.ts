import fc from 'fast-check'
import t from 'tap'
import { RecordCache } from '../../../../../server/metadata/store/record-cache.ts'

const BUDGET = 4_096

const key = (number: number): Buffer => Buffer.from(`key ${number}`)

type Step = { readonly key: number; readonly bytes: number | undefined }

const steps = fc.array(
  fc.record<Step>({
    key: fc.nat(60),
    bytes: fc.option(fc.nat(1_200), { nil: undefined, freq: 4 }),
  }),
  { minLength: 1, maxLength: 400 },
)

t.test('a cache knows the last record of a key, or nothing', async (t) => {
  fc.assert(
    fc.property(steps, (all) => {
      const cache = new RecordCache(BUDGET)
      const last = new Map<number, Buffer | undefined>()
      let filler = 0
      for (const step of all) {
        const record =
          step.bytes === undefined ? undefined : Buffer.alloc(step.bytes, (filler = filler + 1))
        cache.set(key(step.key), record)
        last.set(step.key, record)
        for (let number = 0; number <= 60; number++) {
          const known = cache.get(key(number))
          if (known === undefined) continue
          const wanted = last.get(number)
          if (!last.has(number)) throw new Error(`key ${number} was never set`)
          if (known === null ? wanted !== undefined : wanted?.compare(known) !== 0) {
            throw new Error(`key ${number} has another record`)
          }
        }
      }
    }),
  )
  t.pass()
})

t.test('the record that was set last is there, also empty or none', async (t) => {
  const cache = new RecordCache(BUDGET)
  for (const record of [Buffer.from('one'), Buffer.alloc(0), Buffer.alloc(300, 7)]) {
    cache.set(key(1), record)
    t.same(cache.get(key(1)), record)
  }
  cache.set(key(1), undefined)
  t.equal(cache.get(key(1)), null)
  t.equal(cache.has(key(1)), true)
  t.equal(cache.has(key(2)), false)
  t.equal(cache.get(key(2)), undefined)
})

t.test('a record that is too large for it is forgotten, and drives out no other', async (t) => {
  const cache = new RecordCache(BUDGET)
  cache.set(key(1), Buffer.from('small'))
  cache.set(key(2), Buffer.from('small'))
  cache.set(key(1), Buffer.alloc(BUDGET / 2))
  t.equal(cache.get(key(1)), undefined)
  t.same(cache.get(key(2)), Buffer.from('small'))
})

t.test('what is asked for again and again stays, while others come and go', async (t) => {
  const cache = new RecordCache(1_048_576)
  const record = Buffer.alloc(200)
  let misses = 0
  cache.set(key(0), record)
  for (let number = 1; number < 100_000; number++) {
    cache.set(key(number), record)
    if (number % 100 !== 0 || cache.get(key(0)) !== undefined) continue
    // Its bucket overflowed, which happens once in some hundred rounds through the buffer.
    misses++
    cache.set(key(0), record)
  }
  t.ok(misses < 10, `${misses} misses`)
  t.equal(cache.get(key(1)), undefined)
})

t.test('most of the budget is in use', async (t) => {
  const cache = new RecordCache(1_048_576)
  const record = Buffer.alloc(250)
  for (let number = 0; number < 20_000; number++) cache.set(key(number), record)
  let known = 0
  for (let number = 0; number < 20_000; number++) if (cache.has(key(number))) known++
  t.ok(known * 270 > 0.8 * 1_048_576, `${known} records`)
})
