/**
 * A standby, as processes: it copies and follows, is promoted by hand, and the server before it, its
 * clients and its chunkservers learn who serves now.
 */
import { constants, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openClient } from '../../mount/client/open.ts'
import type { MetadataSession } from '../../mount/client/api.ts'
import type { Profile } from '../../mount/client/profile.ts'
import type { ServersKnown } from '../../mount/client/known-servers.ts'
import type { FileSystem } from '../../mount/vfs/api.ts'
import { openRocksStore } from '../../server/store/rocks-store.ts'
import { createFile, listNames, MetadataProcess } from '../support/client-metadata.ts'
import { checkStore } from '../support/metadata-check.ts'
import { clusterStatusOf, replicationOf } from '../support/operator.ts'
import { startStore } from '../support/store-processes.ts'
import { silent, until } from '../support/transport.ts'
import { readFile } from '../support/whole-files.ts'

// Processes are started one after the other, on a machine that may be busy.
t.setTimeout(240_000)
const WAIT_MS = 40_000
const { O_WRONLY } = constants

interface Watched {
  readonly session: MetadataSession
  known: ServersKnown | undefined
}

async function watched(t: Test, profile: Profile): Promise<Watched> {
  const result: { known: ServersKnown | undefined } = { known: undefined }
  const onServers = (known: ServersKnown): void => void (result.known = known)
  const client = await openClient({ profile, log: silent, onServers })
  t.teardown(() => client.close())
  return Object.assign(result, { session: client.session })
}

/** Waits until a server says that its standby has everything. */
async function followed(t: Test, primary: MetadataProcess): Promise<void> {
  const done = await until(async () => {
    const { connected, primaryNumber, standbyNumber } = await replicationOf(primary.dir)
    return connected && primaryNumber === standbyNumber
  }, WAIT_MS)
  t.ok(done, 'the standby has everything')
}

async function writeFile(fs: FileSystem, path: string, bytes: Buffer): Promise<void> {
  const handle = await fs.create(path, 0o644, O_WRONLY, { uid: 0, gid: 0 })
  await fs.write(handle, bytes, 0)
  await fs.flush(handle)
  await fs.release(handle)
}

t.test('a standby is promoted, and everybody moves over; and back again', async (t) => {
  const first = await MetadataProcess.start(t)
  const profile = await first.register('ann', 'a password')
  const client = await watched(t, profile)
  const { session } = client
  for (let i = 0; i < 20; i++) await createFile(session, `before-${i}`)
  const second = await MetadataProcess.standbyOf(t, first)
  await followed(t, first)
  await createFile(session, 'during')
  await followed(t, first)
  t.match(second.status(), { role: 'standby', connected: true, epoch: 1, lagMs: 0 })
  t.equal(second.status()['number'], first.status()['number'])
  t.match(first.command('status'), /role\tprimary\nepoch\t1\n.*\nfollows\t0 batches/su)
  const both = [first.address, second.address]
  t.ok(await until(() => client.known?.addresses.length === 2, WAIT_MS), 'the client was told')
  t.same(client.known?.addresses, both)
  t.throws(() => second.command('user', 'list'), /methodUnknown|notPrimary/u, 'it serves nobody')

  const { id } = session
  await first.kill()
  await second.promote()
  await createFile(session, 'after')
  t.equal(session.id, id, 'the session goes on')
  t.equal(client.known?.epoch, 2)
  t.equal((await listNames(session)).length, 22)
  t.match(second.status(), { role: 'primary', epoch: 2 })
  t.throws(() => first.command('serve', '--listen', first.address), /notPrimary/u, 'the old one')
  t.throws(() => second.command('promote'), /\[exists\]/u)

  await first.standby('--of', second.address)
  await followed(t, second)
  t.match(first.status(), { role: 'standby', epoch: 2 })
  await createFile(session, 'with the old one behind')
  await followed(t, second)
  await second.kill()
  await first.promote()
  await createFile(session, 'back')
  const names = await listNames(session)
  t.equal(names.length, 24)
  t.ok(names.includes('with the old one behind'))
  await first.kill()
  const store = await openRocksStore(join(first.dir, 'db'))
  t.teardown(() => store.close())
  t.same(await checkStore(store), [])
})

