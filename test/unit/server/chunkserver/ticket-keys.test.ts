/**
 * Tickets of a user who was disabled, or whose device was revoked: chunkservers decide alone, so what
 * was given out goes on until it expires, and not a moment longer; nothing new is given out.
 */
import t, { type Test } from 'tap'
import { NO_PATCH, manifestDigest, windowDigest } from '../../../../schema/wire/content.ts'
import { TicketKeys } from '../../../../server/chunkserver/ticket-keys.ts'
import { commit } from '../../../../server/metadata/operations/commit.ts'
import { revokeDevice } from '../../../../server/metadata/operations/devices.ts'
import { getInode } from '../../../../server/metadata/operations/get-inode.ts'
import { readWindows } from '../../../../server/metadata/operations/read-windows.ts'
import { disableUser } from '../../../../server/metadata/operations/user-administration.ts'
import { whileOpen } from '../../../../server/metadata/sessions.ts'
import { Rights } from '../../../../server/ticket.ts'
import { attributes, NO_BYTES, TestMetadata, type TestSession } from '../../../support/metadata.ts'

const MINUTE_MS = 60_000
const READ_LIFE_MS = 10 * MINUTE_MS
const WRITE_LIFE_MS = 60 * MINUTE_MS

interface Given {
  readonly chunk: number
  readonly read: Uint8Array
  readonly write: Uint8Array
}

/** A file of one chunk, and the tickets that its owner got for it. */
async function tickets(session: TestSession, root: number): Promise<Given> {
  const inode = await session.make(root, 'file')
  const { chunk, ticket: write, ...rest } = await session.chunk(100)
  const extents = [{ chunk, offset: 0, length: 100, chunkOffset: 0 }]
  const digest = windowDigest(extents)
  await session.mutate(commit, {
    inode,
    attributes: attributes(1, {
      size: 100,
      version: 2,
      contentDigest: manifestDigest(Buffer.concat([Buffer.alloc(4), digest])),
    }),
    truncates: false,
    truncateTo: 0,
    windows: [{ index: 0, extents, digest, patch: NO_PATCH }],
    chunks: [{ ...rest, chunk, ticket: write }],
    inline: NO_BYTES,
  })
  const { chunks } = await session.query(readWindows, { inode, first: 0, count: 1 })
  return { chunk, write, read: chunks[0]?.ticket ?? NO_BYTES }
}

async function expire(
  t: Test,
  end: (metadata: TestMetadata, session: TestSession) => Promise<unknown>,
): Promise<void> {
  const metadata = await TestMetadata.open(t)
  const { services } = metadata
  const { user, session } = await metadata.user('ann')
  const given = await tickets(session, user.root)
  const time = { ms: 0 }
  const keys = new TicketKeys(() => Date.now() + time.ms)
  keys.update(services.ticketKeys.forChunkservers())
  await end(metadata, session)

  const asks = services.database.write({}, async (txn) => {
    whileOpen(txn, session.caller.session)
    return getInode.run(txn, { inode: user.root, hold: false }, session.caller, services)
  })
  await t.rejects(asks, { code: 'notLoggedIn' }, 'the metadata server gives out nothing more')
  await t.rejects(metadata.session(user), 'and opens no session')

  time.ms = READ_LIFE_MS - MINUTE_MS
  t.match(keys.verify(given.read, given.chunk, Rights.read), { user: user.user })
  time.ms = READ_LIFE_MS + 1
  const expired = { code: 'ticketExpired' }
  t.throws(() => keys.verify(given.read, given.chunk, Rights.read), expired)
  t.match(keys.verify(given.write, given.chunk, Rights.write), { user: user.user })
  time.ms = WRITE_LIFE_MS + 1
  t.throws(() => keys.verify(given.write, given.chunk, Rights.write), expired)
  t.equal(keys.refused, 2, 'each is counted')
}

t.test('a disabled user fetches until the tickets expire', async (t) => {
  await expire(t, async ({ services }) => disableUser({ user: 'ann', disabled: true }, services))
})

t.test('a revoked device fetches until the tickets expire', async (t) => {
  await expire(t, async ({ services }, { caller }) => {
    const { connection, record } = caller.session
    if (connection === undefined) throw new Error('the session has a connection')
    // Its own connection asks, and gets its answer.
    await revokeDevice({ device: record.device, force: true }, connection, services)
  })
})
