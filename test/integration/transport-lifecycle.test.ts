/**
 * How connections begin, go on and end: renewal, back-off, keep-alive, drain, settings.
 */
import { createSocket } from 'node:dgram'
import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { Dialer } from '../../schema/quic/dialer.ts'
import { quicLimits } from '../../schema/quic/limits.ts'
import { listen } from '../../schema/quic/listener.ts'
import type { Connection } from '../../schema/rpc/api.ts'
import {
  Certificates,
  download,
  echo,
  method,
  MIB,
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
import { UdpProxy } from '../support/udp-proxy.ts'

const hello = Buffer.from('hello')
/** Less than a server waits until it asks. */
const HEARD_MS = 900
const patient = { timeout: 120_000 }

t.test('a connection worn by broken-off streams gives way to a fresh one', patient, async (t) => {
  let introduced = 0
  const { peer, listener } = await pair(t, {
    peer: {
      onConnected: async () => {
        introduced++
      },
    },
  })
  await peer.call(echo, hello)
  const first = peer.connection
  const under = await peer.open(download, u64(64 * MIB))
  under.end()
  await under.response
  const enough = quicLimits.lostCreditBytesMax / 262_144
  for (let n = 0; n < enough; n++) {
    const call = await peer.open(stall, hello)
    call.cancel()
  }
  t.same(Buffer.from(await peer.call(echo, hello)), hello)
  t.not(peer.connection, first, 'new requests have a new connection')
  t.equal(introduced, 2)
  const into = Buffer.allocUnsafe(PIECE_BYTES)
  let total = 0
  for (let got = await under.read(into); got > 0; got = await under.read(into)) total += got
  t.equal(total, 64 * MIB, 'what was under way is finished on the old one')
  await first?.closed
  t.ok(await until(() => listener.connections.size === 1), 'which is closed then')
})

t.test('an idle connection is kept, a lost one says what may be repeated', patient, async (t) => {
  const { certificates, listener } = await pair(t, { listen: { transport: { idleMs: 800 } } })
  const dialer = new Dialer({ log: silent, transport: { idleMs: 800 } })
  t.teardown(async () => dialer.close())
  const peer = dialer.peer({
    addresses: [listener.address],
    serverName: SERVER_NAME,
    caPem: certificates.caPem,
    log: silent,
  })
  await peer.call(echo, hello)
  const { connection } = peer
  await until(() => false, 2_000)
  await peer.call(echo, hello)
  t.equal(peer.connection, connection, 'longer than the idle limit')
  const harmless = peer.call(stall, hello)
  const logged = peer.call(method(stall.id, { replay: 'logged' }), hello)
  await until(() => false, 50)
  await listener.close(0)
  await t.rejects(harmless, { code: 'shuttingDown', message: /may be repeated/u })
  await t.rejects(logged, { code: 'shuttingDown', message: /same operation id/u })
})

t.test(
  'a dead server is tried at growing intervals, whoever asks how often',
  patient,
  async (t) => {
    const { another } = await pair(t)
    // A port that was free a moment ago: the kernel refuses at once, so only the pauses take time.
    const sink = createSocket('udp4')
    await new Promise<void>((resolve) => {
      sink.bind(0, '127.0.0.1', resolve)
    })
    const address = `127.0.0.1:${sink.address().port}`
    sink.close()
    const peer = another({ addresses: [address] })
    const counting = performance.now()
    let rounds = 0
    for (; performance.now() - counting < 3_000; rounds++) {
      const calls = Array.from({ length: 20 }, async () =>
        peer.call(echo, hello, { deadlineMs: 9_000 }),
      )
      for (const { status } of await Promise.allSettled(calls)) t.equal(status, 'rejected')
    }
    // 100, 200, 400, 800, 1600 ms and so on, each less a random part of at most half.
    t.ok(rounds >= 3 && rounds <= 8, `${rounds} attempts in three seconds`)
  },
)

t.test('closing a listener answers what is under way and refuses what is new', async (t) => {
  const { peer, listener } = await pair(t, {
    listen: {
      service: (() => {
        const service = testService()
        service.handle(method(80), async () => {
          await new Promise((resolve) => setTimeout(resolve, 200))
          return hello
        })
        return service
      })(),
    },
  })
  await peer.call(echo, hello)
  const slow = peer.call(method(80), hello)
  await until(() => false, 50)
  const closing = listener.close(2_000)
  await t.rejects(peer.call(echo, hello), { code: 'shuttingDown' })
  t.same(Buffer.from(await slow), hello)
  await closing
  t.equal(listener.connections.size, 0)
})

t.test('a server hears that a client has closed, though it got lost at first', async (t) => {
  const { listener, another } = await pair(t)
  const proxy = await UdpProxy.start(t, listener.address)
  const peer = another({ addresses: [proxy.address] })
  const call = await peer.open(stall, hello)
  t.ok(await until(() => [...listener.connections].some((each) => each.stats().requestsOpen > 0)))
  // What else they had to say is said.
  await pause(200)
  proxy.toDrop = 2
  await peer.close()
  await t.rejects(call.response, { code: 'connectionLost' })
  t.ok(await until(() => listener.connections.size === 0, HEARD_MS), 'long before it is missed')
  t.equal(proxy.toDrop, 0)
})

t.test('a drain ends at its limit', async (t) => {
  const { peer, listener } = await pair(t)
  await peer.call(echo, hello)
  const stuck = peer.call(stall, hello)
  stuck.catch(() => undefined)
  await until(() => false, 50)
  const started = performance.now()
  await listener.close(200)
  t.ok(performance.now() - started < 4_000)
  await t.rejects(stuck, { code: 'shuttingDown' })
})

t.test('certificates are renewed while connections go on', async (t) => {
  const seen: (string | undefined)[] = []
  const { certificates, listener, another } = await pair(t, {
    listen: { onConnection: (connection) => seen.push(connection.peer.name) },
  })
  let own = await certificates.identity('chunkserver-1.dfs')
  const first = another({ identity: () => own })
  await first.call(echo, hello)
  listener.setIdentity(await certificates.identity('renewed.dfs'))
  t.same(Buffer.from(await first.call(echo, hello)), hello, 'the old connection goes on')
  const second = another({ serverName: 'renewed.dfs' })
  t.same(Buffer.from(await second.call(echo, hello)), hello)
  await t.rejects(another().call(echo, hello), { code: 'serverUntrusted' })
  own = await certificates.identity('chunkserver-2.dfs')
  await another({ serverName: 'renewed.dfs', identity: () => own }).call(echo, hello)
  t.same(seen, ['chunkserver-1.dfs', undefined, 'chunkserver-2.dfs'])
  t.throws(() => listener.setIdentity({ certificatePem: 'x', privateKeyPem: 'y' }), {
    code: 'invalidArgument',
  })
})

t.test(
  'statistics tell bytes, packets and round trips; keys are logged when asked for',
  async (t) => {
    const directory = t.testdir({})
    const certificates = await Certificates.create()
    let accepted: Connection | undefined
    const listener = await listen({
      address: '127.0.0.1:0',
      identity: await certificates.identity(SERVER_NAME),
      caPem: certificates.caPem,
      service: testService(),
      log: silent,
      onConnection: (connection) => (accepted = connection),
    })
    const dialer = new Dialer({ log: silent, transport: { keylogDirectory: directory } })
    const peer = dialer.peer({
      addresses: [listener.address],
      serverName: SERVER_NAME,
      caPem: certificates.caPem,
      log: silent,
    })
    const call = await peer.open(upload, hello)
    for (let n = 0; n < 16; n++) await call.write(pattern)
    call.end()
    await call.response
    const ours = peer.connection?.stats()
    const theirs = accepted?.stats()
    if (ours === undefined || theirs === undefined) throw new Error('no connection')
    t.ok(ours.bytesSent > MIB && theirs.bytesReceived > MIB)
    t.ok(ours.packetsSent > 60 && ours.cwndBytes > 10_000)
    t.equal(ours.datagramBytes, quicLimits.datagramBytesMax, 'loopback carries the largest')
    const [file] = await readdir(directory)
    t.match(await readFile(`${directory}/${file}`, 'utf8'), /CLIENT_TRAFFIC_SECRET_0/u)
    await dialer.close()
    await listener.close(0)
  },
)

t.test('a setting fixes the size of datagrams, within its range', async (t) => {
  const { peer } = await pair(t, { listen: { transport: { datagramBytes: 1_350 } } })
  await peer.call(echo, hello)
  t.equal(peer.connection?.stats().datagramBytes, 1_350, 'the other side respects it')
  t.throws(() => new Dialer({ log: silent, transport: { datagramBytes: 100 } }), {
    code: 'invalidArgument',
  })
})
