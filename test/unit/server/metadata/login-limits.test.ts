/**
 * Guessing is slowed down by address and by account; whoever knows the password is never locked out
 * where he logged in before.
 */
import t from 'tap'
import { Clock } from '../../../../server/metadata/clock.ts'
import { LoginLimits } from '../../../../server/metadata/login-limits.ts'

const ATTEMPTS_MAX = 1_000

function setUp(): { limits: LoginLimits; time: { ms: number } } {
  const time = { ms: 1_000_000 }
  return { limits: new LoginLimits(new Clock(() => time.ms)), time }
}

/** Attempts until the refusal. */
function allowed(attempt: (index: number) => void): number {
  for (let index = 0; index < ATTEMPTS_MAX; index++) {
    try {
      attempt(index)
    } catch {
      return index
    }
  }
  return ATTEMPTS_MAX
}

t.test('an address may try some times at once, then once in a while', async (t) => {
  const { limits, time } = setUp()
  const attempt = (index: number): void => limits.attempt('192.0.2.1:5', `user-${index}`)
  const burst = allowed(attempt)
  t.ok(burst > 1 && burst <= 20, `${burst} at once`)
  t.throws(() => attempt(0), { code: 'tooManyLogins', message: /wait \d+ s/ })
  t.doesNotThrow(() => limits.attempt('192.0.2.2:5', 'user-0'), 'another address is not meant')
  time.ms += 60_000
  const later = allowed((index) => attempt(index + ATTEMPTS_MAX))
  t.ok(later >= 1 && later <= 20, `${later} a minute later`)
})

t.test('an account is guarded against many addresses', async (t) => {
  const { limits } = setUp()
  const tries = allowed((index) => limits.attempt(`192.0.2.${index}:5`, 'ann'))
  t.ok(tries > 1 && tries <= 10, `${tries} from everywhere together`)
})

t.test('strangers cannot lock an owner out where he logged in before', async (t) => {
  const { limits } = setUp()
  limits.attempt('198.51.100.7:1', 'ann')
  limits.succeeded('198.51.100.7:1', 'ann')
  allowed((index) => limits.attempt(`192.0.2.${index}:5`, 'ann'))
  t.throws(() => limits.attempt('192.0.2.200:5', 'ann'), { code: 'tooManyLogins' })
  t.doesNotThrow(() => limits.attempt('198.51.100.7:9', 'ann'), 'another port, the same host')
  const more = allowed(() => limits.attempt('198.51.100.7:9', 'ann'))
  t.ok(more < 20, 'but guessing from there is slowed down too')
})

t.test('logging in with the right password costs nothing', async (t) => {
  const { limits } = setUp()
  const logins = allowed(() => {
    limits.attempt('198.51.100.7:1', 'ann')
    limits.succeeded('198.51.100.7:1', 'ann')
  })
  t.equal(logins, ATTEMPTS_MAX)
})
