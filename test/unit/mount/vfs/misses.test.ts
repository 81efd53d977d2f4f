/** When a directory is worth reading whole. */
import t from 'tap'
import { Misses } from '../../../../mount/vfs/misses.ts'

t.test('a small directory is read whole for its first name', async (t) => {
  t.equal(new Misses().missed(1, 64), true)
  t.equal(new Misses().missed(1, 0), true)
})

t.test('a larger one when so many names were asked for that it pays', async (t) => {
  const misses = new Misses()
  let asked = 1
  while (!misses.missed(1, 1_000)) asked++
  t.equal(asked, Math.ceil(1_000 / 64))
  t.equal(misses.missed(2, 1_000), false, 'each directory for itself')
})

t.test('after a listing that brought nothing it takes twice as many', async (t) => {
  const misses = new Misses()
  t.equal(misses.missed(1, 10), true)
  misses.failed(1, 10)
  const answers = Array.from({ length: 4 }, () => misses.missed(1, 10))
  t.same(answers, [false, false, true, true])
})
