/**
 * The commands of `dfs-metadata`, as an operator runs them against a running server.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parseCredential } from '../../schema/wire/credential.ts'
import { openClient } from '../../mount/client/open.ts'
import { MetadataProcess } from '../support/client-metadata.ts'
import { silent, until } from '../support/transport.ts'

// Processes are started one after the other, on a machine that may be busy.
t.setTimeout(120_000)

const executable = fileURLToPath(new URL('../../bin/dfs-metadata.js', import.meta.url))
const metadata = await MetadataProcess.start(t)

t.test('invitations, join tokens and cards name this cluster and where it is', async (t) => {
  const texts = {
    invitation: metadata.command('user', 'add', 'ann', '--quota', '1G'),
    join: metadata.command('join-token', '--valid', '30m'),
    cluster: metadata.command('card'),
  } as const
  const authorities = new Set<string>()
  for (const kind of ['invitation', 'join', 'cluster'] as const) {
    const { addresses, secret, caPem } = parseCredential(texts[kind], kind)
    t.same(addresses, [metadata.address])
    t.equal(secret.length, kind === 'cluster' ? 0 : 32)
    authorities.add(caPem)
  }
  t.equal(authorities.size, 1)
  t.not(
    metadata.command('user', 'add', 'ann'),
    texts.invitation,
    'a new invitation replaces the old',
  )
})

t.test('users are listed for people and for programs', async (t) => {
  await metadata.register('bob', 'a password')
  t.match(metadata.command('user', 'list'), /ann\tinvited\n\d+\tbob\t0 B no quota, 1 inodes/u)
  t.match(JSON.parse(metadata.command('user', 'list', '--json')), [
    { user: 'ann', registered: false },
    { user: 'bob', registered: true, inodes: 1 },
  ])
})

t.test('users are disabled, given a quota and deleted', async (t) => {
  const profile = await metadata.register('carl', 'a password')
  const open = async (): Promise<void> => {
    const client = await openClient({ profile, log: silent })
    await client.close()
  }
  metadata.command('user', 'disable', 'carl')
  t.match(metadata.command('user', 'list'), /carl\t.*, disabled/u)
  await t.rejects(open(), { code: 'forbidden' })
  metadata.command('user', 'enable', 'carl')
  await t.resolves(open())
  metadata.command('user', 'quota', 'carl', '5G')
  t.match(metadata.command('user', 'list'), /carl\t0 B of 5 GiB/u)
  t.throws(() => metadata.command('user', 'delete', 'carl'), /--yes/u)
  await t.resolves(open(), 'nothing happened')
  metadata.command('user', 'delete', 'carl', '--yes')
  await t.rejects(open(), { code: 'loginRefused' })
  const left = await until(() => !metadata.command('user', 'list').includes('carl'), 10_000)
  t.ok(left, 'nothing is left of him')
})

t.test('servers are listed, and one that is not there cannot be revoked', async (t) => {
  t.same(JSON.parse(metadata.command('server', 'list', '--json')), [])
  t.throws(() => metadata.command('server', 'revoke', '1'), /no chunkserver 1.*notFound/su)
})

t.test('the status is one object: the role, the chunkservers, what is repaired', (t) => {
  t.match(metadata.command('status'), /^role\tprimary\n.*every chunk has its replicas/su)
  const status: unknown = JSON.parse(metadata.command('status', '--json'))
  t.match(status, { role: 'primary', epoch: 1, connected: false, servers: [], replicas: 2 })
  t.match(status, { cluster: /^[0-9a-f]{32}$/u, repair: { waiting: [0], copying: 0, failed: 0 } })
  t.throws(() => metadata.command('server', 'drain', '1'), /no chunkserver 1.*notFound/su)
  t.throws(() => metadata.command('server', 'remove', '1'), /no chunkserver 1.*notFound/su)
  t.end()
})

t.test('wrong calls say what is wrong', async (t) => {
  t.throws(() => metadata.command('user', 'add', 'no/name'), /user name has.*invalidArgument/su)
  t.throws(() => metadata.command('user', 'add', 'bob'), /registered already.*exists/su)
  t.throws(() => metadata.command('join-token', '--valid', 'soon'), /not a time/u)
  t.throws(() => metadata.command('user'), /say add, list/u)
  t.throws(() => metadata.command('serve', '--unknown'), /exit 64/u)
})

t.test('a signal ends the server in order, and it comes up again', async (t) => {
  const dir = join(t.testdir(), 'metadata')
  const other = new MetadataProcess(dir)
  other.command('init')
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const child = spawn(
      process.execPath,
      [executable, 'serve', '--dir', dir, '--listen', '127.0.0.1:0'],
      {
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    )
    t.teardown(() => child.kill('SIGKILL'))
    await new Promise((resolve) => child.stdout.once('data', resolve))
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill(signal)
    t.equal(await ended, 0, signal)
  }
  t.throws(
    () => other.command('user', 'list'),
    /connectionRefused/u,
    'and says when it is not there',
  )
})
