/**
 * A synchronous standby loses nothing that was acknowledged: the metadata server is killed with -9
 * under load, its standby is promoted, the killed one comes back as the standby, and so on in turns.
 *
 * A few rounds by default; DFS_KILL_ROUNDS=50 for many.
 */
import { join } from 'node:path'
import t from 'tap'
import { methods } from '../../schema/methods.ts'
import { openClient } from '../../mount/client/open.ts'
import { openRocksStore } from '../../server/store/rocks-store.ts'
import { createFile, MetadataProcess, unlinkFile } from '../support/client-metadata.ts'
import { checkStore } from '../support/metadata-check.ts'
import { silent, until } from '../support/transport.ts'

const ROUNDS = Number(process.env['DFS_KILL_ROUNDS'] ?? 2)
const WRITERS = 12
/** Milliseconds of load before each kill. */
const LOAD_MS = 600
const WAIT_MS = 40_000
const NO_BYTES = new Uint8Array(0)

t.setTimeout(60_000 + ROUNDS * 40_000)

t.test('kill -9 of the metadata server under load, over and over, loses nothing', async (t) => {
  let [primary, standby] = [
    await MetadataProcess.start(t),
    undefined as MetadataProcess | undefined,
  ]
  const profile = await primary.register('ann', 'a password')
  standby = await MetadataProcess.standbyOf(t, primary, '--sync')
  // By the log: a command for each look would be most of what the machine does.
  const waits = (): boolean => primary.log.includes('from now on no commit is acknowledged')
  t.ok(await until(waits, WAIT_MS), 'synchronous')
  const client = await openClient({
    profile: { ...profile, addresses: [primary.address, standby.address] },
    log: silent,
  })
  t.teardown(() => client.close())
  const { session } = client
  const { rootInode: root, rootKey } = session

  /** What the answers say must be there: name → inode; and what nobody can know. */
  const expected = new Map<string, number>()
  const unknown = new Set<string>()
  const load = { running: true }
  t.teardown(() => (load.running = false))
  const create = async (name: string): Promise<void> => {
    expected.set(name, await createFile(session, name))
  }
  const remove = async (name: string): Promise<void> => {
    await unlinkFile(session, name)
    expected.delete(name)
  }
  const writer = async (id: number): Promise<void> => {
    for (let i = 0; load.running; i++) {
      const name = `${id}-${i}`
      try {
        await create(name)
        if (i % 3 === 2) await remove(name)
      } catch {
        unknown.add(name)
        expected.delete(name)
      }
    }
  }
  const writers = Promise.all(Array.from({ length: WRITERS }, (_, id) => writer(id)))
  let lastMs = 0
  let worstMs = 0
  for (let round = 1; round <= ROUNDS; round++) {
    await new Promise((done) => setTimeout(done, LOAD_MS))
    const before = expected.size
    await primary.kill()
    const killedMs = performance.now()
    await standby.promote()
    t.ok(await until(() => expected.size > before + WRITERS, WAIT_MS), `round ${round}: it goes on`)
    lastMs = performance.now() - killedMs
    worstMs = Math.max(worstMs, lastMs)
    ;[primary, standby] = [standby, primary]
    primary.log = ''
    await standby.standby('--of', primary.address, '--sync')
    t.ok(await until(waits, WAIT_MS), `round ${round}: synchronous again`)
  }
  load.running = false
  await writers
  t.comment(`${expected.size} files acknowledged and there to be, ${unknown.size} of unknown fate`)
  t.comment(`at worst ${Math.round(worstMs)} ms from the kill until answers came again`)

  const found = new Map<string, number>()
  let after: Uint8Array = NO_BYTES
  for (;;) {
    const page = await session.read(methods.list, { directory: root, after, limit: 1_000 })
    for (const { inode, token, entry } of page.entries) {
      if (inode !== undefined) found.set(rootKey.openEntry(token, entry).name, inode.inode)
    }
    after = page.entries.at(-1)?.token ?? NO_BYTES
    if (!page.more) break
  }
  const lost = [...expected].filter(([name, inode]) => found.get(name) !== inode)
  t.same(lost.slice(0, 10), [], 'everything that was answered is there')
  const extra = [...found.keys()].filter((name) => !expected.has(name) && !unknown.has(name))
  t.same(extra.slice(0, 10), [], 'and nothing that was taken away')
  t.ok(unknown.size <= ROUNDS * WRITERS, 'hardly anything failed')

  await primary.kill()
  await standby.kill()
  for (const { dir } of [primary, standby]) {
    const store = await openRocksStore(join(dir, 'db'))
    t.same(await checkStore(store), [], 'nothing is half there')
    await store.close()
  }
})
