/**
 * Peers that mean harm: what they send gets a typed error or silence, is counted, and costs nobody
 * else anything. Repeat a failure with SEED=<printed seed>.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import quiche from '@matrixai/quic/native/quiche.js'
import t from 'tap'
import { createConfig } from '../../schema/quic/config.ts'
import { Settings } from '../../schema/quic/settings.ts'
import type { QuicConnection } from '../../schema/quic/connection.ts'
import type { Peer } from '../../schema/quic/api.ts'
import { encodeFrame, FRAME_HEADER_BYTES, parseFrameHeader } from '../../schema/rpc/frame.ts'
import { MethodTable } from '../../schema/rpc/method-table.ts'
import { NOTHING, STOPPED, type StreamPort } from '../../schema/rpc/stream-port.ts'
import { STATUS } from '../../schema/wire/status.ts'
import { Worker } from '../support/network.ts'
import {
  echo,
  method,
  MIB,
  pair,
  SERVER_NAME,
  testService,
  until,
  upload,
} from '../support/transport.ts'
import { seeded } from '../support/seeded.ts'
import { boundSocket, UdpProxy } from '../support/udp-proxy.ts'

const patient = { timeout: 180_000 }
const hello = Buffer.from('hello')
const FRAMES = process.env['DFS_TEST_LONG'] === '1' ? 1_000_000 : 100_000
const DATAGRAMS = process.env['DFS_TEST_LONG'] === '1' ? 100_000 : 10_000
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

function memory(): number {
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** The streams of a peer's connection, without the request layer's manners. */
async function rawStreams(peer: Peer): Promise<StreamPort> {
  await peer.call(echo, hello)
  const connection = peer.connection as QuicConnection | undefined
  if (connection === undefined) throw new Error('no connection')
  return connection.session.port
}

function mutatedFrame(random: (below: number) => number): Buffer {
  const id = random(4) === 0 ? upload.id : echo.id
  const payload = Buffer.alloc(random(300), random(256))
  let frame = Buffer.concat([encodeFrame(id, 5_000, payload), Buffer.alloc(random(2) * random(50))])
  switch (random(5)) {
    case 0:
      frame = frame.subarray(0, random(frame.length + 1))
      break
    case 1:
      frame = Buffer.from(Array.from({ length: random(64) }, () => random(256)))
      break
    case 2:
      frame.writeUInt32LE(random(2 ** 32), 0)
      break
    default:
      for (let n = random(4); n >= 0; n--) {
        const at = random(Math.min(frame.length, 16))
        frame.writeUInt8(random(256), at)
      }
  }
  return frame
}

/** Sends frames on streams of their own, and returns the statuses that came back. */
async function exchange(port: StreamPort, frames: readonly Buffer[]): Promise<Map<number, number>> {
  const open = new Map<number, Buffer[]>()
  for (const frame of frames) {
    const id = port.open()
    if (id === NOTHING) throw new Error('no stream left')
    port.send(id, frame, true)
    open.set(id, [])
  }
  port.wake()
  const statuses = new Map<number, number>()
  const into = Buffer.alloc(2_000)
  const done = await until(() => {
    for (const [id, got] of open) {
      const bytes = port.recv(id, into)
      if (bytes > 0) got.push(Buffer.from(into.subarray(0, bytes)))
      if (bytes === NOTHING || (bytes !== STOPPED && !port.ended)) continue
      open.delete(id)
      const answer = Buffer.concat(got)
      if (answer.length < FRAME_HEADER_BYTES) throw new Error(`answer of ${answer.length} bytes`)
      const { code } = parseFrameHeader(answer)
      statuses.set(code, (statuses.get(code) ?? 0) + 1)
    }
    port.wake()
    return open.size === 0
  }, 20_000)
  if (!done) throw new Error(`${open.size} streams without an answer`)
  return statuses
}

