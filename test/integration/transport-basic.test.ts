/**
 * The transport's everyday behaviour on loopback: calls, payload both ways, who is trusted.
 */
import { networkInterfaces } from 'node:os'
import t from 'tap'
import { listen } from '../../schema/quic/listener.ts'
import type { Connection } from '../../schema/rpc/api.ts'
import { MethodTable } from '../../schema/rpc/method-table.ts'
import {
  Certificates,
  download,
  echo,
  fromU64,
  method,
  MIB,
  mirror,
  pair,
  pattern,
  PIECE_BYTES,
  SERVER_NAME,
  silent,
  stall,
  testService,
  u64,
  until,
  upload,
} from '../support/transport.ts'

const hello = Buffer.from('hello')
const own = Object.values(networkInterfaces()).flat()
const noIpv6 = own.some((at) => at?.address === '::1') ? false : 'this machine has no IPv6'

t.test('a call brings back its answer', async (t) => {
  const { peer } = await pair(t)
  t.same(Buffer.from(await peer.call(echo, hello)), hello)
  t.equal((await peer.call(echo, new Uint8Array(0))).length, 0, 'an empty message')
  const large = Buffer.alloc(60_000, 7)
  t.same(Buffer.from(await peer.call(echo, large)), large, 'a message of several datagrams')
})

t.test('1000 calls at once are all answered, each with its own answer', async (t) => {
  const { peer } = await pair(t)
  const answers = await Promise.all(
    Array.from({ length: 1_000 }, async (_, n) => peer.call(echo, u64(n))),
  )
  t.same(
    answers.map((answer) => fromU64(answer)),
    Array.from({ length: 1_000 }, (_, n) => n),
  )
})

t.test('5000 calls at once wait for free streams and are all answered', async (t) => {
  const { peer } = await pair(t)
  const answers = await Promise.all(
    Array.from({ length: 5_000 }, async (_, n) => peer.call(echo, u64(n))),
  )
  t.equal(new Set(answers.map((answer) => fromU64(answer))).size, 5_000)
})

t.test('an upload of 200 MB arrives whole', async (t) => {
  const { peer } = await pair(t)
  const call = await peer.open(upload, hello, { deadlineMs: 60_000 })
  const pieces = 3_200
  for (let n = 0; n < pieces; n++) await call.write(pattern)
  call.end()
  t.equal(fromU64(await call.response), pieces * PIECE_BYTES)
})

t.test('a download of 200 MB arrives whole and in order', async (t) => {
  const { peer } = await pair(t)
  const wanted = 200 * MIB
  const call = await peer.open(download, u64(wanted), { deadlineMs: 60_000 })
  call.end()
  await call.response
  const into = Buffer.allocUnsafe(100_000)
  let at = 0
  let wrong = 0
  for (;;) {
    const bytes = await call.read(into)
    if (bytes === 0) break
    if (into[0] !== pattern[at % PIECE_BYTES]) wrong++
    at += bytes
    if (into[bytes - 1] !== pattern[(at - 1) % PIECE_BYTES]) wrong++
  }
  t.equal(at, wanted)
  t.equal(wrong, 0)
})

t.test('payload flows both ways of one call at once', async (t) => {
  const { peer } = await pair(t)
  const call = await peer.open(mirror, hello)
  const total = 16 * MIB
  const sending = (async () => {
    for (let at = 0; at < total; at += PIECE_BYTES) await call.write(pattern)
    call.end()
  })()
  t.same(Buffer.from(await call.response), hello)
  const into = Buffer.allocUnsafe(PIECE_BYTES)
  let got = 0
  for (let bytes = await call.read(into); bytes > 0; bytes = await call.read(into)) got += bytes
  await sending
  t.equal(got, total)
})

t.test('the server calls its client over the same connection', async (t) => {
  const recalled = method(77)
  const service = new MethodTable()
  service.handle(recalled, (request) => Buffer.concat([Buffer.from('client '), request]))
  let seen: Connection | undefined
  const { peer } = await pair(t, {
    listen: { onConnection: (connection) => (seen = connection) },
    peer: { service },
  })
  await peer.call(echo, hello)
  if (seen === undefined) throw new Error('no connection was announced')
  t.equal(Buffer.from(await seen.call(recalled, hello)).toString(), 'client hello')
  await t.rejects(seen.call(method(78), hello), { code: 'methodUnknown' })
})

