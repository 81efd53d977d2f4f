/**
 * Extended attributes against a server that lies: nothing but what the inode's seal vouches for is
 * believed; and one that changes under a change makes it start over.
 */
import t from 'tap'
import { encodeXattrs } from '../../../../mount/crypto/extended-attributes.ts'
import { InodeKey } from '../../../../mount/crypto/inode-key.ts'
import type { MetadataSession } from '../../../../mount/client/api.ts'
import { Lease } from '../../../../mount/client/lease.ts'
import { ExtendedAttributes } from '../../../../mount/vfs/extended-attributes.ts'
import { LeasedTree } from '../../../../mount/vfs/leased-tree.ts'
import { InodeVerifier } from '../../../../mount/vfs/inode-verifier.ts'
import type { Attributes, Inode } from '../../../../schema/generated/common.ts'
import type {
  ReadXattrsResponse,
  SetAttributesRequest,
} from '../../../../schema/generated/metadata.ts'
import { methods } from '../../../../schema/methods.ts'
import type { Method } from '../../../../schema/rpc/api.ts'
import { NO_XATTRS, xattrDigest } from '../../../../schema/wire/content.ts'
import { DfsError } from '../../../../schema/wire/status.ts'
import { inodeWith, sealedAttributes } from '../../../support/inodes.ts'

const key = InodeKey.generate()
const log = { debug() {}, info() {}, warn() {}, error() {} }

const inodeOf = (over: Partial<Attributes>, signer = key): Inode =>
  inodeWith(7, sealedAttributes(signer, { mode: 0o600, ...over }))

const sealed = (text: string, name = 'user.a'): Uint8Array =>
  key.sealXattrs(encodeXattrs(new Map([[name, Buffer.from(text)]])))

/** A server with one inode; `lie` changes what it answers. */
class Server {
  inode: Inode
  xattrs: Uint8Array
  reads = 0
  lie = (answer: ReadXattrsResponse): ReadXattrsResponse => answer
  /** Runs before a change is looked at. */
  meanwhile = (): void => undefined

  constructor(xattrs: Uint8Array) {
    this.xattrs = xattrs
    this.inode = inodeOf({ xattrDigest: xattrDigest(xattrs) })
  }

  replace(xattrs: Uint8Array): void {
    const { version } = this.inode.attributes
    this.xattrs = xattrs
    this.inode = inodeOf({ version: version + 1, xattrDigest: xattrDigest(xattrs) })
  }

  readonly session: MetadataSession = {
    id: 1,
    lease: new Lease(),
    userId: 1,
    device: 1,
    rootInode: 1,
    rootKey: key,
    replicas: 1,
    writeQuorum: 1,
    read: async <Q, R>(method: Method<Q, R>): Promise<R> => {
      if (method.name === methods.getInode.name) return { inode: this.inode } as R
      this.reads++
      return this.lie({ inode: this.inode, xattrs: this.xattrs }) as R
    },
    mutate: async <Q, R>(_method: Method<Q, R>, request: Omit<Q, 'operation'>): Promise<R> => {
      this.meanwhile()
      const { attributes, xattrs } = request as unknown as SetAttributesRequest
      if (attributes.version !== this.inode.attributes.version + 1) {
        throw new DfsError('versionConflict', 'another version')
      }
      this.inode = { ...this.inode, attributes }
      this.xattrs = xattrs
      return { inode: this.inode } as R
    },
    held() {},
    heldUntold() {},
    async tellHolds() {},
    release() {},
    async close() {},
  }

  client(): ExtendedAttributes {
    const leased = new LeasedTree(this.session.lease)
    return new ExtendedAttributes({
      session: this.session,
      verifier: new InodeVerifier(log),
      leased,
    })
  }

  get found(): { inode: Inode; key: InodeKey } {
    return { inode: this.inode, key }
  }
}

