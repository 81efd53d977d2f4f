/**
 * Seeded walks of operations on a mount of a real cluster and on a local directory: each must have
 * the same result or errno in both, and the trees must be equal whenever they are compared.
 *
 * DFS_TEST_SEED repeats a walk, DFS_TEST_STEPS makes more of them: each is at most 5,000 steps long,
 * so that one that fails is soon made short and told step by step.
 */
import { closeSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import t, { type Test } from 'tap'
import { noMounts, startCluster } from '../support/cluster.ts'
import { noLists, noPython } from '../support/lockstep.ts'
import { attempt, Side, tree, Walk, type Operation } from '../support/random-walk.ts'
import { shrink } from '../support/shrink.ts'
import { SystemCalls } from '../support/system-calls.ts'

const firstSeed = Number(process.env['DFS_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const steps = Number(process.env['DFS_TEST_STEPS'] ?? 3_000)
const stepsPerWalk = 5_000
const compareEvery = 100
/** How often a failing walk is repeated to find what of it matters. */
const shrinkAttemptsMax = 300

t.setTimeout(120_000 + steps * 50)
const notRoot = process.getuid?.() === 0 ? undefined : 'only root can remove what it walks over'
const skip = noMounts() ?? noPython() ?? notRoot ?? false

t.test('a random walk gives what a local disk gives', { skip }, async (t) => {
  const cluster = startCluster(t, '--chunkservers', '1', '--racks', '1', '--replicas', '1')
  const calls = new SystemCalls()
  t.teardown(() => calls.close())
  for (let done = 0; done < steps; done += stepsPerWalk) {
    const seed = firstSeed + done / stepsPerWalk
    const local = mkdtempSync(join(tmpdir(), 'dfs-local-'))
    const mounted = join(cluster.mount, `walk-${seed}`)
    mkdirSync(mounted, { mode: 0o700 })
    const sides = { local: new Side(local, calls), mounted: new Side(mounted, calls) }
    try {
      const count = Math.min(stepsPerWalk, steps - done)
      if (!oneWalk(t, sides, { seed, count })) return
    } finally {
      leave(sides.local)
      leave(sides.mounted)
    }
  }
})

interface Sides {
  readonly local: Side
  readonly mounted: Side
}

/** False when it went wrong, which it has told. */
function oneWalk(t: Test, sides: Sides, { seed, count }: { seed: number; count: number }): boolean {
  const { local, mounted } = sides
  const walk = new Walk(seed, local, mounted, noLists() === undefined)
  const trail: Operation[] = []
  let done = 0
  for (let n = 0; n < count; n++) {
    const { operation, local: wanted, mounted: found } = walk.step()
    trail.push(operation)
    if ('value' in wanted) done++
    const looks = n % compareEvery === 0 || n === count - 1
    const same =
      isDeepStrictEqual(wanted, found) && (!looks || isDeepStrictEqual(tree(mounted), tree(local)))
    if (!same) {
      t.same(found, wanted, `step ${n} of seed ${seed}: ${JSON.stringify(operation.name)}`)
      t.fail(`DFS_TEST_SEED=${seed} differs; enough for it:\n${shortest(trail, sides)}`)
      return false
    }
  }
  t.ok(done > count / 4, `seed ${seed}: ${done} of ${count} operations had something to work on`)
  return true
}

function shortest(trail: readonly Operation[], { local, mounted }: Sides): string {
  const fails = (history: readonly Operation[]): boolean =>
    differs(history, {
      local: new Side(`${local.root}-again`, local.calls),
      mounted: new Side(`${mounted.root}-again`, mounted.calls),
    })
  if (!fails(trail)) return `not again when repeated; the last steps:\n${lines(trail.slice(-30))}`
  return lines(shrink(trail, fails, shrinkAttemptsMax))
}

function lines(history: readonly Operation[]): string {
  return history.map(({ name }) => JSON.stringify(name)).join('\n')
}

/** Whether a history, from the start in two new directories, ends differently in them. */
function differs(history: readonly Operation[], { local, mounted }: Sides): boolean {
  for (const { root } of [local, mounted]) mkdirSync(root, { mode: 0o700 })
  try {
    return (
      history.some(
        (operation) => !isDeepStrictEqual(attempt(operation, local), attempt(operation, mounted)),
      ) || !isDeepStrictEqual(tree(mounted), tree(local))
    )
  } finally {
    leave(local)
    leave(mounted)
  }
}

function leave({ handles, root }: Side): void {
  for (const handle of handles.splice(0)) closeSync(handle)
  rmSync(root, { recursive: true, force: true })
}
