/** What a device remembers of its tree outlives the process, and is overwritten by nothing older. */
import { readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { InodeKey } from '../../../../mount/crypto/inode-key.ts'
import { StateMemory } from '../../../../mount/freshness/state-memory.ts'
import { genesis, successor, type TreeState } from '../../../../mount/freshness/tree-state.ts'
import { LogLines } from '../../../support/store-processes.ts'

const key = InodeKey.generate()
const root = Buffer.alloc(32, 1)
const log = new LogLines()
const first = genesis(key, { device: 1 })
const second = successor(key, first, { device: 2, root })
const third = successor(key, second, { device: 1, root })
const fork = successor(key, first, { device: 3, root })

const bytesOf = (states: readonly TreeState[]): string[] =>
  states.map(({ bytes }) => bytes.toString('hex')).sort()

t.test('the newest is remembered, in one file that only its owner may read', async (t) => {
  const dir = join(t.testdir(), 'made', 'for it')
  const memory = new StateMemory(dir, key, log)
  t.same(await memory.recall(), [])
  await memory.remember(first)
  await memory.remember(third)
  await memory.remember(second)
  const again = new StateMemory(dir, key, log)
  t.same(bytesOf(await again.recall()), bytesOf([third]))
  t.equal(readdirSync(dir).length, 2, 'a late one lies beside it')
  await again.remember(third)
  const files = readdirSync(dir)
  t.equal(files.length, 1)
  for (const file of files) t.equal(statSync(join(dir, file)).mode & 0o777, 0o600)
})

t.test('states that do not follow from each other are both remembered', async (t) => {
  const dir = t.testdir()
  await new StateMemory(dir, key, log).remember(third)
  await new StateMemory(dir, key, log).remember(fork)
  t.same(bytesOf(await new StateMemory(dir, key, log).recall()), bytesOf([third, fork]))
  await new StateMemory(dir, key, log).replace(fork)
  t.same(bytesOf(await new StateMemory(dir, key, log).recall()), bytesOf([fork]))
})

t.test('processes of one device that write at once lose nothing', async (t) => {
  const dir = t.testdir()
  const states = [first]
  for (let count = 0; count < 20; count++) {
    states.push(successor(key, states.at(-1) ?? first, { device: 1, root }))
  }
  await Promise.all(states.map(async (state) => new StateMemory(dir, key, log).remember(state)))
  t.same(bytesOf(await new StateMemory(dir, key, log).recall()), bytesOf(states.slice(-1)))
})

t.test(
  'a damaged file is told and counts for nothing; of another account it is left alone',
  async (t) => {
    const dir = t.testdir()
    const memory = new StateMemory(dir, key, log)
    await memory.remember(first)
    const [name = ''] = readdirSync(dir)
    truncateSync(join(dir, name), 20)
    log.lines.length = 0
    t.same(await memory.recall(), [])
    t.equal(log.lines.length, 1)
    await memory.remember(second)
    t.same(bytesOf(await memory.recall()), bytesOf([second]))
    writeFileSync(join(dir, 'profile.json'), '{}')
    t.same(await new StateMemory(dir, InodeKey.generate(), log).recall(), [])
  },
)