t.test('an honest server is asked once for what stays the same', async (t) => {
  const server = new Server(sealed('one'))
  const client = server.client()
  t.equal(Buffer.from(await client.get(server.found, 'user.a', 'f')).toString(), 'one')
  t.same(await client.list(server.found, 'f'), ['user.a'])
  await t.rejects(client.get(server.found, 'user.b', 'f'), { code: 'noAttribute' })
  t.equal(server.reads, 1)
  server.replace(sealed('two'))
  t.equal(Buffer.from(await client.get(server.found, 'user.a', 'f')).toString(), 'two')
  t.equal(server.reads, 2)
})

t.test('a file without any costs no request', async (t) => {
  const server = new Server(NO_XATTRS)
  await t.rejects(server.client().get(server.found, 'user.a', 'f'), { code: 'noAttribute' })
  t.same(await server.client().list(server.found, 'f'), [])
  t.equal(server.reads, 0)
})

const old = sealed('yesterday')
const lies: [string, (answer: ReadXattrsResponse) => ReadXattrsResponse][] = [
  ['drops them', (answer) => ({ ...answer, xattrs: NO_XATTRS })],
  ['gives older ones', (answer) => ({ ...answer, xattrs: old })],
  [
    'gives older ones and their digest',
    ({ inode }) => {
      const attributes = { ...inode.attributes, xattrDigest: xattrDigest(old) }
      return { inode: { ...inode, attributes }, xattrs: old }
    },
  ],
  ['gives an older inode', () => ({ inode: inodeOf({}), xattrs: NO_XATTRS })],
  ['gives another inode', (answer) => ({ ...answer, inode: { ...answer.inode, inode: 8 } })],
  [
    'changes a bit',
    (answer) => ({
      ...answer,
      xattrs: answer.xattrs.map((byte, at) => (at === 40 ? ~byte : byte)),
    }),
  ],
]
for (const [what, lie] of lies) {
  t.test(`a server that ${what} is found out`, async (t) => {
    const server = new Server(old)
    server.replace(sealed('today'))
    const { session } = server
    const leased = new LeasedTree(session.lease)
    const context = { session, verifier: new InodeVerifier(log), leased }
    context.verifier.verify(server.inode, key, context.verifier.start(), 'f')
    server.lie = lie
    const client = new ExtendedAttributes(context)
    await t.rejects(client.get(server.found, 'user.a', 'f'), { code: 'notAuthentic' })
    await t.rejects(
      client.set(server.found, { name: 'user.b', value: Buffer.from('x'), mode: 'either' }, 'f'),
      { code: 'notAuthentic' },
      'nor is anything built on it',
    )
  })
}

t.test('a change that meets another starts over and keeps both', async (t) => {
  const server = new Server(sealed('one'))
  const client = server.client()
  let others = 2
  server.meanwhile = () => {
    if (others-- > 0) server.replace(sealed(`theirs ${others}`, 'user.theirs'))
  }
  const mine = { name: 'user.mine', value: Buffer.from('mine'), mode: 'create' } as const
  await client.set(server.found, mine, 'f')
  t.same((await client.list(server.found, 'f')).sort(), ['user.mine', 'user.theirs'])
  await client.remove(server.found, 'user.theirs', 'f')
  await client.remove(server.found, 'user.mine', 'f')
  t.same(server.inode.attributes.xattrDigest, NO_XATTRS)
  t.same(server.xattrs, NO_XATTRS)
})

t.test('modes of setting, and names that are not kept', async (t) => {
  const server = new Server(sealed('one'))
  const client = server.client()
  const set = (name: string, mode: 'create' | 'replace' | 'either') =>
    client.set(server.found, { name, value: Buffer.from('x'), mode }, 'f')
  await t.rejects(set('user.a', 'create'), { code: 'exists' })
  await t.rejects(set('user.b', 'replace'), { code: 'noAttribute' })
  await t.rejects(client.remove(server.found, 'user.b', 'f'), { code: 'noAttribute' })
  for (const name of ['security.capability', 'system.posix_acl', 'user.', 'other']) {
    await t.rejects(set(name, 'either'), { code: 'notSupported' }, name)
    await t.rejects(client.get(server.found, name, 'f'), { code: 'notSupported' }, name)
  }
  await set('trusted.t', 'create')
  await set('user.a', 'replace')
})
