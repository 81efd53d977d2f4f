/**
 * What the operator may do to users and chunkservers, on a real store: it takes effect at once, and
 * what is deleted is gone without a trace, also after a kill in between.
 */
import t, { type Test } from 'tap'
import { windowDigest, NO_PATCH, manifestDigest } from '../../../../../schema/wire/content.ts'
import { addUser } from '../../../../../server/metadata/operations/administration.ts'
import { clusterStatus } from '../../../../../server/metadata/operations/cluster-status.ts'
import { commit } from '../../../../../server/metadata/operations/commit.ts'
import { getInode } from '../../../../../server/metadata/operations/get-inode.ts'
import { unlink } from '../../../../../server/metadata/operations/unlink.ts'
import { readWindows } from '../../../../../server/metadata/operations/read-windows.ts'
import { registerFinish } from '../../../../../server/metadata/operations/register-user.ts'
import { revokeServer } from '../../../../../server/metadata/operations/revoke-server.ts'
import { statfs } from '../../../../../server/metadata/operations/statfs.ts'
import {
  deleteUser,
  disableUser,
  setQuota,
} from '../../../../../server/metadata/operations/user-administration.ts'
import { keys } from '../../../../../server/metadata/store/keys.ts'
import { tables } from '../../../../../server/metadata/store/tables.ts'
import {
  attributes,
  connection,
  NO_BYTES,
  TestMetadata,
  token,
  type TestSession,
} from '../../../../support/metadata.ts'
import { checkStore } from '../../../../support/metadata-check.ts'

const PATIENCE_MS = 10_000

/** A file of one chunk; the servers that have it. */
async function file(session: TestSession, parent: number, name: string): Promise<number[]> {
  const inode = await session.make(parent, name)
  const chunk = await session.chunk(100)
  const extents = [{ chunk: chunk.chunk, offset: 0, length: 100, chunkOffset: 0 }]
  const digest = windowDigest(extents)
  const index = Buffer.alloc(4)
  await session.mutate(commit, {
    inode,
    attributes: attributes(1, {
      size: 100,
      version: 2,
      contentDigest: manifestDigest(Buffer.concat([index, digest])),
    }),
    truncates: false,
    truncateTo: 0,
    windows: [{ index: 0, extents, digest, patch: NO_PATCH }],
    chunks: [chunk],
    inline: NO_BYTES,
  })
  return chunk.servers
}

async function gone(metadata: TestMetadata, user: number): Promise<boolean> {
  const { database } = metadata.services
  const endMs = Date.now() + PATIENCE_MS
  while (Date.now() < endMs) {
    const record = await database.read((txn) => txn.get(tables.users, keys.user(user)))
    if (record === undefined) return true
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return false
}

t.test('a disabled user is out at once, and keeps everything', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { services } = metadata
  const { user: ann, session } = await metadata.user('ann')
  await session.make(ann.root, 'kept')
  await disableUser({ user: 'ann', disabled: true }, services)
  await t.rejects(session.make(ann.root, 'late'), { code: 'notLoggedIn' })
  await t.rejects(metadata.session(ann), { code: 'forbidden', message: /disabled/ })
  await disableUser({ user: 'ann', disabled: false }, services)
  const again = await metadata.session(ann)
  t.match(await again.query(getInode, { inode: ann.root, hold: false }), {
    inode: { entryCount: 1 },
  })
  await t.rejects(disableUser({ user: 'nobody', disabled: true }, services), { code: 'notFound' })
})

t.test('a quota holds at once, in sessions that are open', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { user: ann, session } = await metadata.user('ann')
  await file(session, ann.root, 'one')
  await setQuota({ user: 'ann', quotaBytes: 150 }, metadata.services)
  t.match(await session.query(statfs, {}), { quotaBytes: 150, usedBytes: 100 })
  await t.rejects(file(session, ann.root, 'two'), { code: 'quotaExceeded' })
  await setQuota({ user: 'ann', quotaBytes: 0 }, metadata.services)
  await t.resolves(file(session, ann.root, 'three'))
})

/** Ann with a tree of every kind of thing, and Bob with a file. */
async function twoUsers(t: Test, dir: string): Promise<TestMetadata> {
  const metadata = await TestMetadata.reopen(dir)
  t.teardown(() => metadata.close())
  await metadata.addServers()
  const { user: ann, session } = await metadata.user('ann')
  const bob = await metadata.user('bob')
  await file(bob.session, bob.user.root, 'of bob')
  const folder = await session.makeDirectory(ann.root, 'folder')
  const below = await session.makeDirectory(folder, 'below')
  for (let i = 0; i < 300; i++) await session.make(folder, `file ${i}`)
  await file(session, below, 'with content')
  const held = await session.make(ann.root, 'held', { hold: true })
  await session.mutate(unlink, { parent: ann.root, token: token('held'), directory: false })
  t.match(await session.query(getInode, { inode: held, hold: false }), { inode: { nlink: 0 } })
  return metadata
}

