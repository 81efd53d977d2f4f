/**
 * Keeping a tree's state against a server that goes back, forks, hides and hurries: honest servers are
 * never refused, the others always.
 */
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { InodeKey } from '../../../../mount/crypto/inode-key.ts'
import { Changes } from '../../../../mount/freshness/changes.ts'
import { StateMemory } from '../../../../mount/freshness/state-memory.ts'
import { TreeKeeper } from '../../../../mount/freshness/tree-keeper.ts'
import { DEAD } from '../../../../mount/freshness/version-pages.ts'
import { DfsError } from '../../../../schema/wire/status.ts'
import { LogLines } from '../../../support/store-processes.ts'
import { silent } from '../../../support/transport.ts'
import { TreeServer } from '../../../support/tree-server.ts'

const key = InodeKey.generate()

interface Device {
  readonly server: TreeServer
  readonly device: number
  readonly dir: string
}

const open = (
  { server, device, dir }: Device,
  log: LogLines | typeof silent = silent,
): Promise<TreeKeeper> => {
  const memory = new StateMemory(dir, key, log)
  return TreeKeeper.open({ session: server.session(key, device), log, memory })
}

/** A checkpoint of some bounds. */
async function write(keeper: TreeKeeper, bounds: Record<number, number>): Promise<void> {
  const changes = new Changes()
  for (const [inode, version] of Object.entries(bounds)) changes.raise(Number(inode), version)
  while (!(await keeper.checkpoint(changes)));
}

async function bound(keeper: TreeKeeper, inode: number): Promise<number | undefined> {
  await keeper.fetch([inode])
  return keeper.bound(inode)
}

function devices(t: Test, server = new TreeServer()): { server: TreeServer; a: Device; b: Device } {
  const dir = t.testdir({ a: {}, b: {} })
  return {
    server,
    a: { server, device: 1, dir: `${dir}/a` },
    b: { server, device: 2, dir: `${dir}/b` },
  }
}

t.test('what one device wrote, the other finds, and the maximum of both', async (t) => {
  const { a, b } = devices(t)
  const left = await open(a)
  const right = await open(b)
  await write(left, { 5: 3, 6: 1 })
  await write(right, { 5: 2, 6: DEAD, 70_000: 4 })
  await write(left, { 6: 9 })
  for (const keeper of [left, right, await open(a), await open(b)]) {
    await keeper.refresh()
    t.equal(await bound(keeper, 5), 3)
    t.equal(await bound(keeper, 6), DEAD)
    t.equal(await bound(keeper, 70_000), 4)
    t.equal(await bound(keeper, 7), 0)
  }
})

t.test('an older state is refused by who has seen a newer one, for good', async (t) => {
  const { server, a, b } = devices(t)
  const left = await open(a)
  await write(left, { 5: 1 })
  const old = server.copy()
  const nothing = new TreeServer().copy()
  await write(left, { 5: 2 })
  const right = await open(b)
  const newest = server.copy()
  for (const stored of [old, nothing]) {
    server.stored = stored
    for (const device of [a, b]) {
      const log = new LogLines()
      await t.rejects(open(device, log), { code: 'rolledBack', message: /accept-rollback/ })
      t.equal(log.errors().length, 1, 'one line says so')
    }
  }
  await t.rejects(right.refresh(), { code: 'rolledBack' }, 'also within a mount')
  t.match(right.refused, { code: 'rolledBack' })
  server.stored = newest
  t.match(right.refused, { code: 'rolledBack' }, 'a mount that has refused goes on doing so')
  await open(b)
  const stranger = { ...a, dir: `${a.dir}/nothing-seen` }
  server.stored = old
  await open(stranger)
})

t.test('two devices that were shown different trees find out from either', async (t) => {
  const { server, a, b } = devices(t)
  const left = await open(a)
  const right = await open(b)
  await write(left, { 5: 1 })
  await right.refresh()
  const common = server.copy()
  await write(left, { 5: 2 })
  const forLeft = server.copy()
  server.stored = common
  await write(right, { 6: 2 })
  await write(right, { 6: 3 })
  const forRight = server.copy()
  await t.rejects(open(a), { code: 'rolledBack' }, 'a new mount of the one')
  server.stored = forLeft
  await t.rejects(open(b), { code: 'rolledBack' }, 'a new mount of the other')
  await t.rejects(right.refresh(), { code: 'rolledBack' })
  server.stored = forRight
  await t.rejects(write(left, { 5: 3 }), { code: 'rolledBack' }, 'a write that meets the other')
  t.equal(server.stored.counter, forRight.counter, 'and changes nothing')
})

