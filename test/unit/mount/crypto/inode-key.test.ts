/**
 * Everything that an inode's secret seals: format version 1 is fixed by vectors made with another
 * implementation, and nothing that was changed on its way opens.
 */
import { createHmac, hkdfSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import t from 'tap'
import type { Attributes } from '../../../../schema/generated/common.ts'
import { InodeKey } from '../../../../mount/crypto/inode-key.ts'
import { decodeName, encodeName } from '../../../../mount/crypto/name-bytes.ts'
import { flips } from '../../../support/flips.ts'
import { repository } from '../../../support/cluster.ts'
import { unsealed } from '../../../support/inodes.ts'

interface Vectors {
  secret: string
  entry: { name: string; kind: number; child: string; token: string; sealed: string }
  inodes: (Omit<Attributes, 'mtime' | 'contentDigest' | 'seal' | 'xattrDigest'> &
    Record<string, string>)[]
  inline: { plain: string; sealed: string }
  chunk: { id: number; header: string; key: string }
}

const path = join(repository, 'test/fixtures/format/v1/vectors.json')
const vectors = JSON.parse(readFileSync(path, 'utf8')) as Vectors
const hex = (text: string): Buffer => Buffer.from(text, 'hex')
const key = new InodeKey(hex(vectors.secret))

const attributes = unsealed({ uid: 1, gid: 2, size: 3, mtime: 4n, version: 5 })

t.test('entries of format version 1 open', async (t) => {
  const { name, kind, child, token, sealed } = vectors.entry
  t.equal(key.token(name).toString('hex'), token)
  const entry = key.openEntry(hex(token), hex(sealed))
  t.equal(entry.name, name)
  t.equal(entry.kind, kind)
  t.same(entry.key.secret, hex(child))
})

t.test('inodes of format version 1 verify, and are sealed the same way today', async (t) => {
  for (const fields of vectors.inodes) {
    const inode: Attributes = {
      ...fields,
      mtime: BigInt(fields['mtime'] ?? ''),
      contentDigest: hex(fields['contentDigest'] ?? ''),
      seal: hex(fields['seal'] ?? ''),
      xattrDigest: hex(fields['xattrDigest'] ?? ''),
    }
    key.verifyAttributes(inode)
    t.same(key.sealAttributes(inode).seal, inode.seal, `kind ${inode.kind}`)
  }
})

t.test('inline content and chunk keys of format version 1 come out', async (t) => {
  t.same(key.openInline(hex(vectors.inline.sealed)), hex(vectors.inline.plain))
  const { id, header, key: chunkKey } = vectors.chunk
  t.equal(key.chunkKey(hex(header), id).toString('hex'), chunkKey)
})

const name = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
  .filter((text) => !/[/\0]/.test(text) && text !== '.' && text !== '..')
  .filter((text) => Buffer.byteLength(text) <= 255)

t.test('whatever is sealed opens again to the same', async () => {
  fc.assert(
    fc.property(name, fc.integer({ min: 1, max: 7 }), (text, kind) => {
      const child = InodeKey.generate()
      const { token, entry } = key.sealEntry(text, { kind, key: child })
      const opened = key.openEntry(token, entry)
      return (
        opened.name === text &&
        opened.kind === kind &&
        Buffer.compare(opened.key.secret, child.secret) === 0
      )
    }),
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 5_000 }), (bytes) => {
      const sealed = key.sealInline(bytes)
      return sealed.length === bytes.length + 30 && key.openInline(sealed).equals(bytes)
    }),
  )
})

t.test('a name of any bytes is sealed as these bytes, and valid UTF-8 as ever', async (t) => {
  const child = { kind: 1, key: InodeKey.generate() }
  const nameKey = hkdfSync('sha256', key.secret, Buffer.alloc(0), 'dfs v1 name', 32)
  const tokenOf = (bytes: Uint8Array): Buffer =>
    createHmac('sha256', Buffer.from(nameKey)).update(bytes).digest()
  const names = [Buffer.from('naïve 日本'), Buffer.of(0xff), Buffer.of(0x61, 0xe2, 0x82, 0x62)]
  for (const bytes of [...names, Buffer.alloc(255, 0xff)]) {
    const { token, entry } = key.sealEntry(decodeName(bytes), child)
    t.same(token, tokenOf(bytes))
    t.same(encodeName(key.openEntry(token, entry).name), bytes)
  }
  t.throws(() => key.token('\udcc3\udca4'), { code: 'invalidArgument' })
})

t.test('sealing twice gives different bytes, and the same token', async (t) => {
  const child = { kind: 1, key: InodeKey.generate() }
  const [first, second] = [key.sealEntry('a', child), key.sealEntry('a', child)]
  t.same(first.token, second.token)
  t.notSame(first.entry, second.entry)
  t.notSame(key.sealInline(Buffer.of(1)), key.sealInline(Buffer.of(1)))
})

t.test('a name shows its length only to the next multiple of 32 bytes', async (t) => {
  const sealedBytes = (length: number): number =>
    key.sealEntry('x'.repeat(length), { kind: 1, key }).entry.length
  t.equal(sealedBytes(1), sealedBytes(32))
  t.equal(sealedBytes(33), sealedBytes(32) + 32)
  t.equal(sealedBytes(255), sealedBytes(225))
})

