/**
 * The operations on the tree, on a real store: what they do, and what they refuse.
 */
import t, { type Test } from 'tap'
import { inlineDigest } from '../../../../../schema/wire/content.ts'
import type { StatusName } from '../../../../../schema/wire/status.ts'
import { getInode } from '../../../../../server/metadata/operations/get-inode.ts'
import { link } from '../../../../../server/metadata/operations/link.ts'
import { list } from '../../../../../server/metadata/operations/list.ts'
import { release } from '../../../../../server/metadata/operations/release.ts'
import { rename } from '../../../../../server/metadata/operations/rename.ts'
import { resolve } from '../../../../../server/metadata/operations/resolve.ts'
import { setAttributes } from '../../../../../server/metadata/operations/set-attributes.ts'
import { statfs } from '../../../../../server/metadata/operations/statfs.ts'
import { unlink } from '../../../../../server/metadata/operations/unlink.ts'
import { attributes, entry, NO_BYTES, TestMetadata, token } from '../../../../support/metadata.ts'
import type { TestSession } from '../../../../support/metadata.ts'
import { checkStore } from '../../../../support/metadata-check.ts'
import { until } from '../../../../support/transport.ts'

const metadata = await TestMetadata.open(t)
const { user, session } = await metadata.user('ann')
const { root } = user

t.teardown(async () => {
  await metadata.services.database.settle()
})

const tokens = (...names: string[]): Uint8Array => Buffer.concat(names.map(token))

async function resolved(...names: string[]): Promise<number[]> {
  const { entries } = await session.query(resolve, {
    base: root,
    tokens: tokens(...names),
    hold: false,
  })
  return entries.map(({ inode }) => inode.inode)
}

const inodeOf = async (id: number) =>
  (await session.query(getInode, { inode: id, hold: false })).inode

const move = (
  who: TestSession,
  from: [number, string],
  to: [number, string],
  inode: number,
  noReplace = false,
) =>
  who.mutate(rename, {
    fromParent: from[0],
    fromToken: token(from[1]),
    toParent: to[0],
    toToken: token(to[1]),
    entry: entry(to[1]),
    noReplace,
    inode,
  })

const remove = (who: TestSession, parent: number, name: string, directory = false) =>
  who.mutate(unlink, { parent, token: token(name), directory })

t.test('what was created is found by its path, with its entry as given', async (t) => {
  const dir = await session.makeDirectory(root, 'paths')
  const file = await session.make(dir, 'file')
  t.same(await resolved('paths', 'file'), [dir, file])
  t.same(await resolved('paths', 'none', 'file'), [dir], 'ends where a name is missing')
  t.same(await resolved('paths', 'file', 'x'), [dir, file], 'ends at what is no directory')
  const { entries, base } = await session.query(resolve, {
    base: dir,
    tokens: tokens('file'),
    hold: false,
  })
  t.same(Buffer.from(entries[0]?.entry ?? []), Buffer.from(entry('file')))
  t.equal(base.inode, dir)
})

t.test('a directory counts its entries and its directories, and keeps its own times', async (t) => {
  const dir = await session.makeDirectory(root, 'counts')
  const before = await inodeOf(dir)
  metadata.time.ms += 50
  await session.makeDirectory(dir, 'a')
  await session.make(dir, 'b')
  const after = await inodeOf(dir)
  t.match(after, { entryCount: 2, directoryCount: 1, nlink: 3 })
  t.ok(after.attributes.mtime > before.attributes.mtime, "mtime is the server's")
  await remove(session, dir, 'a', true)
  t.match(await inodeOf(dir), { entryCount: 1, directoryCount: 0, nlink: 2 })
})

t.test('a listing comes in pages that hold every entry once', async (t) => {
  const dir = await session.makeDirectory(root, 'pages')
  const made = new Set<number>()
  for (let i = 0; i < 25; i++) made.add(await session.make(dir, `f${i}`))
  const seen: number[] = []
  let after: Uint8Array = NO_BYTES
  for (;;) {
    const page = await session.query(list, { directory: dir, after, limit: 7 })
    seen.push(...page.entries.map(({ inode }) => inode?.inode ?? 0))
    after = page.entries.at(-1)?.token ?? NO_BYTES
    if (!page.more) break
  }
  t.same(new Set(seen), made)
  t.equal(seen.length, made.size)
})

