/**
 * The kernel's requests, read as linux/fuse.h lays them out: `struct fuse_in_header`, then the request's
 * own part, then names that end with a zero.
 */
import * as fc from 'fast-check'
import t from 'tap'
import { decodeName } from '../../../../mount/crypto/name-bytes.ts'
import { KernelRequest } from '../../../../mount/fuse/kernel-request.ts'

/** A request with this behind its header, in a larger piece of memory that holds older things. */
function loaded(own: Uint8Array): KernelRequest {
  const memory = Buffer.alloc(40 + own.length + 64, 0x55)
  memory.writeUInt32LE(40 + own.length, 0)
  memory.writeUInt32LE(14, 4)
  memory.writeBigUInt64LE(0x1_2345_6789_abcdn, 8)
  memory.writeBigUInt64LE(0x1f_ffff_ffff_ffffn, 16)
  memory.writeUInt32LE(1_000, 24)
  memory.writeUInt32LE(4_294_967_295, 28)
  memory.writeUInt32LE(77, 32)
  memory.set(own, 40)
  const request = new KernelRequest()
  request.load(memory, 40 + own.length)
  return request
}

t.test('the header', async (t) => {
  const request = loaded(Buffer.alloc(0))
  t.equal(request.opcode, 14)
  t.equal(request.unique, 0x1_2345_6789_abcd)
  t.equal(request.nodeId, Number.MAX_SAFE_INTEGER)
  t.equal(request.uid, 1_000)
  t.equal(request.gid, 4_294_967_295)
})

t.test('numbers behind the header', async (t) => {
  const own = Buffer.alloc(24)
  own.writeUInt32LE(0xffff_ffff, 0)
  own.writeBigUInt64LE(2n ** 44n + 1n, 4)
  own.writeBigInt64LE(-5n, 12)
  const request = loaded(own)
  t.equal(request.u32(0), 0xffff_ffff)
  t.equal(request.u64(4), 2 ** 44 + 1)
  t.equal(request.i64(12), -5n)
})

t.test('two names of any bytes, one behind the other', async () => {
  const name = fc
    .uint8Array({ minLength: 1, maxLength: 255 })
    .map((bytes) => bytes.filter((b) => b > 0))
  fc.assert(
    fc.property(name, name, fc.nat(40), (first, second, at) => {
      const own = Buffer.concat([Buffer.alloc(at, 1), first, Buffer.of(0), second, Buffer.of(0)])
      const request = loaded(own)
      return (
        request.text(at) === decodeName(Buffer.from(first)) &&
        request.nextText() === decodeName(Buffer.from(second))
      )
    }),
  )
})

t.test('a name that does not end within the request is refused', async (t) => {
  const invalid = { code: 'invalidArgument' }
  t.throws(() => loaded(Buffer.from('name')).text(0), invalid)
  t.throws(() => loaded(Buffer.alloc(0)).text(0), invalid)
  const one = loaded(Buffer.from('name\0'))
  one.text(0)
  t.throws(() => one.nextText(), invalid)
})

t.test('a value behind a name is copied, and never from behind the request', async (t) => {
  const request = loaded(Buffer.from('user.a\0value'))
  request.text(0)
  const value = request.copyAfterText(5)
  request.bytes.fill(0)
  t.equal(String(value), 'value')
  const short = loaded(Buffer.from('user.a\0val'))
  short.text(0)
  t.equal(String(short.copyAfterText(64)), 'val')
})
