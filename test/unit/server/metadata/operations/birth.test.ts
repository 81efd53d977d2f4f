/**
 * Files that a mount held back: born once, under numbers that were given to it, and not under a lease
 * that it lost.
 */
import t from 'tap'
import type { BirthRequest } from '../../../../../schema/generated/metadata.ts'
import {
  inlineDigest,
  manifestDigest,
  manifestEntry,
  windowDigest,
} from '../../../../../schema/wire/content.ts'
import { limits } from '../../../../../schema/wire/limits.ts'
import { birth } from '../../../../../server/metadata/operations/birth.ts'
import { getInode } from '../../../../../server/metadata/operations/get-inode.ts'
import { inodeNumbers } from '../../../../../server/metadata/operations/inode-numbers.ts'
import { readWindows } from '../../../../../server/metadata/operations/read-windows.ts'
import { unlink } from '../../../../../server/metadata/operations/unlink.ts'
import {
  attributes,
  connection,
  entry,
  NO_BYTES,
  TestMetadata,
  token,
  type TestSession,
} from '../../../../support/metadata.ts'
import { checkStore } from '../../../../support/metadata-check.ts'

const born = (inode: number, parent: number, name: string): Omit<BirthRequest, 'operation'> => ({
  inode,
  parent,
  token: token(name),
  entry: entry(name),
  attributes: attributes(1),
  inline: NO_BYTES,
  patch: NO_BYTES,
  hold: false,
  lease: 0,
  atime: 0n,
  terse: false,
})

async function numbers(metadata: TestMetadata, { caller }: TestSession): Promise<number> {
  return (await inodeNumbers(caller, metadata.services)).first
}

t.test('a file is born once, with number, content and times of its mount', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { user, session } = await metadata.user('ann')
  const first = await numbers(metadata, session)
  const inline = Buffer.from('sealed content')
  const request = {
    ...born(first + 3, user.root, 'a'),
    operation: session.operation(),
    inline,
    attributes: attributes(1, { size: 3, contentDigest: inlineDigest(inline) }),
    atime: 77n,
    hold: true,
  }
  const answer = await session.mutate(birth, request)
  t.match(answer, { inode: { inode: first + 3, atime: 77n, attributes: { size: 3 } } })
  t.match(answer.parent, { inode: user.root, entryCount: 1 })
  t.same(await session.mutate(birth, request), answer, 'repeated with its operation id')
  await session.mutate(unlink, { parent: user.root, token: token('a'), directory: false })
  t.match(await session.query(getInode, { inode: first + 3, hold: false }), {
    inode: { nlink: 0 },
  })
  t.same(await checkStore(metadata.store), [])
})

t.test('a file is born with the patch of its first window', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { user, session } = await metadata.user('ann')
  const first = await numbers(metadata, session)
  const patch = Buffer.alloc(9_000, 7)
  const digest = windowDigest([], patch)
  const contentDigest = manifestDigest(manifestEntry(0, digest))
  const file = {
    ...born(first, user.root, 'a'),
    patch,
    attributes: attributes(1, { size: 8_900, contentDigest }),
  }
  const refused = { code: 'invalidArgument' }
  const refusals = {
    'another digest': { patch: Buffer.alloc(9_000, 8) },
    'of nothing': { attributes: attributes(1, { size: 0, contentDigest }) },
    'inline as well': { inline: patch },
    'of a folder': { attributes: attributes(2, { size: 8_900, contentDigest }) },
    'too large': { patch: Buffer.alloc(limits.sealedPatchBytesMax + 1) },
  }
  for (const [what, wrong] of Object.entries(refusals)) {
    await t.rejects(session.mutate(birth, { ...file, ...wrong }), refused, what)
  }
  t.match(await session.mutate(birth, file), { inode: { allocatedBytes: 9_000 } })
  const { windows } = await session.query(readWindows, { inode: first, first: 0, count: 1 })
  t.same(windows, [{ index: 0, extents: [], patch }])
  t.same(await checkStore(metadata.store), [])
  await session.mutate(unlink, { parent: user.root, token: token('a'), directory: false })
  t.same(await checkStore(metadata.store), [])
})

t.test('only numbers of this session, and each once', async (t) => {
  const dir = t.testdir()
  const metadata = await TestMetadata.open(t, dir)
  const { user, session } = await metadata.user('ann')
  const other = await metadata.user('bob')
  const first = await numbers(metadata, session)
  const refused = { code: 'invalidArgument' }
  await t.rejects(session.mutate(birth, born(first - 1, user.root, 'a')), refused)
  await t.rejects(session.mutate(birth, born(user.root, user.root, 'a')), refused)
  await t.rejects(other.session.mutate(birth, born(first, other.user.root, 'a')), refused)
  await t.resolves(session.mutate(birth, born(first, user.root, 'a')))
  await t.rejects(session.mutate(birth, born(first, user.root, 'b')), refused, 'used')
  await t.rejects(session.mutate(birth, born(first + 1, user.root, 'a')), { code: 'exists' })
  const made = await session.make(user.root, 'made here')
  const second = await numbers(metadata, session)
  t.ok(made < first || made >= second || made > first + 100, 'never one of those given away')
  const { id } = session
  await metadata.close()
  const again = await TestMetadata.reopen(dir)
  t.teardown(() => again.close())
  const resumed = await again.session(user, undefined, { session: id })
  const request = { ...born(first + 2, user.root, 'c'), operation: { id: 90, answeredBelow: 90 } }
  t.equal(resumed.id, id)
  await t.resolves(resumed.mutate(birth, request), 'a restart forgets no number')
})

t.test('what was made under a lost lease is refused', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { user, session } = await metadata.user('ann')
  const { leases } = metadata.services
  const { session: holder } = session.caller
  const lease = leases.opened(holder, true)
  const first = await numbers(metadata, session)
  await t.resolves(session.mutate(birth, { ...born(first, user.root, 'a'), lease }))
  const stale = { code: 'staleLease' }
  await t.rejects(
    session.mutate(birth, { ...born(first + 1, user.root, 'b'), lease: lease + 1 }),
    stale,
  )
  const offered: unknown[] = []
  const link = {
    ...connection(),
    call: async (_method: unknown, request: unknown) => offered.push(request) as never,
  }
  const second = await metadata.session(user, link)
  await metadata.services.sessions.end(holder)
  t.equal(leases.holds(holder, lease), false)
  const given = leases.opened(second.caller.session, true)
  t.ok(given > lease)
  t.same(offered, [{ lease: given }], 'the one that is left is told of another')
})
