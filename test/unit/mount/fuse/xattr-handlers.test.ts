/**
 * Requests about extended attributes, as kernels with and without access control lists send them.
 */
import { constants } from 'node:os'
import t from 'tap'
import type { HandlerContext } from '../../../../mount/fuse/handlers/context.ts'
import { xattrHandlers } from '../../../../mount/fuse/handlers/xattr.ts'
import { KernelCache } from '../../../../mount/fuse/kernel-cache.ts'
import { KernelRequest } from '../../../../mount/fuse/kernel-request.ts'
import { NodeTable } from '../../../../mount/fuse/node-table.ts'
import { PathGate } from '../../../../mount/fuse/path-gate.ts'
import { INIT, REPLY_HEADER_BYTES, REQUEST_HEADER_BYTES } from '../../../../mount/fuse/protocol.ts'
import { Replies } from '../../../../mount/fuse/replies.ts'
import { defaultDeadlines, Requests } from '../../../../mount/fuse/reply.ts'
import { TransferBuffers } from '../../../../mount/fuse/transfer-buffers.ts'
import { ACCESS_ACL } from '../../../../mount/vfs/acl.ts'
import type { XattrMode } from '../../../../mount/vfs/api.ts'
import { MemoryLog } from '../../../support/fuse-mount.ts'
import { ModelFileSystem } from '../../../support/model-file-system.ts'
import { present } from '../../../support/present.ts'

const { ENODATA, ENOTSUP } = constants.errno
const VALUE = Buffer.from('value')

/** Remembers how it was told to set one. */
class Attributes extends ModelFileSystem {
  readonly modes: XattrMode[] = []

  override async setXattr(...args: Parameters<ModelFileSystem['setXattr']>): Promise<void> {
    this.modes.push(args[3])
    await super.setXattr(...args)
  }
}

type Answer = { readonly code: number; readonly bytes: string }

/** The root of a mount, and a kernel with which `flags` were agreed. */
async function kernel(flags: number) {
  const fs = new Attributes()
  const root = await fs.stat('/')
  const nodes = new NodeTable(root)
  let answered: (answer: Answer) => void = () => undefined
  const device = {
    write: (memory: Buffer, length: number) => {
      const bytes = memory.toString('latin1', REPLY_HEADER_BYTES, length)
      answered({ code: memory.readInt32LE(4), bytes })
      return length
    },
  }
  const log = new MemoryLog()
  const buffers = new TransferBuffers(1, () => undefined)
  const requests = new Requests(log, defaultDeadlines)
  const context: HandlerContext = {
    fs,
    nodes,
    replies: new Replies(device, log),
    requests,
    cache: new KernelCache(fs),
    agreed: { flags },
    gate: new PathGate(),
    reads: buffers,
    incoming: buffers,
  }
  const handlers = xattrHandlers(context)
  const ask = (operation: keyof typeof handlers, words: number[], ...rest: (string | Buffer)[]) => {
    const parts = rest.map((part) => (typeof part === 'string' ? Buffer.from(`${part}\0`) : part))
    const head = Buffer.alloc(REQUEST_HEADER_BYTES + words.length * 4)
    head.writeUInt32LE(1, 16)
    for (const [at, word] of words.entries())
      head.writeUInt32LE(word, REQUEST_HEADER_BYTES + at * 4)
    const bytes = Buffer.concat([head, ...parts])
    const request = new KernelRequest()
    request.load(bytes, bytes.length)
    return new Promise<Answer>((resolve) => {
      answered = resolve
      try {
        handlers[operation](request)
      } catch (error) {
        // As the session does.
        resolve({ code: requests.failed(operation, '/', error), bytes: '' })
      }
    })
  }
  const tell = () => nodes.told(present(nodes.get(1)), root, nodes.now)
  return { fs, ask, tell }
}

t.test('a kernel whose requests have no flags of their own', async (t) => {
  const { fs, ask } = await kernel(INIT.accessControl)
  t.same(await ask('setxattr', [5, 2], 'user.a', VALUE), { code: -ENODATA, bytes: '' }, 'replace')
  t.equal((await ask('setxattr', [5, 0], 'user.a', VALUE)).code, 0)
  t.same(fs.modes, ['replace', 'either'])
  t.same(await ask('getxattr', [99, 0], 'user.a'), { code: 0, bytes: 'value' })
})

t.test('and one whose have', async (t) => {
  const { fs, ask } = await kernel(INIT.accessControl | INIT.setXattrFlags)
  t.equal((await ask('setxattr', [5, 1, 0, 0], 'user.a', VALUE)).code, 0)
  t.equal((await ask('setxattr', [5, 0, 1, 0], ACCESS_ACL, VALUE)).code, 0)
  t.same(fs.modes, ['create', 'dropsSetGroupId'])
  t.same(await ask('getxattr', [99, 0], 'user.a'), { code: 0, bytes: 'value' })
})

t.test('one that enforces no lists is told of none', async (t) => {
  const { fs, ask } = await kernel(INIT.setXattrFlags)
  await fs.setXattr('/', ACCESS_ACL, VALUE, 'either')
  await fs.setXattr('/', 'user.a', VALUE, 'either')
  t.equal((await ask('getxattr', [99, 0], ACCESS_ACL)).code, -ENOTSUP)
  t.equal((await ask('removexattr', [], ACCESS_ACL)).code, -ENOTSUP)
  t.equal((await ask('setxattr', [5, 0, 0, 0], ACCESS_ACL, VALUE)).code, -ENOTSUP)
  t.same(await ask('listxattr', [99, 0]), { code: 0, bytes: 'user.a\0' })
  t.same(await fs.listXattrs('/'), [ACCESS_ACL, 'user.a'])
})

t.test('what is known to have none is not asked for a list', async (t) => {
  const { fs, ask, tell } = await kernel(INIT.accessControl | INIT.setXattrFlags)
  const asked = () => fs.calls.get('getXattr') ?? 0
  t.equal((await ask('getxattr', [99, 0], ACCESS_ACL)).code, -ENODATA)
  t.equal(asked(), 1, 'nothing is known yet')
  tell()
  t.equal((await ask('getxattr', [99, 0], ACCESS_ACL)).code, -ENODATA)
  t.equal(asked(), 1)
  t.equal((await ask('setxattr', [5, 0, 0, 0], ACCESS_ACL, VALUE)).code, 0)
  t.same(await ask('getxattr', [99, 0], ACCESS_ACL), { code: 0, bytes: 'value' })
  t.equal(asked(), 2, 'it was changed since')
})
