/**
 * A metadata server that lies: every answer that is not what the owner sealed must be refused, not
 * believed. The test plays the server; what it answers truthfully is accepted, so that each refusal
 * is due to the lie.
 */
import t from 'tap'
import type { Attributes, Extent, Inode } from '../../../../schema/generated/common.ts'
import type { ReadWindowsResponse } from '../../../../schema/generated/metadata.ts'
import { methods } from '../../../../schema/methods.ts'
import type { Method } from '../../../../schema/rpc/api.ts'
import { manifestDigest, NO_PATCH, windowDigest } from '../../../../schema/wire/content.ts'
import { limits } from '../../../../schema/wire/limits.ts'
import { DfsError } from '../../../../schema/wire/status.ts'
import { Lease } from '../../../../mount/client/lease.ts'
import type { MetadataSession } from '../../../../mount/client/api.ts'
import { InodeKey } from '../../../../mount/crypto/inode-key.ts'
import { ChunkLocations } from '../../../../mount/vfs/chunk-locations.ts'
import { CommittedContent } from '../../../../mount/vfs/committed-content.ts'
import { DentryCache } from '../../../../mount/vfs/dentry-cache.ts'
import { LeasedTree } from '../../../../mount/vfs/leased-tree.ts'
import { InodeVerifier } from '../../../../mount/vfs/inode-verifier.ts'
import { digestOf, manifestBytes, type Manifest } from '../../../../mount/vfs/manifest.ts'
import { KIND } from '../../../../mount/vfs/stat.ts'
import { Tree } from '../../../../mount/vfs/tree.ts'
import { inodeWith, sealedAttributes } from '../../../support/inodes.ts'

const log = { debug() {}, info() {}, warn() {}, error() {} }
const NO_BYTES = new Uint8Array(0)
const WINDOW = limits.chunkBytesMax

type Answer = (method: string, request: never) => unknown

/** A session whose server answers as `answer` says. */
function sessionOf(answer: Answer, rootKey: InodeKey): MetadataSession {
  return {
    id: 1,
    userId: 1,
    device: 1,
    rootInode: 1,
    rootKey,
    replicas: 1,
    writeQuorum: 1,
    lease: new Lease(),
    async read<Q, R>(method: Method<Q, R>, request: Q): Promise<R> {
      return Promise.resolve(answer(method.name, request as never) as R)
    },
    async mutate<R>(): Promise<R> {
      return Promise.reject(new DfsError('notSupported', 'this server only answers questions'))
    },
    held() {},
    heldUntold() {},
    async tellHolds() {},
    release() {},
    async close() {},
  }
}

function treeOf(session: MetadataSession): Tree {
  const leased = new LeasedTree(session.lease)
  const context = { session, verifier: new InodeVerifier(log), leased }
  return new Tree(context, new DentryCache(), {
    settle: async () => undefined,
    learn: async () => undefined,
  })
}

const inodeOf = (
  signer: InodeKey,
  inode: number,
  over: Partial<Attributes>,
  inline: Uint8Array = NO_BYTES,
): Inode => inodeWith(inode, sealedAttributes(signer, over), { inline })

const key = InodeKey.generate()
const extents: Extent[] = [
  { chunk: 1, offset: 0, length: 100, chunkOffset: 0 },
  { chunk: 2, offset: 200, length: 50, chunkOffset: 7 },
]

function contentOf(windows: Map<number, Extent[]>): Uint8Array {
  const manifest: Manifest = new Map()
  for (const [index, list] of windows) manifest.set(index, windowDigest(list, patches[index]))
  return manifestDigest(manifestBytes(manifest))
}

/** Five bytes at 12 in window 1, which has a patch, unlike window 0. */
const patchPlain = Buffer.concat([Buffer.of(1, 0, 12, 0, 0, 0, 5, 0, 0, 0), Buffer.from('patch')])
const patches = [NO_PATCH, key.sealPatch(1, patchPlain)]

/** Two windows, the second of which is a hole but for one extent and its patch. */
const truth = new Map([
  [0, extents],
  [1, [{ chunk: 3, offset: 10, length: 5, chunkOffset: 0 }]],
])
const honest = inodeOf(key, 7, {
  size: WINDOW + 1_000,
  version: 4,
  contentDigest: contentOf(truth),
})

