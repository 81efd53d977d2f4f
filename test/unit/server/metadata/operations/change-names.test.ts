/**
 * Changes of names that travel together: all or none, in order, each on what it must still mean.
 */
import t from 'tap'
import { birth } from '../../../../../server/metadata/operations/birth.ts'
import { changeNames } from '../../../../../server/metadata/operations/change-names.ts'
import { getInode } from '../../../../../server/metadata/operations/get-inode.ts'
import { inodeNumbers } from '../../../../../server/metadata/operations/inode-numbers.ts'
import { list } from '../../../../../server/metadata/operations/list.ts'
import type { NameChange } from '../../../../../schema/generated/metadata.ts'
import { limits } from '../../../../../schema/wire/limits.ts'
import { checkStore } from '../../../../support/metadata-check.ts'
import {
  attributes,
  entry,
  NO_BYTES,
  TestMetadata,
  token,
  type TestSession,
} from '../../../../support/metadata.ts'

type Born = NonNullable<NameChange['birth']>
type Renamed = NonNullable<NameChange['rename']>

const FILE = 1
const DIRECTORY = 2

const born = (
  parent: number,
  name: string,
  inode: number,
  more: Partial<Born> = {},
): NameChange => ({
  lease: 0,
  birth: {
    inode,
    parent,
    token: token(name),
    entry: entry(name),
    attributes: attributes(DIRECTORY),
    inline: NO_BYTES,
    patch: NO_BYTES,
    hold: false,
    atime: 0n,
    ...more,
  },
})

const removed = (parent: number, name: string, inode: number, directory = false): NameChange => ({
  lease: 0,
  unlink: { parent, token: token(name), directory, inode },
})

const renamed = (
  [fromParent, from]: readonly [number, string],
  [toParent, to]: readonly [number, string],
  inodes: Pick<Renamed, 'inode' | 'replaced'>,
): NameChange => ({
  lease: 0,
  rename: {
    ...inodes,
    fromParent,
    fromToken: token(from),
    toParent,
    toToken: token(to),
    entry: entry(to),
  },
})

async function start(t: Parameters<typeof TestMetadata.open>[0]) {
  const metadata = await TestMetadata.open(t)
  const { user, session } = await metadata.user('ann')
  const { first } = await inodeNumbers(session.caller, metadata.services)
  return { metadata, session, root: user.root, first }
}

async function namesIn(session: TestSession, directory: number): Promise<number[]> {
  const { entries } = await session.query(list, { directory, after: NO_BYTES, limit: 100 })
  return entries.map(({ inode }) => inode?.inode ?? 0).sort((a, b) => a - b)
}

t.test('births, renames and removals build on each other, in one answer', async (t) => {
  const { metadata, session, root, first } = await start(t)
  const old = await session.make(root, 'old')
  const operation = session.operation()
  const changes = [
    born(root, 'd', first),
    born(first, 'e', first + 1),
    born(first, 'f', first + 2, { attributes: attributes(FILE), hold: true }),
    renamed([first, 'f'], [root, 'old'], { inode: first + 2, replaced: old }),
    removed(first, 'e', first + 1, true),
    renamed([root, 'd'], [root, 'g'], { inode: first, replaced: 0 }),
  ]
  const answer = await session.mutate(changeNames, { operation, changes })
  const inodes = new Map(answer.inodes.map((inode) => [inode.inode, inode]))
  t.same(new Set(inodes.keys()), new Set([root, first, first + 2]), 'what still has a name')
  t.match(inodes.get(root), { entryCount: 2, directoryCount: 1 })
  t.match(inodes.get(first), { entryCount: 0, directoryCount: 0, nlink: 2 })
  t.same(
    await namesIn(session, root),
    [first, first + 2].sort((a, b) => a - b),
  )
  t.same(await session.mutate(changeNames, { operation, changes }), answer, 'repeated with its id')
  await session.mutate(changeNames, { changes: [removed(root, 'old', first + 2)] })
  t.match(await session.query(getInode, { inode: first + 2, hold: false }), { inode: { nlink: 0 } })
  t.same(await checkStore(metadata.store), [])
})

t.test('one that is refused takes all others with it', async (t) => {
  const { metadata, session, root, first } = await start(t)
  const file = await session.make(root, 'file')
  const full = await session.makeDirectory(root, 'full')
  await session.make(full, 'entry')
  const refused: [string, NameChange][] = [
    ['exists', born(root, 'file', first + 1)],
    ['notEmpty', removed(root, 'full', full, true)],
    ['isDirectory', removed(root, 'full', full)],
    ['versionConflict', removed(root, 'file', full)],
    ['versionConflict', removed(root, 'missing', file)],
    ['versionConflict', renamed([root, 'file'], [root, 'new'], { inode: full, replaced: 0 })],
    ['versionConflict', renamed([root, 'file'], [root, 'full'], { inode: file, replaced: 0 })],
    ['versionConflict', renamed([root, 'file'], [root, 'x'], { inode: file, replaced: full })],
    ['staleLease', { ...born(root, 'z', first + 1), lease: 12_345 }],
    ['staleLease', { ...removed(root, 'file', file), lease: 12_345 }],
    ['invalidArgument', born(root, 'y', root)],
  ]
  for (const [code, change] of refused) {
    const changes = [born(root, 'before', first), change, removed(root, 'before', first, true)]
    await t.rejects(session.mutate(changeNames, { changes }), { code }, code)
  }
  t.same(
    await namesIn(session, root),
    [file, full].sort((a, b) => a - b),
  )
  await t.resolves(session.mutate(changeNames, { changes: [born(root, 'before', first)] }))
  t.same(await checkStore(metadata.store), [])
})

t.test('requests that are no list of changes are refused', async (t) => {
  const { session, root, first } = await start(t)
  const refused = { code: 'invalidArgument' }
  const many = Array.from({ length: limits.nameChangesMax + 1 }, (_, at) =>
    born(root, `d${at}`, first + at),
  )
  const twice = { ...born(root, 'd', first), ...removed(root, 'd', first) }
  const link = born(root, 'd', first, { attributes: attributes(3) })
  for (const changes of [[], many, [{ lease: 0 }], [twice], [link]]) {
    await t.rejects(session.mutate(changeNames, { changes }), refused)
  }
})

t.test('a birth that asks for it is answered without its content', async (t) => {
  const { session, root, first } = await start(t)
  const { birth: change } = born(root, 'f', first, { attributes: attributes(FILE) })
  if (change === undefined) throw new Error('a birth')
  const answer = await session.mutate(birth, { ...change, lease: 0, terse: true })
  t.equal(answer.inode.inline.length, 0)
})