t.test('hard links share an inode, which goes with its last name', async (t) => {
  const dir = await session.makeDirectory(root, 'links')
  const file = await session.make(dir, 'one')
  const linked = await session.mutate(link, {
    inode: file,
    parent: dir,
    token: token('two'),
    entry: entry('two'),
  })
  t.equal(linked.inode.nlink, 2)
  t.equal((await remove(session, dir, 'one')).inode.nlink, 1)
  t.same(await resolved('links', 'two'), [dir, file])
  t.equal((await remove(session, dir, 'two')).inode.nlink, 0)
  await t.rejects(inodeOf(file), { code: 'staleInode' })
})

t.test('an unlinked inode stays for as long as it is held', async (t) => {
  const file = await session.make(root, 'held', { hold: true })
  await session.query(getInode, { inode: file, hold: true })
  await remove(session, root, 'held')
  t.equal((await inodeOf(file)).nlink, 0)
  await session.query(release, { inodes: [file] })
  t.equal((await inodeOf(file)).nlink, 0, 'two holds need two releases')
  await session.query(release, { inodes: [file] })
  const gone = async (): Promise<boolean> =>
    inodeOf(file).then(
      () => false,
      () => true,
    )
  let left = 50
  while (!(await gone()) && left-- > 0) await new Promise((done) => setTimeout(done, 10))
  t.ok(await gone())
})

t.test('rename moves, replaces, and counts in both directories', async (t) => {
  const from = await session.makeDirectory(root, 'from')
  const to = await session.makeDirectory(root, 'to')
  const file = await session.make(from, 'f')
  const old = await session.make(to, 'g')
  const { inode, replaced } = await move(session, [from, 'f'], [to, 'g'], file)
  t.equal(inode.inode, file)
  t.match(replaced, { inode: old, nlink: 0 })
  t.same(await resolved('to', 'g'), [to, file])
  t.equal((await inodeOf(from)).entryCount, 0)
  t.equal((await inodeOf(to)).entryCount, 1)
  const dir = await session.makeDirectory(from, 'd')
  await move(session, [from, 'd'], [to, 'd'], dir)
  t.match(await inodeOf(to), { entryCount: 2, directoryCount: 1, nlink: 3 })
  t.match(await inodeOf(from), { entryCount: 0, directoryCount: 0, nlink: 2 })
})

t.test('rename between two names of one inode changes nothing', async (t) => {
  const dir = await session.makeDirectory(root, 'same')
  const file = await session.make(dir, 'a')
  await session.mutate(link, { inode: file, parent: dir, token: token('b'), entry: entry('b') })
  t.equal((await move(session, [dir, 'a'], [dir, 'b'], file)).replaced, undefined)
  t.equal((await inodeOf(file)).nlink, 2)
  t.equal((await inodeOf(dir)).entryCount, 2)
})

t.test('setAttributes keeps what the client sealed, and the times that are ours', async (t) => {
  const file = await session.make(root, 'attributes')
  const { inode } = await session.mutate(setAttributes, {
    inode: file,
    attributes: attributes(1, { mode: 0o600, mtime: 9n, version: 2, seal: Buffer.alloc(32, 1) }),
    atime: 77n,
    directoryMtime: 5n,
    xattrs: NO_BYTES,
  })
  t.match(inode.attributes, { mode: 0o600, mtime: 9n, version: 2 })
  t.equal(inode.atime, 77n)
  const dir = await session.makeDirectory(root, 'attributes of a directory')
  const changed = await session.mutate(setAttributes, {
    inode: dir,
    attributes: attributes(2, { mtime: 0n, version: 2 }),
    atime: 0n,
    directoryMtime: 123n,
    xattrs: NO_BYTES,
  })
  t.equal(changed.inode.attributes.mtime, 123n)
})