function honestAnswer(request: { first: number; count: number }): ReadWindowsResponse {
  const windows = [...truth]
    .filter(([index]) => index >= request.first && index < request.first + request.count)
    .map(([index, list]) => ({ index, extents: list, patch: patches[index] ?? NO_PATCH }))
  return { inode: honest, windows, chunks: [], servers: [] }
}

/** Loads window 0 from a server that changes its honest answer by `lie`. */
async function load(lie: (answer: ReadWindowsResponse) => ReadWindowsResponse): Promise<Extent[]> {
  const verifier = new InodeVerifier(log)
  verifier.verify(honest, key, verifier.start(), 'test')
  const session = sessionOf((method, request) => {
    if (method !== methods.readWindows.name) throw new Error(`${method} was not expected`)
    return lie(honestAnswer(request))
  }, key)
  const context = { session, verifier, locations: new ChunkLocations() }
  const content = new CommittedContent(context, honest, key)
  await content.load(0)
  return [...(content.window(0) ?? [])]
}

void t.test('an honest answer is believed', async (t) => {
  t.same(await load((answer) => answer), extents)
})

const lies: { why: string; lie: (answer: ReadWindowsResponse) => ReadWindowsResponse }[] = [
  { why: 'leaves an extent out', lie: (a) => withWindow(a, extents.slice(0, 1)) },
  { why: 'leaves a window out', lie: (a) => ({ ...a, windows: a.windows.slice(0, 1) }) },
  { why: 'answers with no windows', lie: (a) => ({ ...a, windows: [] }) },
  { why: 'moves an extent', lie: (a) => withWindow(a, moved({ offset: 201 })) },
  { why: 'names another chunk', lie: (a) => withWindow(a, moved({ chunk: 9 })) },
  { why: 'shifts an extent in its chunk', lie: (a) => withWindow(a, moved({ chunkOffset: 8 })) },
  { why: 'shortens an extent', lie: (a) => withWindow(a, moved({ length: 49 })) },
  {
    why: 'swaps two windows',
    lie: (a) => ({ ...a, windows: a.windows.map((w) => ({ ...w, index: 1 - w.index })) }),
  },
  {
    why: 'gives a window twice',
    lie: (a) => ({ ...a, windows: [...a.windows, ...a.windows] }),
  },
  {
    why: 'gives a window that was not asked for',
    lie: (a) => ({ ...a, windows: [...a.windows, { index: 99, extents, patch: NO_PATCH }] }),
  },
  { why: 'leaves a patch out', lie: (a) => withPatch(a, 1, NO_PATCH) },
  { why: 'gives a patch to another window', lie: (a) => withPatch(a, 0, patches[1]) },
  {
    why: 'gives another patch of the window',
    lie: (a) => withPatch(a, 1, key.sealPatch(1, patchPlain)),
  },
  { why: 'answers for another inode', lie: (a) => ({ ...a, inode: { ...a.inode, inode: 8 } }) },
  {
    why: 'changes the size',
    lie: (a) => ({
      ...a,
      inode: { ...a.inode, attributes: { ...a.inode.attributes, size: 5 } },
    }),
  },
  {
    why: 'gives an older version',
    lie: (a) => ({ ...a, inode: inodeOf(key, 7, { version: 3 }) }),
  },
  {
    why: "gives another file's inode",
    lie: (a) => ({ ...a, inode: inodeOf(InodeKey.generate(), 7, { version: 5 }) }),
  },
]
for (const { why, lie } of lies) {
  void t.test(`a server that ${why} is found out`, async (t) => {
    await t.rejects(load(lie), { code: 'notAuthentic' })
  })
}

function withWindow(answer: ReadWindowsResponse, list: Extent[]): ReadWindowsResponse {
  const windows = answer.windows.map((w) => (w.index === 0 ? { ...w, extents: list } : w))
  return { ...answer, windows }
}

function withPatch(
  answer: ReadWindowsResponse,
  index: number,
  patch: Uint8Array = NO_PATCH,
): ReadWindowsResponse {
  const windows = answer.windows.map((w) => (w.index === index ? { ...w, patch } : w))
  return { ...answer, windows }
}