t.test(
  'a server with a certificate has a name at the listener, a client without has none',
  async (t) => {
    const names: (string | undefined)[] = []
    const { certificates, another, peer } = await pair(t, {
      listen: { onConnection: (connection) => names.push(connection.peer.name) },
    })
    await peer.call(echo, hello)
    await another({ identity: await certificates.identity('chunkserver-3.dfs') }).call(echo, hello)
    t.same(names, [undefined, 'chunkserver-3.dfs'])
    t.equal(peer.connection?.peer.name, SERVER_NAME)
  },
)

t.test('a certificate of another cluster is refused by the listener', async (t) => {
  let accepted = 0
  const { another } = await pair(t, { listen: { onConnection: () => accepted++ } })
  const stranger = await (await Certificates.create()).identity('chunkserver-3.dfs')
  // The client learns of it only after its own side of the handshake was done.
  await t.rejects(another({ identity: stranger }).call(echo, hello), { code: 'forbidden' })
  t.equal(accepted, 0)
})

t.test('a server is trusted only with the pinned authority and its name', async (t) => {
  const { another } = await pair(t)
  const { caPem } = await Certificates.create()
  await t.rejects(another({ caPem }).call(echo, hello), { code: 'serverUntrusted' })
  await t.rejects(another({ serverName: 'other.dfs' }).call(echo, hello), {
    code: 'serverUntrusted',
  })
  t.same(Buffer.from(await another({ serverName: undefined }).call(echo, hello)), hello)
})

t.test('another version of the protocol is told apart from an untrusted server', async (t) => {
  const { dialer, listener, certificates } = await pair(t)
  const connecting = dialer.connect(listener.address, {
    serverName: SERVER_NAME,
    caPem: certificates.caPem,
    identity: undefined,
    methods: new MethodTable(),
    log: silent,
    timeoutMs: 3_000,
    signal: new AbortController().signal,
    alpn: 'dfs/0',
  })
  await t.rejects(connecting, { code: 'versionMismatch' })
})

t.test('an unknown method and a handler that fails are errors with their cause', async (t) => {
  const failing = method(50)
  const buggy = method(51)
  const service = testService()
  service.handle(failing, () => {
    throw Object.assign(new Error('secret'), {})
  })
  service.handle(buggy, () => undefined)
  const { peer } = await pair(t, { listen: { service } })
  await t.rejects(peer.call(method(99), hello), { code: 'methodUnknown' })
  const internal = await peer.call(failing, hello).catch((error: unknown) => error)
  t.match(internal, { code: 'internal' })
  t.notMatch(String(internal), /secret/u, 'what it was stays in the log')
  await t.rejects(peer.call(buggy, hello), { code: 'internal' })
  t.same(Buffer.from(await peer.call(echo, hello)), hello, 'the next request is served')
})

t.test('a request above its limit is refused on both sides', async (t) => {
  const { peer } = await pair(t)
  const bold = method(1, { requestBytesMax: 10 * MIB })
  await t.rejects(peer.call(echo, Buffer.alloc(65_537)), { code: 'frameTooLarge' })
  await t.rejects(peer.call(bold, Buffer.alloc(65_537)), { code: 'frameTooLarge' })
  t.same(Buffer.from(await peer.call(echo, hello)), hello)
})

t.test('deadlines end calls on both sides', async (t) => {
  let aborted: unknown
  const service = new MethodTable()
  service.handle(stall, async (_request, call) => {
    await new Promise<void>((resolve) => {
      call.signal.addEventListener('abort', () => resolve())
    })
    aborted = call.signal.reason
    return new Uint8Array(0)
  })
  const { peer } = await pair(t, { listen: { service } })
  const started = performance.now()
  await t.rejects(peer.call(stall, hello, { deadlineMs: 100 }), { code: 'deadlineExceeded' })
  t.ok(performance.now() - started < 4_000, 'in time')
  t.ok(await until(() => aborted !== undefined))
})