t.test(
  'no flipped bit of an entry, its token, inline content or a patch goes unnoticed',
  async (t) => {
    const { token, entry } = key.sealEntry('some name', { kind: 2, key: InodeKey.generate() })
    const inline = key.sealInline(Buffer.from('target'))
    const patch = key.sealPatch(5, Buffer.from('some runs'))
    for (const { bit, bytes } of flips(entry)) {
      t.throws(() => key.openEntry(token, bytes), { code: /^not(Authentic|Supported)$/ }, `${bit}`)
    }
    for (const { bit, bytes } of flips(token)) {
      t.throws(() => key.openEntry(bytes, entry), { code: 'notAuthentic' }, `token bit ${bit}`)
    }
    for (const { bit, bytes } of flips(inline)) {
      t.throws(() => key.openInline(bytes), { code: /^not(Authentic|Supported)$/ }, `inline ${bit}`)
    }
    for (const { bit, bytes } of flips(patch)) {
      t.throws(
        () => key.openPatch(5, bytes),
        { code: /^not(Authentic|Supported)$/ },
        `patch ${bit}`,
      )
    }
    t.throws(() => key.openPatch(4, patch), { code: 'notAuthentic' }, 'a patch of another window')
    for (let length = 0; length < entry.length; length++) {
      t.throws(() => key.openEntry(token, entry.subarray(0, length)), {
        code: /^notAuthentic$|^notSupported$/,
      })
    }
  },
)

const child = { kind: 1, key: InodeKey.generate() }
const other = InodeKey.generate()
const a = key.sealEntry('a', child)
const b = key.sealEntry('b', child)
const swaps = [
  { why: 'under the token of another name', key, token: b.token, entry: a.entry },
  { why: 'in another directory', key: other, token: a.token, entry: a.entry },
  {
    why: "under another directory's token for the name",
    key,
    token: other.token('a'),
    entry: a.entry,
  },
  { why: 'that is inline content', key, token: a.token, entry: key.sealInline(Buffer.alloc(99)) },
]
for (const { why, key: opener, token, entry } of swaps) {
  t.test(`refuses an entry ${why}`, async (t) => {
    t.throws(() => opener.openEntry(token, entry), { code: 'notAuthentic' })
  })
}

t.test('a change of any sealed attribute is found, and of the key', async (t) => {
  const sealed = key.sealAttributes(attributes)
  key.verifyAttributes(sealed)
  const changes: Partial<Attributes>[] = [
    { kind: 3 },
    { mode: 0o645 },
    { uid: 9 },
    { gid: 9 },
    { rdev: 9 },
    { size: 2 ** 32 + 3 },
    { mtime: 5n },
    { version: 6 },
    { contentDigest: Buffer.alloc(32) },
    { contentDigest: Buffer.alloc(31) },
    { xattrDigest: Buffer.alloc(32) },
    { xattrDigest: Buffer.alloc(1) },
    { seal: Buffer.alloc(32) },
    { seal: sealed.seal.subarray(1) },
    { seal: Buffer.alloc(0) },
  ]
  for (const change of changes) {
    const what = Object.keys(change).join()
    t.throws(() => key.verifyAttributes({ ...sealed, ...change }), { code: 'notAuthentic' }, what)
  }
  t.throws(() => other.verifyAttributes(sealed), { code: 'notAuthentic' })
  for (const { bit, bytes } of flips(sealed.seal)) {
    t.throws(
      () => key.verifyAttributes({ ...sealed, seal: bytes }),
      { code: 'notAuthentic' },
      `${bit}`,
    )
  }
})

t.test("a directory's mtime is its server's", async (t) => {
  const sealed = key.sealAttributes({ ...attributes, kind: 2 })
  t.equal(sealed.mtime, 4n, 'kept as given')
  key.verifyAttributes({ ...sealed, mtime: 99n })
})

const badNames = [
  { bad: '', code: 'invalidArgument' },
  { bad: '.', code: 'invalidArgument' },
  { bad: '..', code: 'invalidArgument' },
  { bad: 'a/b', code: 'invalidArgument' },
  { bad: 'a\0b', code: 'invalidArgument' },
  { bad: 'x'.repeat(256), code: 'nameTooLong' },
  { bad: '\udcff'.repeat(256), code: 'nameTooLong' },
  { bad: '\udcc3\udca4', code: 'invalidArgument' },
  { bad: '\ud800', code: 'invalidArgument' },
  { bad: 'ü'.repeat(128), code: 'nameTooLong' },
]
for (const { bad, code } of badNames) {
  t.test(`refuses ${JSON.stringify(bad.slice(0, 5))} of ${bad.length} as a name`, async (t) => {
    t.throws(() => key.sealEntry(bad, child), { code })
  })
}

t.test('an erased key is zero and of no use', async (t) => {
  const erased = InodeKey.generate()
  erased.token('derives a key')
  erased.erase()
  t.ok(erased.secret.every((byte) => byte === 0))
  t.throws(() => erased.token('x'), { name: 'InvariantError' })
  t.throws(() => erased.sealInline(Buffer.of(1)), { name: 'InvariantError' })
  t.throws(() => key.sealEntry('x', { kind: 1, key: erased }), { name: 'InvariantError' })
})

t.test('a secret of another length, or an unknown kind, is a bug', async (t) => {
  t.throws(() => new InodeKey(Buffer.alloc(31)), { name: 'InvariantError' })
  t.throws(() => key.sealEntry('x', { kind: 0, key: child.key }), { name: 'InvariantError' })
})