function moved(over: Partial<Extent>): Extent[] {
  const [first, second] = extents
  return first === undefined || second === undefined ? [] : [first, { ...second, ...over }]
}

void t.test('inline content is what was sealed, of that file and that length', async (t) => {
  const sealed = key.sealInline(Buffer.from('hello'))
  const digest = digestOf(sealed)
  const make = (inode: Inode): CommittedContent => {
    const session = sessionOf(() => undefined, key)
    const verifier = new InodeVerifier(log)
    const context = { session, verifier, locations: new ChunkLocations() }
    return new CommittedContent(context, inode, key)
  }
  const good = inodeOf(key, 7, { size: 5, contentDigest: digest }, sealed)
  t.equal(Buffer.from(make(good).inline).toString(), 'hello')
  const other = key.sealInline(Buffer.from('hullo'))
  t.throws(() => make({ ...good, inline: other }), { code: 'notAuthentic' })
  const longer = inodeOf(key, 7, { size: 6, contentDigest: digest }, sealed)
  t.throws(() => make(longer), { code: 'notAuthentic' })
})

/** A root with `name` in it, served by a liar. */
async function resolve(
  lie: (answer: { entries: { entry: Uint8Array; inode: Inode }[]; base: Inode }) => unknown,
  names: { asked: string; stored: string } = { asked: 'a', stored: 'a' },
): Promise<number> {
  const rootKey = InodeKey.generate()
  const root = inodeOf(rootKey, 1, { kind: KIND.directory })
  const child = inodeOf(key, 5, {})
  const { entry } = rootKey.sealEntry(names.stored, { kind: KIND.file, key })
  const answer = { entries: [{ entry, inode: child }], base: root }
  const session = sessionOf(() => lie(answer), rootKey)
  const tree = treeOf(session)
  return (await tree.resolve(`/${names.asked}`)).inode.inode
}

void t.test('an honest entry is believed', async (t) => {
  t.equal(await resolve((answer) => answer), 5)
})

void t.test('an entry of another name is found out', async (t) => {
  await t.rejects(
    resolve((answer) => answer, { asked: 'a', stored: 'b' }),
    { code: 'notAuthentic' },
  )
})

void t.test('an entry of another directory is found out', async (t) => {
  const { entry } = InodeKey.generate().sealEntry('a', { kind: KIND.file, key })
  const lie = resolve((answer) => ({
    ...answer,
    entries: answer.entries.map((e) => ({ ...e, entry })),
  }))
  await t.rejects(lie, { code: 'notAuthentic' })
})

void t.test('an entry with the inode of another file is found out', async (t) => {
  const inode = inodeOf(InodeKey.generate(), 6, {})
  const lie = resolve((answer) => ({
    ...answer,
    entries: answer.entries.map((e) => ({ ...e, inode })),
  }))
  await t.rejects(lie, { code: 'notAuthentic' })
})

void t.test('more entries than were asked for are refused', async (t) => {
  const lie = resolve((answer) => ({
    ...answer,
    entries: [...answer.entries, ...answer.entries],
  }))
  await t.rejects(lie, { code: 'notAuthentic' })
})

void t.test('another root is refused', async (t) => {
  const other = InodeKey.generate()
  const lie = resolve((answer) => ({
    ...answer,
    base: inodeOf(other, 1, { kind: KIND.directory }),
  }))
  await t.rejects(lie, { code: 'notAuthentic' })
})

void t.test('one sealed entry cannot name two inodes in turn', async (t) => {
  const rootKey = InodeKey.generate()
  const root = inodeOf(rootKey, 1, { kind: KIND.directory })
  const { entry } = rootKey.sealEntry('a', { kind: KIND.file, key })
  let inode = 5
  const session = sessionOf(
    () => ({ entries: [{ entry, inode: inodeOf(key, inode, {}) }], base: root }),
    rootKey,
  )
  const tree = treeOf(session)
  t.equal((await tree.resolve('/a')).inode.inode, 5)
  inode = 6
  await t.rejects(tree.resolve('/a'), { code: 'notAuthentic' })
})