t.test('refusals', async (t) => {
  const dir = await session.makeDirectory(root, 'refusals')
  const below = await session.makeDirectory(dir, 'below')
  const deep = await session.makeDirectory(below, 'deep')
  const file = await session.make(dir, 'file')
  const empty = await session.makeDirectory(dir, 'empty')
  const removed = await session.makeDirectory(dir, 'removed')
  await session.query(getInode, { inode: removed, hold: true })
  await remove(session, dir, 'removed', true)
  const { user: other, session: stranger } = await metadata.user('bob')

  const refusals: [string, StatusName, () => Promise<unknown>][] = [
    ['creating a name twice', 'exists', () => session.make(dir, 'file')],
    ['creating below a file', 'notDirectory', () => session.make(file, 'x')],
    ['creating nowhere', 'staleInode', () => session.make(999_999, 'x')],
    ['creating in a removed directory', 'notFound', () => session.make(removed, 'x')],
    ["creating in somebody else's directory", 'staleInode', () => stranger.make(dir, 'x')],
    ['a short token', 'invalidArgument', () => session.make(dir, 'x', { token: NO_BYTES })],
    ['no entry', 'invalidArgument', () => session.make(dir, 'x', { entry: NO_BYTES })],
    ['a long entry', 'invalidArgument', () => session.make(dir, 'x', { entry: Buffer.alloc(513) })],
    ['kind 0', 'invalidArgument', () => session.make(dir, 'x', { attributes: attributes(0) })],
    ['kind 8', 'invalidArgument', () => session.make(dir, 'x', { attributes: attributes(8) })],
    [
      'version 2 of something new',
      'invalidArgument',
      () => session.make(dir, 'x', { attributes: attributes(1, { version: 2 }) }),
    ],
    [
      'more than permission bits',
      'invalidArgument',
      () => session.make(dir, 'x', { attributes: attributes(1, { mode: 0o10000 }) }),
    ],
    [
      'a size without content',
      'invalidArgument',
      () => session.make(dir, 'x', { attributes: attributes(1, { size: 1 }) }),
    ],
    [
      'a file beyond the largest',
      'fileTooLarge',
      () => session.make(dir, 'x', { attributes: attributes(1, { size: 2 ** 50 }) }),
    ],
    [
      'inline content with another digest',
      'invalidArgument',
      () => session.make(dir, 'x', { inline: Buffer.from('abc') }),
    ],
    [
      'inline content that is too long',
      'invalidArgument',
      () => {
        const inline = Buffer.alloc(5_000)
        const contentDigest = inlineDigest(inline)
        return session.make(dir, 'x', { inline, attributes: attributes(1, { contentDigest }) })
      },
    ],
    [
      'a symbolic link without target',
      'invalidArgument',
      () => session.make(dir, 'x', { attributes: attributes(3) }),
    ],
    ['unlinking what is not there', 'notFound', () => remove(session, dir, 'none')],
    ['unlinking a directory', 'isDirectory', () => remove(session, dir, 'empty')],
    ['rmdir of a file', 'notDirectory', () => remove(session, dir, 'file', true)],
    ['rmdir of a full directory', 'notEmpty', () => remove(session, root, 'refusals', true)],
    ["unlinking in somebody else's directory", 'staleInode', () => remove(stranger, dir, 'file')],
    [
      'linking a directory',
      'notPermitted',
      () =>
        session.mutate(link, { inode: empty, parent: dir, token: token('x'), entry: entry('x') }),
    ],
    [
      'linking over a name',
      'exists',
      () =>
        session.mutate(link, { inode: file, parent: dir, token: token('file'), entry: entry('x') }),
    ],
    [
      "linking somebody else's file",
      'staleInode',
      () =>
        stranger.mutate(link, {
          inode: file,
          parent: other.root,
          token: token('x'),
          entry: entry('x'),
        }),
    ],
    [
      'renaming what is not there',
      'notFound',
      () => move(session, [dir, 'none'], [dir, 'x'], file),
    ],
    [
      'renaming another inode',
      'versionConflict',
      () => move(session, [dir, 'file'], [dir, 'x'], empty),
    ],
    ['renaming below itself', 'wouldLoop', () => move(session, [dir, 'below'], [deep, 'x'], below)],
    ['renaming into itself', 'wouldLoop', () => move(session, [dir, 'below'], [below, 'x'], below)],
    [
      'a directory over a file',
      'notDirectory',
      () => move(session, [dir, 'empty'], [dir, 'file'], empty),
    ],
    [
      'a file over a directory',
      'isDirectory',
      () => move(session, [dir, 'file'], [dir, 'empty'], file),
    ],
    [
      'over a full directory',
      'notEmpty',
      () => move(session, [dir, 'empty'], [dir, 'below'], empty),
    ],
    [
      'over a name, with noReplace',
      'exists',
      () => move(session, [dir, 'file'], [dir, 'empty'], file, true),
    ],
    [
      'attributes of a version that is not the next',
      'versionConflict',
      () =>
        session.mutate(setAttributes, {
          inode: file,
          attributes: attributes(1, { version: 3 }),
          atime: 0n,
          directoryMtime: 0n,
          xattrs: NO_BYTES,
        }),
    ],
    [
      'attributes of another kind',
      'invalidArgument',
      () =>
        session.mutate(setAttributes, {
          inode: file,
          attributes: attributes(2, { version: 2 }),
          atime: 0n,
          directoryMtime: 0n,
          xattrs: NO_BYTES,
        }),
    ],
    [
      'another size by setAttributes',
      'invalidArgument',
      () =>
        session.mutate(setAttributes, {
          inode: file,
          attributes: attributes(1, { version: 2, size: 4 }),
          atime: 0n,
          directoryMtime: 0n,
          xattrs: NO_BYTES,
        }),
    ],
    [
      "somebody else's inode",
      'staleInode',
      () => stranger.query(getInode, { inode: file, hold: true }),
    ],
    [
      'listing a file',
      'notDirectory',
      () => session.query(list, { directory: file, after: NO_BYTES, limit: 1 }),
    ],
    [
      'a page of nothing',
      'invalidArgument',
      () => session.query(list, { directory: dir, after: NO_BYTES, limit: 0 }),
    ],
    [
      'half a token',
      'invalidArgument',
      () => session.query(resolve, { base: dir, tokens: Buffer.alloc(40), hold: false }),
    ],
  ]
  for (const [what, code, attempt] of refusals) await t.rejects(attempt(), { code }, what)
  t.same(await resolved('refusals', 'file'), [dir, file], 'none of them changed anything')
})