t.test('two mounts of one device that were shown different trees find out', async (t) => {
  const { server, a } = devices(t)
  const one = await open(a)
  const two = await open(a)
  await write(one, { 5: 1 })
  await two.refresh()
  const common = server.copy()
  await write(one, { 5: 2 })
  server.stored = common
  await t.rejects(write(two, { 6: 1 }), { code: 'rolledBack' })
})

t.test('a state that nobody of the account made is refused', async (t) => {
  const { server, a, b } = devices(t)
  await write(await open(a), { 5: 1 })
  const good = server.copy()
  const other = new TreeServer()
  const session = other.session(InodeKey.generate(), 1)
  await write(await TreeKeeper.open({ session, log: silent, memory: undefined }), { 5: 1 })
  server.stored = other.copy()
  await t.rejects(open(a), { code: 'rolledBack' })
  await t.rejects(open(b), { code: 'notAuthentic' }, 'also by who has seen nothing yet')
  server.stored = { ...good, counter: good.counter + 1 }
  await t.rejects(open(b), { code: 'notAuthentic' }, 'given under another count')
})

t.test('pages that do not belong to the state are refused', async (t) => {
  const { server, a } = devices(t)
  const keeper = await open(a)
  await write(keeper, { 5: 1, 9_000: 1 })
  const old = server.copy().pages
  await write(keeper, { 5: 2, 9_000: 2 })
  const { pages } = server.stored
  for (const page of pages.keys()) {
    server.stored = {
      ...server.stored,
      pages: new Map(pages).set(page, old.get(page) ?? Buffer.of()),
    }
    const fresh = await open(a)
    const reads = Promise.all([bound(fresh, 5), bound(fresh, 9_000)])
    await t.rejects(reads, { code: 'notAuthentic' }, `page ${page}`)
  }
})

t.test(
  'a write whose answer was lost counts once, also when another one followed it',
  async (t) => {
    const { server, a, b } = devices(t)
    const left = await open(a)
    const right = await open(b)
    server.loseAnswer = () => {
      throw new DfsError('versionConflict', 'as a repeated request gets it')
    }
    await write(left, { 5: 1 })
    t.equal(server.stored.counter, 1)
    server.loseAnswer = () => {
      throw new DfsError('connectionLost', 'no answer')
    }
    await t.rejects(write(left, { 5: 2 }), { code: 'connectionLost' })
    await write(right, { 6: 1 })
    await write(left, { 5: 2 })
    t.equal(server.stored.counter, 3, 'there was nothing left to write')
    t.equal(await bound(left, 6), 1)
    t.equal(left.refused, undefined)
  },
)

t.test('what others have changed costs one request, what is known costs none', async (t) => {
  const { server, a } = devices(t)
  await write(
    await open(a),
    Object.fromEntries(Array.from({ length: 3_000 }, (_, at) => [at + 1, 1])),
  )
  const keeper = await open(a)
  server.reads = 0
  await keeper.fetch(Array.from({ length: 1_000 }, (_, at) => at + 1))
  t.equal(server.reads, 1)
  t.equal(keeper.fetch([1, 500, 1_000]), undefined)
  t.equal(keeper.fetch([2 ** 35]), undefined, 'that a page is absent is known from the one above')
})

t.test('however honest devices and their processes interleave, nobody is refused', async (t) => {
  let run = 0
  const turns = fc.array(fc.tuple(fc.nat(5), fc.integer({ min: 1, max: 4_000 }), fc.nat(3)), {
    minLength: 5,
    maxLength: 30,
  })
  await fc.assert(
    fc.asyncProperty(turns, fc.array(fc.nat(3), { minLength: 1 }), async (steps, delays) => {
      const dir = t.testdir({})
      const server = new TreeServer()
      let asked = 0
      server.delayMs = () => delays[asked++ % delays.length] ?? 0
      const at = (who: number): Device => {
        return { server, device: 1 + (who % 3), dir: `${dir}/${run}-${who % 3}` }
      }
      run++
      const keepers = await Promise.all(Array.from({ length: 6 }, async (_, who) => open(at(who))))
      const model = new Map<number, number>()
      const work = keepers.map(async (keeper, who) => {
        for (const [turn, inode, version] of steps) {
          if (turn !== who) continue
          if (version === 0) await keeper.refresh()
          else {
            model.set(inode, Math.max(model.get(inode) ?? 0, version))
            await write(keeper, { [inode]: version })
          }
        }
      })
      await Promise.all(work)
      server.delayMs = () => 0
      for (const keeper of [...keepers, await open(at(0)), await open(at(1))]) {
        await keeper.refresh()
        for (const [inode, version] of model) {
          if ((await bound(keeper, inode)) !== version) return false
        }
      }
      return true
    }),
    { numRuns: 15 },
  )
})