t.test('cancelling ends a call here and aborts it there', async (t) => {
  let aborted: unknown
  const service = testService()
  const watched = method(60)
  service.handle(watched, async (_request, call) => {
    await new Promise<void>((resolve) => {
      call.signal.addEventListener('abort', () => resolve())
    })
    aborted = call.signal.reason
    return new Uint8Array(0)
  })
  const { peer } = await pair(t, { listen: { service } })
  await peer.call(echo, hello)
  const abort = new AbortController()
  const call = peer.call(watched, hello, { signal: abort.signal })
  setTimeout(() => abort.abort(), 20)
  await t.rejects(call, { code: 'cancelled' })
  t.ok(await until(() => aborted !== undefined))
  t.match(aborted, { code: 'cancelled' })
  t.same(Buffer.from(await peer.call(echo, hello)), hello)
})

t.test('nobody at the address is an error that names it', async (t) => {
  const { another } = await pair(t)
  const peer = another({ addresses: ['127.0.0.1:9'] })
  const error = await peer.call(echo, hello, { deadlineMs: 300 }).catch((e: unknown) => e)
  t.match(error, { code: 'connectionRefused', message: /127\.0\.0\.1:9/u })
})

t.test('a peer reaches whichever of its addresses answers', async (t) => {
  const { another, listener } = await pair(t)
  const peer = another({ addresses: ['127.0.0.1:9', listener.address] })
  t.same(Buffer.from(await peer.call(echo, hello)), hello)
})

t.test('a peer connects again to a server that was restarted', async (t) => {
  const { certificates, listener, another } = await pair(t)
  const first = await listen({
    address: '127.0.0.1:0',
    identity: await certificates.identity(SERVER_NAME),
    caPem: certificates.caPem,
    service: testService(),
    log: silent,
  })
  let met = 0
  const peer = another({
    addresses: [first.address],
    onConnected: async (connection) => {
      await connection.call(echo, hello)
      met++
    },
  })
  await peer.call(echo, hello)
  const pending = peer.call(stall, hello)
  await first.close(0)
  await t.rejects(pending, { code: /shuttingDown|connectionLost/u })
  const second = await listen({
    address: first.address,
    identity: await certificates.identity(SERVER_NAME),
    caPem: certificates.caPem,
    service: testService(),
    log: silent,
  })
  t.same(Buffer.from(await peer.call(echo, hello)), hello)
  t.equal(met, 2, 'each connection was introduced')
  await second.close(0)
  t.ok(listener.address.startsWith('127.0.0.1:'))
})

t.test('IPv6 works as IPv4 does', { skip: noIpv6 }, async (t) => {
  const { peer, listener } = await pair(t, { listen: { address: '[::1]:0' } })
  t.match(listener.address, /^\[::1\]:\d+$/u)
  t.same(Buffer.from(await peer.call(echo, hello)), hello)
})

t.test(
  'one listener serves both families, and names are looked up',
  { skip: noIpv6 },
  async (t) => {
    const { another, listener } = await pair(t, { listen: { address: '[::]:0' } })
    const port = listener.address.slice(listener.address.lastIndexOf(':') + 1)
    for (const host of ['127.0.0.1', '[::1]', 'localhost']) {
      const peer = another({ addresses: [`${host}:${port}`] })
      t.same(Buffer.from(await peer.call(echo, hello)), hello, host)
    }
    const lost = another({ addresses: [`nowhere.invalid:${port}`] })
    await t.rejects(lost.call(echo, hello), { code: 'connectionRefused', message: /nowhere/u })
  },
)

t.test('a handler may close its own connection', async (t) => {
  const service = testService()
  service.handle(method(95), (_request, call) => {
    void call.connection.close()
    return hello
  })
  const { peer, listener } = await pair(t, { listen: { service } })
  const calls = [peer.call(method(95), hello), peer.call(echo, hello), peer.call(stall, hello)]
  const ends = await Promise.allSettled(calls)
  t.equal(ends.at(-1)?.status, 'rejected')
  t.equal(listener.connections.size, 0)
  t.same(Buffer.from(await peer.call(echo, hello)), hello, 'the next call has a new connection')
})

t.test('a name with several addresses is tried in all of them', async (t) => {
  // localhost has an IPv6 address as well on most machines; the server listens on IPv4 only.
  const { another, listener } = await pair(t)
  const peer = another({ addresses: [`localhost:${listener.address.split(':')[1]}`] })
  t.same(Buffer.from(await peer.call(echo, hello)), hello)
})
