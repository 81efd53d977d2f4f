/**
 * Sessions on a real store: proofs, repeated operations, what a session holds, and what a restart
 * leaves of it.
 */
import { sign } from 'node:crypto'
import t from 'tap'
import { sessionProof } from '../../../../schema/wire/session-proof.ts'
import { create } from '../../../../server/metadata/operations/create.ts'
import { getInode } from '../../../../server/metadata/operations/get-inode.ts'
import { challenge, openSession } from '../../../../server/metadata/operations/open-session.ts'
import { unlink } from '../../../../server/metadata/operations/unlink.ts'
import { UNACKNOWLEDGED_MAX } from '../../../../server/metadata/reply-log.ts'
import { SESSION_GRACE_MS, SESSIONS_PER_USER_MAX } from '../../../../server/metadata/sessions.ts'
import { ranges } from '../../../../server/metadata/store/keys.ts'
import {
  attributes,
  connection,
  entry,
  NO_BYTES,
  TestMetadata,
  token,
} from '../../../support/metadata.ts'
import { checkStore } from '../../../support/metadata-check.ts'

const creation = (parent: number, name: string, hold = false) => ({
  parent,
  token: token(name),
  entry: entry(name),
  attributes: attributes(1),
  inline: NO_BYTES,
  hold,
})

t.test('a proof is good for its device, its nonce and once', async (t) => {
  const metadata = await TestMetadata.open(t)
  const ann = await metadata.addUser('ann')
  const bob = await metadata.addUser('bob')
  const open = async (
    device: number,
    key: typeof ann.key,
    reuse?: Uint8Array,
  ): Promise<unknown> => {
    const link = connection()
    const { nonce, cluster } = challenge(link, metadata.services)
    const signature = sign(null, sessionProof(cluster, reuse ?? nonce, device), key)
    const epoch = { epoch: 0, epochProof: Buffer.alloc(0) }
    const request = { device, signature, session: 0, held: [], ...epoch }
    return openSession(request, link, metadata.services)
  }
  await t.resolves(open(ann.device, ann.key))
  await t.rejects(open(ann.device, bob.key), { code: 'loginRefused' }, 'another key')
  await t.rejects(open(77, ann.key), { code: 'loginRefused' }, 'an unknown device')
  await t.rejects(
    open(ann.device, ann.key, Buffer.alloc(32)),
    { code: 'loginRefused' },
    'another nonce',
  )
  const link = connection()
  const { nonce, cluster } = challenge(link, metadata.services)
  const signature = sign(null, sessionProof(cluster, nonce, ann.device), ann.key)
  const epoch = { epoch: 0, epochProof: Buffer.alloc(0) }
  const request = { device: ann.device, signature, session: 0, held: [], ...epoch }
  await t.resolves(openSession(request, link, metadata.services))
  await t.rejects(openSession(request, link, metadata.services), { code: 'invalidArgument' })
})

t.test(
  'a repeated operation has its effect once, also at the same time, also after a restart',
  async (t) => {
    const dir = t.testdir()
    const first = await TestMetadata.open(t, dir)
    const { user, session } = await first.user('ann')
    const operation = { id: 1, answeredBelow: 1 }
    const request = { operation, ...creation(user.root, 'once') }
    const [a, b] = await Promise.all([
      session.mutate(create, request),
      session.mutate(create, request),
    ])
    t.equal(a.inode.inode, b.inode.inode)
    t.same(await session.mutate(create, request), a)
    await t.rejects(
      session.mutate(unlink, {
        operation,
        parent: user.root,
        token: token('once'),
        directory: false,
      }),
      { code: 'invalidArgument' },
      'an id belongs to one method',
    )
    await first.close()

    const second = await TestMetadata.reopen(dir)
    t.teardown(() => second.close())
    const again = await second.session(user, connection(), { session: session.id })
    t.equal(again.id, session.id, 'the session is taken up')
    t.same(await again.mutate(create, request), a)
    await again.mutate(create, {
      operation: { id: 2, answeredBelow: 2 },
      ...creation(user.root, 'two'),
    })
    await t.rejects(
      again.mutate(create, request),
      { code: 'invalidArgument' },
      'acknowledged: forgotten',
    )
    t.same(await checkStore(second.store), [])
  },
)

t.test('a refused operation may be repeated with the same id', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { user, session } = await metadata.user('ann')
  await session.make(user.root, 'name')
  const request = { operation: { id: 9, answeredBelow: 2 }, ...creation(user.root, 'name') }
  await t.rejects(session.mutate(create, request), { code: 'exists' })
  await session.mutate(unlink, {
    operation: { id: 10, answeredBelow: 2 },
    parent: user.root,
    token: token('name'),
    directory: false,
  })
  await t.resolves(session.mutate(create, request))
})