t.test('a quota stops growth, and only growth', async (t) => {
  const { user: carol, session: hers } = await metadata.user('carol', 100)
  const inline = Buffer.alloc(60, 1)
  const sealed = attributes(1, { size: 30, contentDigest: inlineDigest(inline) })
  await hers.make(carol.root, 'a', { inline, attributes: sealed })
  await t.rejects(hers.make(carol.root, 'b', { inline, attributes: sealed }), {
    code: 'quotaExceeded',
  })
  t.match(await hers.query(statfs, {}), {
    usedBytes: 60,
    quotaBytes: 100,
    freeBytes: 40,
    inodes: 2,
  })
  await remove(hers, carol.root, 'a')
  await hers.make(carol.root, 'b', { inline, attributes: sealed })
})

t.test('a hundred creates at once in one directory all take effect', async (t) => {
  const dir = await session.makeDirectory(root, 'crowd')
  await Promise.all(Array.from({ length: 100 }, (_, i) => session.make(dir, `f${i}`)))
  t.match(await inodeOf(dir), { entryCount: 100 })
  const twice = await Promise.allSettled(Array.from({ length: 10 }, () => session.make(dir, 'one')))
  t.equal(twice.filter(({ status }) => status === 'fulfilled').length, 1, 'a name is given once')
})

t.test('directories that move into each other at once never make a loop', async (t) => {
  const [a, b] = [await session.makeDirectory(root, 'A'), await session.makeDirectory(root, 'B')]
  const results = await Promise.allSettled([
    move(session, [root, 'A'], [b, 'A'], a),
    move(session, [root, 'B'], [a, 'B'], b),
  ])
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
})

t.test('afterwards everything that is kept twice agrees', async (t: Test) => {
  await metadata.services.database.settle()
  t.same(await checkStore(metadata.store), [])
  t.ok(await until(() => metadata.services.holds.free().length === 0, 1_000))
})
