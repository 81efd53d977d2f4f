/**
 * Patches of windows on a real store: what a commit puts in the place of which, what they count for, and
 * how they go.
 */
import t from 'tap'
import { commit } from '../../../../../server/metadata/operations/commit.ts'
import { readWindows } from '../../../../../server/metadata/operations/read-windows.ts'
import { commitOf, extent, type Change } from '../../../../support/commits.ts'
import { NO_BYTES, TestMetadata } from '../../../../support/metadata.ts'
import { checkStore } from '../../../../support/metadata-check.ts'

const metadata = await TestMetadata.open(t)
const { user, session } = await metadata.user('ann')
const { root } = user

const put = (inode: number, change: Change) => session.mutate(commit, commitOf(inode, change))

t.test(
  'a patch replaces the one before, counts for the quota, and goes with its window',
  async (t) => {
    const file = await session.make(root, 'patched')
    const first = Buffer.alloc(50, 1)
    const windows = (patch?: Uint8Array) => [{ index: 0, extents: [], patch: patch ?? NO_BYTES }]
    t.match(await put(file, { size: 10, version: 2, windows: windows(first) }), {
      inode: { allocatedBytes: 50 },
    })
    const asked = { inode: file, first: 0, count: 1 }
    const read = await session.query(readWindows, asked)
    t.same(
      read.windows.map(({ extents, patch }) => [extents, Buffer.from(patch)]),
      [[[], first]],
    )
    const chunk = await session.chunk(100)
    const extents = [extent(chunk.chunk, 0, 100)]
    const second = Buffer.alloc(70, 2)
    const both = [{ index: 0, extents, patch: second }]
    t.match(await put(file, { size: 100, version: 3, windows: both, chunks: [chunk] }), {
      inode: { allocatedBytes: 170 },
    })
    const cut = { size: 50, version: 4, truncateTo: 50 }
    await t.rejects(put(file, cut), { code: 'invalidArgument' }, 'a cut through it names it')
    const after = [extent(chunk.chunk, 0, 50)]
    t.match(await put(file, { ...cut, windows: [{ index: 0, extents: [], after }] }), {
      inode: { allocatedBytes: 50 },
    })
    const farther = [{ index: 1, extents: [], patch: first }]
    t.match(await put(file, { size: 2 ** 26 + 9, version: 5, windows: farther }), {
      inode: { allocatedBytes: 100 },
    })
    const gone = { size: 2 ** 26, version: 6, truncateTo: 2 ** 26 }
    t.match(await put(file, gone), { inode: { allocatedBytes: 50 } })
    t.match(await put(file, { size: 0, version: 7, truncateTo: 0 }), {
      inode: { allocatedBytes: 0 },
    })
  },
)

t.test('afterwards everything that is kept twice agrees', async (t) => {
  await metadata.services.purger.stop()
  await metadata.services.database.settle()
  t.same(await checkStore(metadata.store), [])
})