t.test('answers that nobody acknowledges are bounded', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { user, session } = await metadata.user('ann')
  const operations = Array.from({ length: UNACKNOWLEDGED_MAX }, (_, i) => i + 1)
  await Promise.all(
    operations.map((id) =>
      session.mutate(create, {
        operation: { id, answeredBelow: 1 },
        ...creation(user.root, `f${id}`),
      }),
    ),
  )
  const next = creation(user.root, 'next')
  const id = UNACKNOWLEDGED_MAX + 1
  await t.rejects(session.mutate(create, { operation: { id, answeredBelow: 1 }, ...next }), {
    code: 'tooManyRequests',
  })
  await t.resolves(session.mutate(create, { operation: { id, answeredBelow: 5 }, ...next }))
})

t.test('a repeated create is held again after its session was taken up anew', async (t) => {
  const metadata = await TestMetadata.open(t)
  const user = await metadata.addUser('ann')
  const link = connection()
  const session = await metadata.session(user, link)
  const request = { operation: { id: 1, answeredBelow: 1 }, ...creation(user.root, 'held', true) }
  const { inode } = await session.mutate(create, request)
  const again = await metadata.session(user, connection(), { session: session.id, held: [] })
  await again.mutate(create, request)
  await again.mutate(create, request)
  await again.mutate(unlink, {
    operation: { id: 2, answeredBelow: 1 },
    parent: user.root,
    token: token('held'),
    directory: false,
  })
  const kept = await again.query(getInode, { inode: inode.inode, hold: false })
  t.equal(kept.inode.nlink, 0)
  metadata.services.holds.release(again.id, inode.inode)
  t.notOk(metadata.services.holds.mayBeHeld(inode.inode), 'it was held once')
})

t.test('a session that nobody takes up ends, with its holds and its logged answers', async (t) => {
  const metadata = await TestMetadata.open(t)
  const user = await metadata.addUser('ann')
  const link = connection()
  const session = await metadata.session(user, link)
  const file = await session.make(user.root, 'held', { hold: true })
  const { sessions, holds, database } = metadata.services
  link.end()
  await link.closed
  await sessions.sweep()
  t.ok(holds.mayBeHeld(file), 'not at once')
  metadata.time.ms += SESSION_GRACE_MS + 1_000
  await sessions.sweep()
  t.notOk(holds.mayBeHeld(file))
  t.equal(sessions.size, 0)
  t.same(await database.durableRange(ranges.replies(session.id), 10), [])
  const anew = await metadata.session(user, connection(), { session: session.id })
  t.not(anew.id, session.id, 'what is over cannot be taken up')
})

t.test("another device cannot take up a session, and others' inodes cannot be held", async (t) => {
  const metadata = await TestMetadata.open(t)
  const { user: ann, session: hers } = await metadata.user('ann')
  const bob = await metadata.addUser('bob')
  const file = await hers.make(ann.root, 'private')
  const his = await metadata.session(bob, connection(), { session: hers.id, held: [file] })
  t.not(his.id, hers.id)
  t.notOk(metadata.services.holds.mayBeHeld(file))
})

t.test('after a restart orphans wait for those who may hold them', async (t) => {
  const dir = t.testdir()
  const first = await TestMetadata.open(t, dir)
  const { user, session } = await first.user('ann')
  const file = await session.make(user.root, 'orphan', { hold: true })
  const named = await session.make(user.root, 'unlinked later', { hold: true })
  await session.mutate(unlink, { parent: user.root, token: token('orphan'), directory: false })
  const other = await first.session(user)
  await first.close()

  const second = await TestMetadata.reopen(dir)
  t.teardown(() => second.close())
  const { holds, sessions } = second.services
  t.same(holds.free(), [], 'nobody has come back yet')
  const early = await second.session(user, connection(), { session: other.id })
  await early.mutate(unlink, {
    operation: { id: 100, answeredBelow: 100 },
    parent: user.root,
    token: token('unlinked later'),
    directory: false,
  })
  const back = await second.session(user, connection(), {
    session: session.id,
    held: [file, named],
  })
  t.same(holds.free(), [])
  t.equal((await back.query(getInode, { inode: named, hold: false })).inode.nlink, 0)
  holds.drop(back.id)
  await second.services.purger.reap(file)
  await second.services.purger.reap(named)
  t.equal(sessions.size, 2)
  t.same(await checkStore(second.store), [])
})

t.test('sessions of one user are bounded', async (t) => {
  const metadata = await TestMetadata.open(t)
  const user = await metadata.addUser('ann')
  for (let i = 0; i < SESSIONS_PER_USER_MAX; i++) await metadata.session(user)
  await t.rejects(metadata.session(user), { code: 'tooManyRequests' })
  await t.resolves(metadata.user('bob'), 'of others not')
})
