/**
 * Which replica is asked first, and when an answer counts as late.
 */
import t from 'tap'
import { LATE_MS_MAX, ServerHealth } from '../../../../mount/client/server-health.ts'

/** Lets a server answer `count` requests in `ms` each. */
function answers(health: ServerHealth, server: number, ms: number, count = 20): void {
  for (let i = 0; i < count; i++) {
    health.began(server)
    health.answered(server, ms)
    health.ended(server)
  }
}

t.test('faster servers come first, failing ones last', async (t) => {
  const health = new ServerHealth()
  answers(health, 1, 50)
  answers(health, 2, 2)
  answers(health, 3, 1)
  health.began(3)
  health.failed(3)
  t.same(health.ordered([1, 2, 3]), [2, 1, 3])
  t.same(health.failing(), [3])
  t.ok(health.isFailing(3))
})

t.test('an answer makes good for failures, and so does forgiving', async (t) => {
  const health = new ServerHealth()
  for (const server of [1, 2]) {
    health.began(server)
    health.failed(server)
  }
  answers(health, 1, 5, 1)
  t.same(health.failing(), [2])
  health.forgive()
  t.same(health.failing(), [])
})

t.test('requests under way count against a server, so that readers spread', async (t) => {
  const health = new ServerHealth()
  answers(health, 1, 5)
  answers(health, 2, 5)
  for (let i = 0; i < 4; i++) health.began(1)
  for (let i = 0; i < 20; i++) t.same(health.ordered([1, 2]), [2, 1])
})

t.test('equal servers take turns', async (t) => {
  const health = new ServerHealth()
  const firsts = new Set(Array.from({ length: 100 }, () => health.ordered([1, 2, 3])[0]))
  t.equal(firsts.size, 3)
})

t.test('an answer is late after four times the usual, within bounds', async (t) => {
  const health = new ServerHealth()
  t.equal(health.lateMs, LATE_MS_MAX, 'nothing known yet')
  answers(health, 1, 1, 64)
  t.equal(health.lateMs, 150, 'never hasty')
  answers(health, 1, 100, 64)
  t.equal(health.lateMs, 400)
  answers(health, 1, 5_000, 64)
  t.equal(health.lateMs, LATE_MS_MAX, 'never patient for long')
})
