/**
 * Changing the library in memory: only the one we know, and only once it is there.
 */
import t from 'tap'
import { addon, libfuseFile } from '../../../../mount/fuse/binding.ts'
import { keepIdleThreads } from '../../../../mount/fuse/idle-threads.ts'
import { withMemory } from '../../../../mount/fuse/process-memory.ts'

t.test('the libfuse that fuse-native ships is the one we know, once it is loaded', async (t) => {
  t.equal(keepIdleThreads(libfuseFile()), false, 'not loaded')
  addon()
  t.equal(keepIdleThreads(libfuseFile()), true)
  t.equal(keepIdleThreads(libfuseFile()), true, 'again')
})

t.test('another library is left alone', async (t) => {
  t.equal(keepIdleThreads(process.execPath), false)
  t.equal(keepIdleThreads('/no/such/library.so'), false)
})

t.test('a bad address is an error of Node, not a crash', async (t) => {
  t.throws(() => withMemory((memory) => memory.read(8, 8)), { code: 'EIO' })
})
