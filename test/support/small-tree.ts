/**
 * A store with some of everything in it, whose content digests are right as those of real clients
 * are; for tests of what goes through a whole store.
 */
import { invariant } from '../../schema/wire/invariant.ts'
import {
  inlineDigest,
  NO_PATCH,
  manifestDigest,
  windowDigest,
  xattrDigest,
} from '../../schema/wire/content.ts'
import { commit } from '../../server/metadata/operations/commit.ts'
import { link } from '../../server/metadata/operations/link.ts'
import { setAttributes } from '../../server/metadata/operations/set-attributes.ts'
import type { OrderedStore } from '../../server/store/ordered-store.ts'
import {
  attributes,
  entry,
  NO_BYTES,
  TestMetadata,
  token,
  type TestSession,
  type TestUser,
} from './metadata.ts'

export interface SmallTree {
  readonly metadata: TestMetadata
  readonly user: TestUser
  readonly session: TestSession
  readonly root: number
  /** Directory in the root, with `inner` in it. */
  readonly directory: number
  readonly inner: number
  /** File in `directory`, of two chunks in one window. */
  readonly file: number
  readonly chunks: readonly [number, number]
  /** File in the root, with a second name in `directory`. */
  readonly linked: number
  /** Small file in `inner`, content in the inode, with extended attributes. */
  readonly inline: number
}

const INLINE = Buffer.from('sealed content of a small file')
const XATTRS = Buffer.from('sealed attributes')
const CHUNK_BYTES = 1_000

/** Makes it in a new store, or in a directory that becomes one, as user `ann`. */
export async function smallTree(place: string | OrderedStore): Promise<SmallTree> {
  const metadata = await (typeof place === 'string'
    ? TestMetadata.reopen(place)
    : TestMetadata.on(place))
  await metadata.addServers()
  const { user, session } = await metadata.user('ann')
  const { root } = user
  const directory = await session.makeDirectory(root, 'directory')
  const inner = await session.makeDirectory(directory, 'inner')
  const file = await session.make(directory, 'file')
  const linked = await session.make(root, 'linked')
  await session.mutate(link, {
    inode: linked,
    parent: directory,
    token: token('second'),
    entry: entry('second'),
  })
  const inline = await session.make(inner, 'inline', {
    attributes: attributes(1, { size: 12, contentDigest: inlineDigest(INLINE) }),
    inline: INLINE,
  })
  await session.mutate(setAttributes, {
    inode: inline,
    attributes: attributes(1, {
      version: 2,
      size: 12,
      contentDigest: inlineDigest(INLINE),
      xattrDigest: xattrDigest(XATTRS),
    }),
    atime: 0n,
    directoryMtime: 0n,
    xattrs: XATTRS,
  })
  const chunks = await writeFile(session, file)
  return { metadata, user, session, root, directory, inner, file, chunks, linked, inline }
}

/** Gives a new file two chunks in one window; their ids. */
async function writeFile(session: TestSession, inode: number): Promise<[number, number]> {
  const written = [await session.chunk(CHUNK_BYTES), await session.chunk(CHUNK_BYTES)]
  const extents = written.map(({ chunk }, i) => ({
    chunk,
    offset: i * CHUNK_BYTES,
    length: CHUNK_BYTES,
    chunkOffset: 0,
  }))
  const digest = windowDigest(extents)
  const index = Buffer.alloc(4)
  await session.mutate(commit, {
    inode,
    attributes: attributes(1, {
      version: 2,
      size: 2 * CHUNK_BYTES,
      contentDigest: manifestDigest(Buffer.concat([index, digest])),
    }),
    truncates: false,
    truncateTo: 0,
    windows: [{ index: 0, extents, digest, patch: NO_PATCH }],
    chunks: written,
    inline: NO_BYTES,
  })
  const [first, second] = written
  invariant(first !== undefined && second !== undefined, 'two chunks were written')
  return [first.chunk, second.chunk]
}
