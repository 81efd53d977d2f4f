/**
 * The real metadata server process, killed with -9 under load and started again, over real QUIC:
 * everything that was answered is there, every operation took effect once, and nothing is half
 * there.
 */
import { join } from 'node:path'
import t from 'tap'
import { methods } from '../../schema/methods.ts'
import { InodeKey } from '../../mount/crypto/inode-key.ts'
import { openClient } from '../../mount/client/open.ts'
import { openRocksStore } from '../../server/store/rocks-store.ts'
import { createFile, MetadataProcess, unlinkFile } from '../support/client-metadata.ts'
import { checkStore } from '../support/metadata-check.ts'
import { silent } from '../support/transport.ts'

const KILLS = 4
const WRITERS = 16
/** Milliseconds of load before each kill. */
const LOAD_MS = 700

const NO_BYTES = new Uint8Array(0)

// Processes are started one after the other, on a machine that may be busy.
t.setTimeout(120_000)

t.test('kill -9 under load loses nothing answered, and doubles nothing', async (t) => {
  const metadata = await MetadataProcess.start(t)
  const profile = await metadata.register('ann', 'a password')
  const client = await openClient({ profile, log: silent })
  t.teardown(() => client.close())
  const { session } = client
  const { rootInode: root, rootKey } = session

  /** What the answers say must be there: name → inode. */
  const expected = new Map<string, number>()
  let answered = 0
  const load = { running: true }

  const create = async (name: string): Promise<void> => {
    expected.set(name, await createFile(session, name))
  }
  const rename = async (from: string, to: string): Promise<void> => {
    const inode = expected.get(from)
    if (inode === undefined) return
    const sealed = rootKey.sealEntry(to, { kind: 1, key: InodeKey.generate() })
    await session.mutate(methods.rename, {
      fromParent: root,
      fromToken: rootKey.token(from),
      toParent: root,
      toToken: sealed.token,
      entry: sealed.entry,
      noReplace: true,
      inode,
    })
    expected.delete(from)
    expected.set(to, inode)
  }
  const remove = async (name: string): Promise<void> => {
    await unlinkFile(session, name)
    expected.delete(name)
  }
  const writer = async (id: number): Promise<void> => {
    for (let i = 0; load.running; i++) {
      await create(`${id}-${i}`)
      if (i % 3 === 1) await rename(`${id}-${i}`, `${id}-${i}-renamed`)
      if (i % 3 === 2) await remove(`${id}-${i}`)
      answered++
    }
  }
  const writers = Promise.all(Array.from({ length: WRITERS }, (_, id) => writer(id)))
  for (let kill = 0; kill < KILLS; kill++) {
    await new Promise((done) => setTimeout(done, LOAD_MS))
    await metadata.kill()
    await metadata.serve()
  }
  load.running = false
  await writers
  t.ok(answered > WRITERS * KILLS, `${answered} rounds were answered`)

  const found = new Map<number, Uint8Array>()
  let after: Uint8Array = NO_BYTES
  for (;;) {
    const page = await session.read(methods.list, { directory: root, after, limit: 1_000 })
    for (const { inode, token } of page.entries) found.set(inode?.inode ?? 0, token)
    after = page.entries.at(-1)?.token ?? NO_BYTES
    if (!page.more) break
  }
  t.equal(found.size, expected.size, 'as many names as were answered')
  let wrong = 0
  for (const [name, inode] of expected) {
    if (!rootKey.token(name).equals(found.get(inode) ?? NO_BYTES)) wrong++
  }
  t.equal(wrong, 0, 'each name means the inode that was answered')

  await metadata.kill()
  const store = await openRocksStore(join(metadata.dir, 'db'))
  t.teardown(() => store.close())
  t.same(await checkStore(store), [], 'nothing is half there')
})

t.test('a second server on the same directory refuses to start', async (t) => {
  const metadata = await MetadataProcess.start(t)
  t.throws(() => metadata.command('serve', '--listen', '127.0.0.1:0'), /another process has/)
})

t.test('a directory without a cluster, and one that is not empty, are refused', async (t) => {
  const metadata = new MetadataProcess(t.testdir({ 'a-file': 'here already' }))
  t.throws(() => metadata.command('serve', '--listen', '127.0.0.1:0'), /holds no cluster/)
  t.throws(() => metadata.command('init'), /not empty/)
  const other = new MetadataProcess(join(t.testdirName, 'new'))
  t.throws(() => other.command('init', '--replicas', '9'), /1 to 8/)
  t.throws(() => other.command('init', '--replicas', '2', '--write-quorum', '3'), /quorum/)
})
