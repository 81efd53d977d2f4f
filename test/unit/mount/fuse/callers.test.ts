/** Who asks is told only by a libfuse that is known. (Who it is, in `fuse-operations.test.ts`.) */
import t from 'tap'
import { Callers } from '../../../../mount/fuse/callers.ts'

const MOUNT_BYTES = 4_096
const REQUEST_BYTES = 360

t.test('in memory that looks otherwise nobody is found, and nothing breaks', async (t) => {
  const callers = new Callers()
  const request = Buffer.alloc(REQUEST_BYTES)
  t.equal(callers.of(request), undefined, 'before the mount')
  const thread = Buffer.alloc(MOUNT_BYTES)
  t.equal(callers.attach({ directory: '/mnt', thread, threads: new Set() }), false, 'zeros')
  thread.write('/mnt\0', 384)
  for (const address of [0n, 8n, 4_096n, 0x7fff_ffff_f000n]) {
    thread.writeBigUInt64LE(address, 368)
    t.equal(callers.attach({ directory: '/mnt', thread, threads: new Set() }), false)
  }
  t.equal(callers.of(request), undefined)
  callers.detach()
})
