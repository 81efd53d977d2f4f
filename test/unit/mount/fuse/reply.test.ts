/**
 * Each request is answered once, in time, and with the right errno.
 */
import { constants } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { codeOf, defaultDeadlines, Requests } from '../../../../mount/fuse/reply.ts'
import { InvariantError } from '../../../../schema/wire/invariant.ts'
import { DfsError, STATUS } from '../../../../schema/wire/status.ts'
import type { StatusName } from '../../../../schema/wire/status.ts'
import { MemoryLog } from '../../../support/fuse-mount.ts'

const { errno } = constants

function requests(t: Test, deadlines = defaultDeadlines): { log: MemoryLog; all: Requests } {
  const log = new MemoryLog()
  const all = new Requests(log, deadlines)
  t.teardown(() => all.stop(-errno.ENOTCONN))
  return { log, all }
}

t.test('every status has an errno of this system', async (t) => {
  for (const code of Object.keys(STATUS) as StatusName[]) {
    const error = new DfsError(code, 'x')
    const known: Record<string, number | undefined> = errno
    t.equal(codeOf(error), -(known[error.errno] ?? Number.NaN), code)
  }
})

t.test('a value or an error at once is answered at once', async (t) => {
  const { all, log } = requests(t)
  const answers: unknown[] = []
  const note = (code: number, value?: number): unknown => answers.push([code, value])
  all.run('getattr', '/a', () => 5, note)
  const missing = (): number => {
    throw new DfsError('notFound', '/a')
  }
  all.run('getattr', '/a', missing, note)
  t.same(answers, [
    [0, 5],
    [-errno.ENOENT, undefined],
  ])
  t.equal(all.pending, 0)
  t.same(log.lines, [], 'an ordinary answer is not logged')
})

t.test('a bug is EIO and logged, whether thrown or rejected', async (t) => {
  const { all, log } = requests(t)
  const codes: number[] = []
  const note = (code: number): unknown => codes.push(code)
  const bug = (): number => {
    throw new InvariantError('broken')
  }
  all.run('open', '/a', bug, note)
  all.run('open', '/a', () => Promise.reject(new TypeError('oops')), note)
  await pause(1)
  t.same(codes, [-errno.EIO, -errno.EIO])
  t.match(log.lines, [{ level: 'error' }, { level: 'error' }])
})

t.test('an answer that cannot be sent is sent as EIO', async (t) => {
  const { all } = requests(t)
  const codes: number[] = []
  const answer = (code: number): void => {
    codes.push(code)
    if (code === 0) throw new TypeError('does not fit')
  }
  all.run('open', '/a', () => Promise.resolve(1), answer)
  await pause(1)
  t.same(codes, [0, -errno.EIO])
})

t.test('the deadline answers once, and what comes late is given back', async (t) => {
  const { all, log } = requests(t, { requestMs: 50, dataMs: 10_000 })
  const codes: number[] = []
  let discarded = 0
  const work = (): Promise<number> => pause(600, 9)
  all.run(
    'open',
    '/a',
    work,
    (code) => codes.push(code),
    (late) => (discarded = late),
  )
  all.run('flush', '/b', work, (code) => codes.push(code))
  all.run('readdir', '/', work, (code) => codes.push(code))
  await pause(450)
  t.same(codes, [-errno.ETIMEDOUT], 'data and listings have a longer deadline')
  await pause(300)
  t.same(codes, [-errno.ETIMEDOUT, 0, 0])
  t.equal(discarded, 9)
  t.match(log.lines, [{ level: 'error', fields: { operation: 'open', subject: '/a' } }])
})

t.test('after the stop everything gets its code', async (t) => {
  const { all } = requests(t)
  const codes: number[] = []
  const note = (code: number): unknown => codes.push(code)
  all.run('open', '/a', () => new Promise<number>(() => undefined), note)
  all.stop(-errno.ENOTCONN)
  all.run('open', '/b', () => 1, note)
  t.same(codes, [-errno.ENOTCONN, -errno.ENOTCONN])
  t.equal(all.stopped, -errno.ENOTCONN)
})