t.test(
  `${FRAMES} mutated frames get typed errors, and the next request an answer`,
  patient,
  async (t) => {
    t.comment(`SEED=${seed}`)
    const random = seeded(seed)
    const service = new MethodTable()
    service.handle(echo, (request) => request)
    service.handle(upload, async (_request, call) => {
      const into = Buffer.allocUnsafe(1_000)
      while ((await call.read(into)) > 0);
      return hello
    })
    const { peer, another, listener } = await pair(t, { listen: { service } })
    const port = await rawStreams(peer)
    const known = new Set<number>([0, ...Object.values(STATUS).map(({ wire }) => wire)])
    const totals = new Map<number, number>()
    const batch = 250
    let before = 0
    for (let sent = 0; sent < FRAMES; sent += batch) {
      const frames = Array.from({ length: batch }, () => mutatedFrame(random))
      for (const [status, count] of await exchange(port, frames)) {
        if (!known.has(status)) t.fail(`status ${status} is not in the table`)
        totals.set(status, (totals.get(status) ?? 0) + count)
      }
      if (sent === 10 * batch) before = memory()
    }
    t.ok(await until(() => memory() - before < 4 * MIB), 'memory is flat')
    const { requestErrors } = listener.stats()
    for (const code of ['frameMalformed', 'frameTooLarge', 'methodUnknown'] as const) {
      t.ok((totals.get(STATUS[code].wire) ?? 0) > 100, `${code} was answered`)
      t.equal(requestErrors[code], totals.get(STATUS[code].wire), `${code} was counted`)
    }
    t.same(Buffer.from(await peer.call(echo, hello)), hello, 'on the same connection')
    t.same(Buffer.from(await another().call(echo, hello)), hello, 'and on another')
  },
)

t.test(`${DATAGRAMS} mutated and replayed datagrams harm no connection`, patient, async (t) => {
  t.comment(`SEED=${seed}`)
  const random = seeded(seed)
  const { listener, another, peer } = await pair(t)
  const proxy = await UdpProxy.start(t, listener.address)
  const victim = another({ addresses: [proxy.address] })
  for (let n = 0; n < 50; n++) await victim.call(echo, Buffer.alloc(random(3_000)))
  const { connection } = victim
  let before = 0
  for (let sent = 0; sent < DATAGRAMS; sent++) {
    const original = proxy.kept[random(proxy.kept.length)] ?? hello
    const datagram = Buffer.from(
      original.subarray(0, random(8) === 0 ? random(original.length) : undefined),
    )
    // One in eight is a faithful replay.
    const flips = random(8) === 0 ? 0 : 1 + random(6)
    for (let n = 0; n < flips && datagram.length > 0; n++) {
      const at = random(random(2) === 0 ? Math.min(datagram.length, 40) : datagram.length)
      datagram.writeUInt8(random(256), at)
    }
    proxy.send(datagram)
    if (sent % 100 === 0) await until(() => false, 1)
    if (sent === 1_000) before = memory()
  }
  t.same(Buffer.from(await victim.call(echo, hello)), hello, 'the connection aimed at goes on')
  t.equal(victim.connection, connection)
  t.same(Buffer.from(await peer.call(echo, hello)), hello)
  const { handshakes, ignoredDatagrams, unknownAnswers } = listener.stats()
  t.comment({ handshakes, ignoredDatagrams, unknownAnswers })
  t.ok(ignoredDatagrams + unknownAnswers > 100, 'strangers were counted')
  t.ok(await until(() => memory() - before < 8 * MIB), 'memory is flat')
})

t.test('a flood of garbage leaves others their answers', patient, async (t) => {
  const { listener, peer } = await pair(t)
  await peer.call(echo, hello)
  const port = Number(listener.address.split(':')[1])
  const flooder = new Worker(t)
  const flood = flooder.ask('flood', { port, perMs: 20, ms: 2_000 })
  await until(() => listener.stats().ignoredDatagrams > 100)
  const times: number[] = []
  for (let n = 0; n < 200; n++) {
    const started = performance.now()
    await peer.call(echo, hello)
    times.push(performance.now() - started)
  }
  await flood
  const median = times.sort((a, b) => a - b)[100] ?? Infinity
  t.ok(median < 50, `median ${median.toFixed(1)} ms while flooded`)
  t.ok(listener.stats().ignoredDatagrams > 5_000)
})