t.test('of a deleted user nothing is left, and others keep theirs', async (t) => {
  const metadata = await twoUsers(t, t.testdir())
  const { services, store } = metadata
  await deleteUser({ user: 'ann' }, services)
  await t.rejects(deleteUser({ user: 'ann' }, services), { code: 'notFound' })
  t.ok(await gone(metadata, 1))
  await services.purger.stop()
  t.same(await checkStore(store), [])
  t.equal(services.database.counters.get('user-inodes/1'), 0)
  t.equal(services.database.counters.get('user-bytes/1'), 0)
  t.equal(services.database.counters.get('user-inodes/2'), 2)
  t.match(await metadata.addUser('ann'), { user: 3 }, 'the name is free, the number is not')
})

t.test('deleting goes on after a restart', async (t) => {
  const dir = t.testdir()
  const metadata = await twoUsers(t, dir)
  await metadata.services.userRemoval.stop()
  await deleteUser({ user: 'ann' }, metadata.services)
  const refused = addUser({ user: 'ann', quotaBytes: 0, validSeconds: 0 }, metadata.services)
  await t.rejects(refused, { code: 'exists' })
  await metadata.close()
  const again = await TestMetadata.reopen(dir)
  t.teardown(() => again.close())
  again.services.userRemoval.wake()
  t.ok(await gone(again, 1))
  await again.services.purger.stop()
  t.same(await checkStore(again.store), [])
})

t.test(
  'an invitation of a deleted user opens nothing, and the name is given again after',
  async (t) => {
    const metadata = await TestMetadata.open(t)
    const { services } = metadata
    const request = { user: 'eve', quotaBytes: 0, validSeconds: 0 }
    const { invitation } = await addUser(request, services)
    await services.userRemoval.stop()
    await deleteUser({ user: 'eve' }, services)
    await t.rejects(addUser(request, services), { code: 'exists', message: /being deleted/ })
    await t.rejects(finish('eve', invitation, metadata), { code: 'tokenInvalid' })
  },
)

/** The last step of a registration. */
async function finish(
  user: string,
  invitation: Uint8Array,
  { services }: TestMetadata,
): Promise<unknown> {
  const request = {
    invitation,
    user,
    opaqueRecord: 'record',
    wrappedMasterKey: Buffer.alloc(62),
    wrappedRootKey: Buffer.alloc(62),
    root: attributes(2),
    recoveryKey: NO_BYTES,
    recoveryMasterKey: NO_BYTES,
  }
  return registerFinish(request, connection(), services)
}

t.test('an invitation is good for as long as was said', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { services } = metadata
  const request = { user: 'ann', quotaBytes: 0, validSeconds: 60 }
  await t.rejects(addUser({ ...request, validSeconds: 1e9 }, services), { code: 'invalidArgument' })
  const { invitation } = await addUser(request, services)
  metadata.time.ms += 61_000
  const late = finish('ann', invitation, metadata)
  await t.rejects(late, { code: 'tokenInvalid' })
})

t.test('a revoked chunkserver is named to nobody, and takes no last replica along', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { services } = metadata
  const { user: ann, session } = await metadata.user('ann')
  const [first = 0, second = 0] = await file(session, ann.root, 'a file')
  const inode = 2
  await t.rejects(revokeServer({ server: 9, force: false }, services), { code: 'notFound' })
  const before = services.ticketKeys.forChunkservers().length
  t.match(await revokeServer({ server: first, force: false }, services), { lost: 0 })
  t.equal(services.ticketKeys.forChunkservers().length, before + 1, 'with a new ticket key')
  const { servers } = await session.query(readWindows, { inode, first: 0, count: 1 })
  t.same(
    servers.map(({ id }) => id),
    [second],
  )
  for (let i = 0; i < 20; i++) {
    t.notOk((await session.chunk(1)).servers.includes(first))
  }
  const states = (await clusterStatus(services)).servers.filter(({ state }) => state === 'revoked')
  t.same(
    states.map(({ id }) => id),
    [first],
  )
  await t.rejects(revokeServer({ server: second, force: false }, services), {
    code: 'notPermitted',
    message: /^1 chunks/,
  })
  t.match(await revokeServer({ server: second, force: true }, services), { lost: 1 })
})

t.test('a revocation is still there after a restart', async (t) => {
  const dir = t.testdir()
  const metadata = await TestMetadata.open(t, dir)
  await revokeServer({ server: 2, force: false }, metadata.services)
  await metadata.close()
  const again = await TestMetadata.reopen(dir)
  t.teardown(() => again.close())
  const { servers } = await clusterStatus(again.services)
  t.same(
    servers.map(({ id, state }) => `${id} ${state}`),
    ['1 silent', '2 revoked', '3 silent'],
  )
})
