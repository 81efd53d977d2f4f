/**
 * A directory is moved with nobody on the way, and whoever waited goes by its new path.
 */
import { setTimeout as pause } from 'node:timers/promises'
import * as fc from 'fast-check'
import t from 'tap'
import { PathGate } from '../../../../mount/fuse/path-gate.ts'

interface Held {
  readonly work: () => Promise<void>
  readonly release: () => void
}

/** Work that takes until it is released. */
function held(): Held {
  let release = (): void => undefined
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  return { work: () => released, release: () => release() }
}

const turn = (): Promise<void> => pause(1)

t.test('a move waits for requests on the way, and not for others', async (t) => {
  const gate = new PathGate()
  const below = held()
  const beside = held()
  const log: string[] = []
  const first = gate.by(() => '/a/b/file', below.work)
  const other = gate.by(() => '/ab', beside.work)
  const move = gate.move(
    () => ['/a', '/c'],
    async () => {
      log.push('moved')
    },
  )
  await turn()
  t.same(log, [])
  below.release()
  await first
  await move
  t.same(log, ['moved'], 'with /ab still in use')
  beside.release()
  await other
})

t.test('a move waits for requests at its target', async (t) => {
  const gate = new PathGate()
  const there = held()
  const log: string[] = []
  const first = gate.by(() => '/c', there.work)
  const move = gate.move(
    () => ['/a', '/c'],
    async () => {
      log.push('moved')
    },
  )
  await turn()
  t.same(log, [])
  there.release()
  await Promise.all([first, move])
  t.same(log, ['moved'])
})

t.test('requests that come while a directory moves go by its new path', async (t) => {
  const gate = new PathGate()
  const moving = held()
  let now = '/a'
  const move = gate.move(
    () => ['/a', '/c'],
    async () => {
      await moving.work()
      now = '/c'
    },
  )
  const through = gate.by(
    () => `${now}/file`,
    async (path) => path,
  )
  const both = gate.byBoth(
    () => ['/x', `${now}/file`],
    async (...paths) => paths,
  )
  const beside = await gate.by(
    () => '/ab/file',
    async (path) => path,
  )
  t.equal(beside, '/ab/file', 'what is elsewhere is not held up')
  moving.release()
  t.equal(await through, '/c/file')
  t.same(await both, ['/x', '/c/file'])
  await move
})

t.test('a path that is gone after the wait is the request’s error', async (t) => {
  const gate = new PathGate()
  const moving = held()
  let isGone = false
  const move = gate.move(
    () => ['/a', '/c'],
    async () => {
      await moving.work()
      isGone = true
    },
  )
  const through = gate.by(
    () => {
      if (isGone) throw new Error('gone')
      return '/a/file'
    },
    async () => undefined,
  )
  moving.release()
  await t.rejects(through, { message: 'gone' })
  await move
})

t.test('moves of one into another happen in turn', async (t) => {
  const gate = new PathGate()
  const log: string[] = []
  const moving = (label: string) => async (): Promise<void> => {
    log.push(`${label} begins`)
    await turn()
    log.push(`${label} ends`)
  }
  await Promise.all([
    gate.move(() => ['/a/b', '/x'], moving('inner')),
    gate.move(() => ['/a', '/y'], moving('outer')),
  ])
  t.same(log, ['inner begins', 'inner ends', 'outer begins', 'outer ends'])
})

t.test('what fails lets the others go on', async (t) => {
  const gate = new PathGate()
  const fail = async (): Promise<never> => {
    await turn()
    throw new Error('no')
  }
  const failed = [
    gate.by(() => '/a', fail),
    gate.byBoth(() => ['/a', '/b'], fail),
    gate.move(() => ['/a', '/b'], fail),
  ]
  await Promise.all(failed.map((one) => t.rejects(one, { message: 'no' })))
  t.equal(
    await gate.move(
      () => ['/a', '/b'],
      async (from) => from,
    ),
    '/a',
  )
})

const path = fc
  .array(fc.constantFrom('a', 'b', 'ab'), { minLength: 1, maxLength: 3 })
  .map((names) => `/${names.join('/')}`)
const request = fc.record({
  kind: fc.constantFrom('by', 'both', 'move'),
  first: path,
  second: path,
  turns: fc.integer({ min: 0, max: 4 }),
})

const isWithin = (one: string, other: string): boolean => `${one}/`.startsWith(`${other}/`)

t.test('no request and no move meet on one way, and all end', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(request, { maxLength: 20 }), async (requests) => {
      const gate = new PathGate()
      const used: string[] = []
      const moved: string[] = []
      let met = false
      const work = async (
        list: string[],
        mine: readonly string[],
        turns: number,
      ): Promise<void> => {
        const below = (one: string, ends: readonly string[]): boolean =>
          ends.some((end) => isWithin(one, end))
        met ||= mine.some((end) => below(end, moved))
        if (list === moved) met ||= [...moved, ...used].some((other) => below(other, mine))
        list.push(...mine)
        for (let turnsLeft = turns; turnsLeft > 0; turnsLeft--) await Promise.resolve()
        for (const one of mine) list.splice(list.indexOf(one), 1)
      }
      await Promise.all(
        requests.map(({ kind, first, second, turns }) => {
          const paths = (): readonly [string, string] => [first, second]
          if (kind === 'by')
            return gate.by(
              () => first,
              (one) => work(used, [one], turns),
            )
          const both = (...mine: string[]): Promise<void> =>
            work(kind === 'move' ? moved : used, mine, turns)
          return kind === 'move' ? gate.move(paths, both) : gate.byBoth(paths, both)
        }),
      )
      return !met
    }),
    { numRuns: 500 },
  )
  t.pass('500 crowds')
})