t.test(
  'streams that say nothing are cut off, and others are served meanwhile',
  patient,
  async (t) => {
    const { listener, peer, another } = await pair(t)
    const port = await rawStreams(peer)
    for (let n = 0; n < 1_000; n++) port.send(port.open(), Buffer.from([1]), false)
    port.wake()
    const other = another()
    for (let n = 0; n < 100; n++) await other.call(echo, hello)
    const cut = await until(
      () => (listener.stats().requestErrors['deadlineExceeded'] ?? 0) >= 1_000,
      20_000,
    )
    t.ok(cut, 'all of them')
    t.same(Buffer.from(await other.call(echo, hello)), hello)
  },
)

t.test('a client cannot open more streams than it is allowed', async (t) => {
  const { peer, listener } = await pair(t)
  const port = await rawStreams(peer)
  let opened = 0
  for (let id = port.open(); id !== NOTHING; id = port.open()) {
    port.send(id, Buffer.from([1]), false)
    opened++
  }
  port.wake()
  t.ok(opened <= 1_024, `${opened} streams`)
  t.ok(await until(() => ([...listener.connections][0]?.stats().requestsOpen ?? 0) >= opened - 1))
})

t.test('a client that has a connection id of its own is not answered', async (t) => {
  const { listener, certificates } = await pair(t)
  const socket = await boundSocket(t)
  const port = Number(listener.address.split(':')[1])
  const config = createConfig({
    role: 'client',
    identity: undefined,
    caPem: certificates.caPem,
    datagramBytesMax: 1_350,
    windowBytes: MIB,
    settings: new Settings(),
  })
  const [local, remote] = [socket.address().port, port].map((at) => ({
    host: '127.0.0.1',
    port: at,
  }))
  if (local === undefined || remote === undefined) throw new Error('no address')
  let answers = 0
  socket.on('message', () => answers++)
  for (const id of [Buffer.alloc(8, 1), Buffer.alloc(0)]) {
    const client = quiche.Connection.connect(SERVER_NAME, id, local, remote, config)
    const first = Buffer.alloc(1_350)
    const out = client.send(first)
    socket.send(first.subarray(0, out?.[0]), port, '127.0.0.1')
    if (id.length > 0) {
      t.ok(await until(() => listener.stats().ignoredDatagrams === 1))
      t.equal(answers, 0)
    }
  }
  t.ok(await until(() => answers > 0), 'as ours are, which have none')
})

t.test('more payload than a method takes is refused at once', async (t) => {
  const service = testService()
  const small = method(90, { uploadBytesMax: 1_000, urgency: 'bulk' })
  service.handle(small, async (_request, call) => {
    const into = Buffer.allocUnsafe(4_096)
    while ((await call.read(into)) > 0);
    return hello
  })
  const { peer } = await pair(t, { listen: { service } })
  const call = await peer.open(small, hello)
  await call.write(Buffer.alloc(1_000))
  // The last byte of a write travels with the next.
  await call.write(Buffer.alloc(2))
  await t.rejects(call.response, { code: 'frameTooLarge' })
})

t.test('an answer that breaks its limits is an error of the caller alone', async (t) => {
  const service = testService()
  const liar = method(91, { responseBytesMax: 60_000 })
  service.handle(liar, () => Buffer.alloc(60_000))
  const { peer } = await pair(t, { listen: { service } })
  await t.rejects(peer.call(method(91, { responseBytesMax: 10 }), hello), { code: 'frameTooLarge' })
  t.same(Buffer.from(await peer.call(echo, hello)), hello)
})

t.test('another version of QUIC is answered with the versions we speak', async (t) => {
  const { listener } = await pair(t)
  const socket = await boundSocket(t)
  const datagram = Buffer.alloc(1_200)
  // A long header of version 0x1a2a3a4a with ids of eight bytes.
  datagram.set([0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 7, 6, 5, 4, 3, 2, 1])
  const answered = new Promise<Buffer>((resolve) => socket.once('message', resolve))
  socket.send(datagram, Number(listener.address.split(':')[1]), '127.0.0.1')
  const answer = await answered
  t.equal(answer.readUInt32BE(1), 0, 'version negotiation')
  t.ok(answer.length < datagram.length, 'no amplification')
  t.equal(listener.stats().versionsNegotiated, 1)
})