t.test('a server that still runs when its standby is promoted serves no more', async (t) => {
  const first = await MetadataProcess.start(t)
  const profile = await first.register('ann', 'a password')
  const second = await MetadataProcess.standbyOf(t, first)
  await followed(t, first)
  // Knows of the first only, and is connected to it.
  const { session } = await watched(t, profile)
  await createFile(session, 'one')
  await followed(t, first)
  await second.promote()
  t.ok(
    await until(async () => (await replicationOf(first.dir)).role === 'superseded', WAIT_MS),
    'it learns of it from the promoted one',
  )
  t.match(first.log, /another metadata server was promoted/u)
  await createFile(session, 'two')
  t.same(await listNames(session), ['one', 'two'])
  t.equal(second.status()['role'], 'primary')
})

t.test('tokens are good for what they were made for; a directory serves in its role', async (t) => {
  const first = await MetadataProcess.start(t)
  const token = `${first.dir}-token`
  writeFileSync(token, first.command('join-token'))
  const other = new MetadataProcess(`${first.dir}-other`)
  t.throws(
    () => other.command('standby', '--of', first.address, '--token-file', token),
    /tokenInvalid/u,
  )
  t.throws(() => other.command('standby', '--of', first.address), /join-token --standby/u)
  t.throws(() => other.command('promote'), /holds no cluster/u)

  const second = await MetadataProcess.standbyOf(t, first)
  await followed(t, first)
  const third = MetadataProcess.standbyOf(t, first)
  const refused = await third
  t.ok(
    await until(
      () => refused.log.includes('[exists]') || refused.log.includes('"exists"'),
      WAIT_MS,
    ),
  )
  await refused.kill()
  await second.kill()
  t.throws(() => second.command('serve', '--listen', '127.0.0.1:0'), /standby's/u)
  const missed = async (): Promise<boolean> => !(await replicationOf(first.dir)).connected
  t.ok(await until(missed, WAIT_MS), 'it is missed')
  first.command('forget-standby')
  t.match(first.command('status'), /standby\tnone/u)
  // Promoted in its directory, with no process running.
  second.command('promote')
  await second.serve()
  t.match(second.status(), { role: 'primary', epoch: 2 })
})

t.test('chunkservers move over with the metadata, and files with them', async (t) => {
  const store = await startStore(t, { chunkservers: 2 })
  const first = new MetadataProcess(join(store.dir, 'metadata'))
  first.address = store.metadata.address
  const second = await MetadataProcess.standbyOf(t, first)
  await followed(t, first)
  const mounted = await store.mount()
  t.teardown(() => mounted.close())
  const { fs } = mounted
  const bytes = Buffer.alloc(300_000, 'content')
  await writeFile(fs, '/before', bytes)
  const told = (server: number): boolean => {
    const text = readFileSync(join(store.dir, `chunkserver-${server}`, 'metadata.json'), 'utf8')
    return text.includes(second.address)
  }
  t.ok(await until(() => told(1) && told(2), WAIT_MS), 'they are told of the standby')
  await followed(t, first)
  await store.metadata.stop('SIGKILL')
  await second.promote()
  const alive = async (): Promise<number> => {
    const { servers } = await clusterStatusOf(second.dir)
    return servers.filter(({ state }) => state === 'alive').length
  }
  t.ok(await until(async () => (await alive()) === 2, WAIT_MS), 'they register with it')
  t.match(second.command('server', 'list', '--json'), /"alive"[^]*"alive"/)
  const other = await store.mount({}, { ...store.profile, addresses: [second.address] })
  t.teardown(() => other.close())
  t.ok((await readFile(other.fs, '/before')).equals(bytes), 'another mount reads it')
  await writeFile(fs, '/after', bytes)
  t.ok((await readFile(fs, '/after')).equals(bytes))
})

t.test(
  'without its synchronous standby nothing is acknowledged, also over a restart',
  async (t) => {
    const first = await MetadataProcess.start(t)
    const profile = await first.register('ann', 'a password')
    const second = await MetadataProcess.standbyOf(t, first, '--sync')
    t.ok(await until(async () => (await replicationOf(first.dir)).waits, WAIT_MS))
    const { session } = await watched(t, profile)
    await createFile(session, 'with it')
    await second.kill()
    const state = { back: false, early: false }
    // It may give up in the end, but not succeed before the standby is back.
    const waiting = createFile(session, 'without it').then(
      () => (state.early = !state.back),
      () => undefined,
    )
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    await first.kill()
    await first.serve()
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    t.match(first.status(), { role: 'primary', waits: true, connected: false })
    state.back = true
    await second.standby('--of', first.address, '--sync')
    await waiting
    t.notOk(state.early)
    await createFile(session, 'with it again')
    const names = await listNames(session)
    t.ok(names.includes('with it') && names.includes('with it again'))
  },
)
