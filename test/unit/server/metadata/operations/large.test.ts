/**
 * Operations on what is large: folders of many slices, clusters of more bytes than a message can say.
 */
import t from 'tap'
import { list } from '../../../../../server/metadata/operations/list.ts'
import { statfs } from '../../../../../server/metadata/operations/statfs.ts'
import { NO_BYTES, TestMetadata, token } from '../../../../support/metadata.ts'

t.test('a page of many slices is whole and in order', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { user, session } = await metadata.user('ann')
  const names = Array.from({ length: 300 }, (_, i) => `file ${i}`)
  const inodes = await Promise.all(names.map(async (name) => session.make(user.root, name)))
  const page = await session.query(list, { directory: user.root, after: NO_BYTES, limit: 290 })
  t.equal(page.entries.length, 290)
  t.equal(page.more, true)
  const last = page.entries.at(-1)?.token ?? NO_BYTES
  const rest = await session.query(list, { directory: user.root, after: last, limit: 290 })
  t.equal(rest.more, false)
  const expected = names
    .map((name, i) => ({ token: Buffer.from(token(name)), inode: inodes[i] }))
    .sort((a, b) => Buffer.compare(a.token, b.token))
  t.strictSame(
    [...page.entries, ...rest.entries].map((entry) => ({
      token: Buffer.from(entry.token),
      inode: entry.inode?.inode,
    })),
    expected,
  )
})

t.test('a cluster of more bytes than a message can say is told as the most there is', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { topology } = metadata.services
  for (const id of [1, 2, 3]) {
    const space = { totalBytes: 9e15, freeBytes: 9e15, chunks: 0 }
    topology.registered(id, { rack: 'a', addresses: [], ...space })
  }
  const { session } = await metadata.user('ann')
  const { totalBytes, freeBytes } = await session.query(statfs, {})
  t.equal(totalBytes, Number.MAX_SAFE_INTEGER)
  t.equal(freeBytes, Number.MAX_SAFE_INTEGER)
})
