/**
 * Repeating: only what may pass, never beyond the deadline, and gone at once when the caller is.
 */
import { performance } from 'node:perf_hooks'
import t from 'tap'
import { DfsError } from '../../../../schema/wire/status.ts'
import { pauseMs, retried } from '../../../../mount/client/retry.ts'

const passing = (error: DfsError): boolean => error.code === 'connectionLost'
const never = new AbortController().signal
const lost = new DfsError('connectionLost', 'gone')

t.test('succeeds after failures that pass', async (t) => {
  let tries = 0
  const result = await retried(
    { what: 'x', deadlineMs: 2_000, passing, signal: never },
    async () => {
      if (++tries < 4) throw lost
      return 'done'
    },
  )
  t.equal(result, 'done')
  t.equal(tries, 4)
})

t.test('gives up at the deadline with the last error, and says how long it tried', async (t) => {
  const startedMs = performance.now()
  const lefts: number[] = []
  const attempt = retried(
    { what: 'create', deadlineMs: 150, passing, signal: never },
    async (left) => {
      lefts.push(left)
      throw lost
    },
  )
  await t.rejects(attempt, {
    code: 'connectionLost',
    message: /^create: gone \(given up after \d+ tries in 150 ms\)/,
  })
  t.ok(performance.now() - startedMs < 1_000)
  t.ok(lefts.every((left) => left > 0 && left <= 150))
})

t.test('does not repeat an error that stays, nor a bug', async (t) => {
  for (const error of [new DfsError('exists', 'there'), new TypeError('a bug')]) {
    let tries = 0
    const attempt = retried({ what: 'x', deadlineMs: 1_000, passing, signal: never }, async () => {
      tries++
      throw error
    })
    await t.rejects(attempt, error)
    t.equal(tries, 1)
  }
})

t.test('ends in the middle of a pause when the caller gives up', async (t) => {
  const abort = new AbortController()
  const attempt = retried(
    { what: 'x', deadlineMs: 60_000, passing, signal: abort.signal },
    async () => {
      setTimeout(() => abort.abort(), 5)
      throw lost
    },
  )
  await t.rejects(attempt, { code: 'cancelled' })
})

t.test('pauses grow, spread, and never exceed a second', async (t) => {
  const longest = (failures: number): number =>
    Math.max(...Array.from({ length: 200 }, () => pauseMs(failures)))
  t.ok(longest(0) <= 25)
  t.ok(longest(4) > longest(0))
  t.ok(longest(1_000) <= 1_000)
  t.not(pauseMs(8), pauseMs(8), 'no two clients in step')
})
