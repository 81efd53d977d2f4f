/** The metadata server's threads come before others where they may, and it runs on where they may not. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const script = fileURLToPath(new URL('../../../support/come-first.js', import.meta.url))

interface Outcome {
  readonly main: number
  readonly others: readonly number[]
  readonly said: readonly string[]
}

function comeFirst(...before: string[]): Outcome {
  const [command, ...args] = [...before, process.execPath, script]
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`exit ${status}: ${stderr}`)
  return JSON.parse(stdout) as Outcome
}

const root = process.getuid?.() === 0
const skip = root ? {} : { skip: 'only root may, and may give it up' }

t.test('the main thread comes first, then its helpers', skip, (t) => {
  const { main, others, said } = comeFirst()
  t.equal(main, -20)
  t.ok(others.length > 4, 'there are helpers')
  t.same(new Set(others), new Set([-10]))
  t.same(said, [])
  t.end()
})

t.test('what is set higher is left', skip, (t) => {
  const { main, others } = comeFirst('nice', '-n', '-15')
  t.equal(main, -20)
  t.same(new Set(others), new Set([-15]))
  t.end()
})

t.test('without the right to it, all stays as it is and one line says so', skip, (t) => {
  const { main, others, said } = comeFirst('setpriv', '--bounding-set=-sys_nice')
  t.equal(main, 0)
  t.same(new Set(others), new Set([0]))
  t.equal(said.length, 1)
  t.match(said[0], /LimitNICE/)
  t.end()
})
