/**
 * What the kernel is told, field by field at the places that linux/fuse.h gives them.
 */
import { constants } from 'node:fs'
import * as fc from 'fast-check'
import t from 'tap'
import {
  direntBytes,
  writeAttr,
  writeDirent,
  writeEntry,
  writePeriod,
  writeStatfs,
  writeWide,
} from '../../../../mount/fuse/encoding.ts'
import type { Stat } from '../../../../mount/vfs/api.ts'

const { S_IFREG, S_IFDIR } = constants
const SECOND = 1_000_000_000n

const stat: Stat = {
  inode: 2 ** 40 + 7,
  mode: S_IFREG | 0o4755,
  nlink: 3,
  uid: 4_294_967_294,
  gid: 100,
  rdev: 0x801,
  size: 16 * 2 ** 40,
  blocks: 2 ** 35,
  atime: 2n ** 32n * SECOND + 1n,
  mtime: -1n,
  ctime: -5n * SECOND,
  hasXattrs: false,
}

/** Memory that holds older things. */
const memory = (bytes: number): Buffer => Buffer.alloc(bytes, 0xaa)

t.test('struct fuse_attr', async (t) => {
  const bytes = memory(100)
  writeAttr(bytes, 4, stat)
  const at = bytes.subarray(4)
  t.equal(at.readBigUInt64LE(0), 2n ** 40n + 7n, 'ino')
  t.equal(at.readBigUInt64LE(8), 2n ** 44n, 'size')
  t.equal(at.readBigUInt64LE(16), 2n ** 35n, 'blocks')
  t.equal(at.readBigInt64LE(24), 2n ** 32n, 'atime')
  t.equal(at.readBigInt64LE(32), -1n, 'mtime: a nanosecond before 1970')
  t.equal(at.readBigInt64LE(40), -5n, 'ctime')
  t.equal(at.readUInt32LE(48), 1, 'atimensec')
  t.equal(at.readUInt32LE(52), 999_999_999, 'mtimensec')
  t.equal(at.readUInt32LE(56), 0, 'ctimensec')
  t.equal(at.readUInt32LE(60), S_IFREG | 0o4755, 'mode')
  t.equal(at.readUInt32LE(64), 3, 'nlink')
  t.equal(at.readUInt32LE(68), 4_294_967_294, 'uid')
  t.equal(at.readUInt32LE(72), 100, 'gid')
  t.equal(at.readUInt32LE(76), 0x801, 'rdev')
  t.equal(at.readUInt32LE(80), 131_072, 'blksize')
  t.equal(at.readUInt32LE(84), 0, 'flags')
  t.equal(bytes.readUInt32LE(0), 0xaaaa_aaaa, 'nothing before it')
  t.equal(bytes.readUInt32LE(92), 0xaaaa_aaaa, 'nothing behind it')
})

t.test('every time comes back, whatever its sign', async () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n }), (time) => {
      const bytes = memory(88)
      writeAttr(bytes, 0, { ...stat, mtime: time })
      const nanos = bytes.readUInt32LE(52)
      return nanos < 1e9 && bytes.readBigInt64LE(32) * SECOND + BigInt(nanos) === time
    }),
  )
})

t.test('whole numbers up to 2^53', async () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (value) => {
      const bytes = memory(8)
      writeWide(bytes, 0, value)
      return bytes.readBigUInt64LE(0) === BigInt(value)
    }),
  )
})

t.test('struct fuse_entry_out', async (t) => {
  const bytes = memory(136)
  writeEntry(bytes, 4, { nodeId: 12, keptMs: 500, attributesMs: 1_250 }, stat)
  const at = bytes.subarray(4)
  t.equal(at.readBigUInt64LE(0), 12n, 'nodeid')
  t.equal(at.readBigUInt64LE(8), 0n, 'generation')
  t.equal(at.readBigUInt64LE(16), 0n, 'entry_valid')
  t.equal(at.readBigUInt64LE(24), 1n, 'attr_valid')
  t.equal(at.readUInt32LE(32), 500_000_000, 'entry_valid_nsec')
  t.equal(at.readUInt32LE(36), 250_000_000, 'attr_valid_nsec')
  t.equal(at.readBigUInt64LE(40), 2n ** 40n + 7n, 'attr.ino')
  t.equal(at.readUInt32LE(124), 0, 'attr.flags')
  t.equal(bytes.readUInt32LE(132), 0xaaaa_aaaa, 'nothing behind it')
})

t.test('an entry without attributes is zeros', async (t) => {
  const bytes = memory(128)
  writeEntry(bytes, 0, { nodeId: 0, keptMs: 0, attributesMs: 0 }, undefined)
  t.same(bytes, Buffer.alloc(128))
})

t.test('periods longer than a second', async (t) => {
  const bytes = memory(12)
  writePeriod(bytes, 0, 8, 61_007)
  t.equal(bytes.readBigUInt64LE(0), 61n)
  t.equal(bytes.readUInt32LE(8), 7_000_000)
})

t.test('struct fuse_dirent: aligned to 8 bytes, with zeros to fill', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 255 }), (name) => {
      const size = direntBytes(name.length)
      const bytes = memory(size + 8)
      writeDirent(bytes, 0, { inode: stat.inode, mode: S_IFDIR | 0o755, name }, 2 ** 33)
      const behind = 24 + name.length
      return (
        size % 8 === 0 &&
        size - behind < 8 &&
        bytes.readBigUInt64LE(0) === BigInt(stat.inode) &&
        bytes.readBigUInt64LE(8) === 2n ** 33n &&
        bytes.readUInt32LE(16) === name.length &&
        bytes.readUInt32LE(20) === 4 &&
        bytes.subarray(24, behind).equals(name) &&
        bytes.subarray(behind, size).every((byte) => byte === 0) &&
        bytes.subarray(size).every((byte) => byte === 0xaa)
      )
    }),
  )
})

t.test('struct fuse_kstatfs', async (t) => {
  const bytes = Buffer.alloc(80)
  writeStatfs(bytes, 0, { totalBytes: 2 ** 50, freeBytes: 2 ** 49 + 4_095, inodes: 1_000 })
  t.equal(bytes.readBigUInt64LE(0), 2n ** 38n, 'blocks')
  t.equal(bytes.readBigUInt64LE(8), 2n ** 37n, 'bfree, rounded down')
  t.equal(bytes.readBigUInt64LE(16), 2n ** 37n, 'bavail')
  t.equal(bytes.readBigUInt64LE(24), 2n ** 37n + 1_000n, 'files')
  t.equal(bytes.readBigUInt64LE(32), 2n ** 37n, 'ffree')
  t.equal(bytes.readUInt32LE(40), 131_072, 'bsize')
  t.equal(bytes.readUInt32LE(44), 255, 'namelen')
  t.equal(bytes.readUInt32LE(48), 4_096, 'frsize')
})
