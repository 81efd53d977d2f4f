/**
 * `dfs-metadata check`, as an operator runs it.
 */
import { join } from 'node:path'
import t from 'tap'
import { keys } from '../../server/metadata/store/keys.ts'
import { tables } from '../../server/metadata/store/tables.ts'
import { openRocksStore } from '../../server/store/rocks-store.ts'
import { createFile, MetadataProcess, openSession } from '../support/client-metadata.ts'
import { runDfs } from '../support/cluster.ts'

// Processes are started one after the other, on a machine that may be busy.
t.setTimeout(120_000)

t.test('a store is checked when its server is stopped, and repaired when told', async (t) => {
  const metadata = await MetadataProcess.start(t)
  const check = (...args: string[]) =>
    runDfs('dfs-metadata', ['check', '--dir', metadata.dir, ...args])
  const session = await openSession(t, await metadata.register('ann', 'a password'))
  const inode = await createFile(session, 'a file')
  const running = check()
  t.equal(running.status, 1)
  t.match(running.stderr, /another process has .* open; stop it first .*directoryInUse/u)

  await metadata.kill()
  const good = check()
  t.equal(good.status, 0, good.stdout + good.stderr)
  t.match(good.stdout, /^\d+ records read: all good$/mu)

  const store = await openRocksStore(join(metadata.dir, 'db'))
  const value = tables.numbers.encode({ value: 99 })
  await store.write([{ key: keys.counter('inodes'), value }], { sync: false })
  await store.write([{ key: keys.orphan(inode), value: tables.marks.encode(true) }], { sync: true })
  await store.close()
  const bad = check()
  t.equal(bad.status, 65)
  t.match(bad.stdout, /count: counter inodes is 99 and should be 2/u)
  t.match(bad.stdout, /index: inode \d+ has a name and an orphan mark/u)
  t.match(JSON.parse(check('--json').stdout), { counts: { count: 1, index: 1 }, repairs: 0 })

  const repaired = check('--repair')
  t.equal(repaired.status, 0, repaired.stdout)
  t.match(repaired.stdout, /^repaired count: counter inodes/mu)
  t.match(repaired.stdout, /all good, 2 repaired$/mu)
  t.equal(check().status, 0)
  await t.resolves(metadata.serve(), 'and the server goes on with it')
})

t.test('what is no store is not checked', async (t) => {
  const dir = t.testdir()
  const { status, stderr } = runDfs('dfs-metadata', ['check', '--dir', dir])
  t.equal(status, 1)
  t.match(stderr, /holds no cluster.*notFound/u)
})
