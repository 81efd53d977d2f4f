/**
 * Extended attributes at the metadata server: one sealed record beside each inode that has some, which
 * its digest, its quota and its removal follow.
 */
import t from 'tap'
import { randomBytes } from 'node:crypto'
import { NO_XATTRS, xattrDigest } from '../../../../../schema/wire/content.ts'
import { limits } from '../../../../../schema/wire/limits.ts'
import { commit } from '../../../../../server/metadata/operations/commit.ts'
import { readXattrs } from '../../../../../server/metadata/operations/read-xattrs.ts'
import { setAttributes } from '../../../../../server/metadata/operations/set-attributes.ts'
import { statfs } from '../../../../../server/metadata/operations/statfs.ts'
import { unlink } from '../../../../../server/metadata/operations/unlink.ts'
import { attributes, NO_BYTES, TestMetadata, token } from '../../../../support/metadata.ts'
import type { TestSession } from '../../../../support/metadata.ts'
import { checkStore } from '../../../../support/metadata-check.ts'

const metadata = await TestMetadata.open(t)
const { user, session } = await metadata.user('ann', 100_000)
const { root } = user

const set = (
  inode: number,
  version: number,
  xattrs: Uint8Array,
  digest = xattrDigest(xattrs),
  who: TestSession = session,
) =>
  who.mutate(setAttributes, {
    inode,
    attributes: attributes(1, { version, xattrDigest: digest }),
    atime: 0n,
    directoryMtime: 0n,
    xattrs,
  })

const usedBytes = async (): Promise<number> => (await session.query(statfs, {})).usedBytes

t.test('they are kept, replaced, left by other changes, and taken away', async (t) => {
  const inode = await session.make(root, 'kept')
  t.same((await session.query(readXattrs, { inode })).xattrs, NO_BYTES, 'none at first')
  const first = randomBytes(126)
  await set(inode, 2, first)
  const read = await session.query(readXattrs, { inode })
  t.same(Buffer.from(read.xattrs), first)
  t.same(Buffer.from(read.inode.attributes.xattrDigest), xattrDigest(first))
  t.equal(await usedBytes(), 126, 'they count')

  await set(inode, 3, NO_BYTES, xattrDigest(first))
  t.same(Buffer.from((await session.query(readXattrs, { inode })).xattrs), first, 'chmod')
  const second = randomBytes(5_000)
  await set(inode, 4, second)
  t.same(Buffer.from((await session.query(readXattrs, { inode })).xattrs), second)
  t.equal(await usedBytes(), 5_000)
  await set(inode, 5, NO_BYTES)
  t.same((await session.query(readXattrs, { inode })).xattrs, NO_BYTES)
  t.equal(await usedBytes(), 0)
})

t.test('they go with the inode', async (t) => {
  const inode = await session.make(root, 'removed')
  await set(inode, 2, randomBytes(300))
  await session.mutate(unlink, { parent: root, token: token('removed'), directory: false })
  t.equal(await usedBytes(), 0)
  await t.rejects(session.query(readXattrs, { inode }), { code: 'staleInode' })
})

t.test('what does not fit together is refused, and changes nothing', async (t) => {
  const inode = await session.make(root, 'refused')
  const xattrs = randomBytes(100)
  await set(inode, 2, xattrs)
  const { session: stranger } = await metadata.user('bob')
  const large = randomBytes(limits.sealedXattrsBytesMax + 1)
  const refused: [string, string, () => Promise<unknown>][] = [
    ['another digest', 'invalidArgument', () => set(inode, 3, xattrs, xattrDigest(large))],
    ['half a digest', 'invalidArgument', () => set(inode, 3, xattrs, Buffer.alloc(16))],
    ['the same again', 'invalidArgument', () => set(inode, 3, xattrs)],
    ['more than the bound', 'invalidArgument', () => set(inode, 3, large)],
    ['an old version', 'versionConflict', () => set(inode, 2, randomBytes(10))],
    ["somebody else's", 'staleInode', () => stranger.query(readXattrs, { inode })],
    [
      'with a new inode',
      'invalidArgument',
      () =>
        session.make(root, 'new', {
          attributes: attributes(1, { xattrDigest: xattrDigest(xattrs) }),
        }),
    ],
    [
      'dropped by a commit',
      'invalidArgument',
      () =>
        session.mutate(commit, {
          inode,
          attributes: attributes(1, { version: 3, xattrDigest: NO_XATTRS }),
          truncates: false,
          truncateTo: 0,
          windows: [],
          chunks: [],
          inline: NO_BYTES,
        }),
    ],
  ]
  for (const [what, code, attempt] of refused) await t.rejects(attempt(), { code }, what)
  const read = await session.query(readXattrs, { inode })
  t.same(Buffer.from(read.xattrs), xattrs)
  t.equal(read.inode.attributes.version, 2)
})

t.test('a quota bounds them', async (t) => {
  const [one, other] = [await session.make(root, 'one'), await session.make(root, 'other')]
  await set(one, 2, randomBytes(60_000))
  await t.rejects(set(other, 2, randomBytes(60_000)), { code: 'quotaExceeded' })
  await set(one, 3, randomBytes(30_000))
  await set(other, 2, randomBytes(60_000))
  t.equal(await usedBytes(), 90_100)
})

t.test('afterwards everything that is kept twice agrees', async (t) => {
  await metadata.services.database.settle()
  t.same(await checkStore(metadata.store), [])
})
