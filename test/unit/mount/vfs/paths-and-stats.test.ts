import t from 'tap'
import type { Inode } from '../../../../schema/generated/common.ts'
import { InodeKey } from '../../../../mount/crypto/inode-key.ts'
import { InodeVerifier } from '../../../../mount/vfs/inode-verifier.ts'
import { manifestBytes } from '../../../../mount/vfs/manifest.ts'
import { componentsOf } from '../../../../mount/vfs/path.ts'
import { KIND, kindOfMode, statOf } from '../../../../mount/vfs/stat.ts'
import { inodeWith, sealedAttributes } from '../../../support/inodes.ts'

t.test('a path is split into its names', async (t) => {
  t.same(componentsOf('/'), [])
  t.same(componentsOf('/a'), ['a'])
  t.same(componentsOf('/a//b/'), ['a', 'b'])
  t.same(componentsOf('/ü/…/a b'), ['ü', '…', 'a b'])
  t.same(componentsOf(`/${'ü'.repeat(127)}`).length, 1, '254 bytes')
  t.same(componentsOf(`/${'\udcff'.repeat(255)}`).length, 1, '255 bytes that are no text')
  t.same(componentsOf('/\udcc3/\udca4'), ['\udcc3', '\udca4'], 'halves of a character')
})

const refused = [
  { path: 'a', code: 'invalidArgument', why: 'not absolute' },
  { path: '/a/../b', code: 'invalidArgument', why: 'dots' },
  { path: '/.', code: 'invalidArgument', why: 'a dot' },
  { path: '/a\0b', code: 'invalidArgument', why: 'NUL' },
  { path: '/\ud800', code: 'invalidArgument', why: 'what stands for no bytes' },
  { path: '/\udcc3\udca4', code: 'invalidArgument', why: 'the bytes of another name' },
  { path: `/${'\udcff'.repeat(256)}`, code: 'nameTooLong', why: '256 bytes that are no text' },
  { path: `/${'x'.repeat(256)}`, code: 'nameTooLong', why: '256 bytes' },
  { path: `/${'ü'.repeat(128)}`, code: 'nameTooLong', why: '256 bytes in 128 characters' },
  { path: '/a'.repeat(2_049), code: 'nameTooLong', why: 'too deep' },
]
for (const { path, code, why } of refused) {
  t.test(`refuses a path: ${why}`, async (t) => {
    t.throws(() => componentsOf(path), { code })
  })
}

const key = InodeKey.generate()
const log = { debug() {}, info() {}, warn() {}, error() {} }

function inode(version: number, over: Partial<Inode['attributes']> = {}): Inode {
  const whose = { mode: 0o640, uid: 1, gid: 2, size: 700, mtime: 3n, version }
  const counts = { ctime: 4n, atime: 5n, entryCount: 3, directoryCount: 2, allocatedBytes: 513 }
  return inodeWith(5, sealedAttributes(key, { ...whose, ...over }), counts)
}

t.test('a file is told as stat does', async (t) => {
  t.match(statOf(inode(1)), { inode: 5, mode: 0o100640, size: 700, blocks: 2, nlink: 1, mtime: 3n })
  const local = { size: 9_000, mtime: 8n, uncommittedBytes: 8_300 }
  t.match(statOf(inode(1), local), { size: 9_000, blocks: 18, mtime: 8n })
})

t.test('a directory has a link from itself and from each directory in it', async (t) => {
  t.match(statOf(inode(1, { kind: KIND.directory })), { mode: 0o040640, nlink: 4 })
})

t.test('modes and kinds correspond', async (t) => {
  t.equal(kindOfMode(0o100644), KIND.file)
  t.equal(kindOfMode(0o010644), KIND.fifo)
  t.equal(kindOfMode(0o140644), KIND.socket)
  t.equal(kindOfMode(0o644), undefined)
})

t.test('an inode that is older than one seen before is refused', async (t) => {
  const verifier = new InodeVerifier(log)
  verifier.verify(inode(4), key, verifier.start(), 'f')
  verifier.verify(inode(4), key, verifier.start(), 'f')
  const late = verifier.start()
  verifier.verify(inode(6), key, verifier.start(), 'f')
  t.doesNotThrow(() => verifier.verify(inode(5), key, late, 'f'), 'an answer that was overtaken')
  t.throws(() => verifier.verify(inode(5), key, verifier.start(), 'f'), { code: 'notAuthentic' })
})

t.test('two inodes of one version are refused: somebody rewrote history', async (t) => {
  const verifier = new InodeVerifier(log)
  verifier.verify(inode(4), key, verifier.start(), 'f')
  const other = inode(4, { size: 1 })
  t.throws(() => verifier.verify(other, key, verifier.start(), 'f'), { code: 'notAuthentic' })
})

t.test("an inode under another key's seal is refused", async (t) => {
  const verifier = new InodeVerifier(log)
  const other = InodeKey.generate()
  t.throws(() => verifier.verify(inode(1), other, verifier.start(), 'f'), { code: 'notAuthentic' })
})

t.test('a manifest is in the order of its windows', async (t) => {
  const digest = Buffer.alloc(32, 9)
  const bytes = Buffer.from(
    manifestBytes(
      new Map([
        [300, digest],
        [2, digest],
      ]),
    ),
  )
  t.equal(bytes.readUInt32LE(0), 2)
  t.equal(bytes.readUInt32LE(36), 300)
})
