/**
 * What the transport gives back, and what it bounds: credit, memory, streams, timers, connections.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createSocket } from 'node:dgram'
import t from 'tap'
import { Dialer } from '../../schema/quic/dialer.ts'
import { quicLimits } from '../../schema/quic/limits.ts'
import {
  Certificates,
  download,
  echo,
  fromU64,
  method,
  MIB,
  pair,
  pattern,
  PIECE_BYTES,
  SERVER_NAME,
  silent,
  testService,
  u64,
  until,
  upload,
} from '../support/transport.ts'

const hello = Buffer.from('hello')
const patient = { timeout: 120_000 }

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** Bytes of memory in use, garbage apart. */
function memory(): number {
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

function timers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
}

t.test('cancelled downloads stop the server and give their credit back', patient, async (t) => {
  let running = 0
  const endless = method(70, { urgency: 'bulk', downloadBytesMax: 2 ** 40 })
  const service = testService()
  service.handle(endless, async (request, call) => {
    running++
    call.respond(request)
    try {
      for (;;) await call.write(pattern)
    } finally {
      running--
    }
  })
  const { peer } = await pair(t, { listen: { service } })
  await peer.call(echo, hello)
  const { connection } = peer
  const into = Buffer.allocUnsafe(PIECE_BYTES)
  for (let n = 0; n < 100; n++) {
    const call = await peer.open(endless, hello)
    call.end()
    await call.response
    for (let got = 0; got < MIB;) got += await call.read(into)
    call.cancel()
    await t.rejects(Promise.resolve(call.read(into)), { code: 'cancelled' })
  }
  t.equal(peer.connection, connection, 'all on one connection')
  t.ok(await until(() => running === 0), 'no handler goes on')
  t.ok(await until(() => connection?.stats().requestsOpen === 0), 'no stream is left here')
  const call = await peer.open(download, u64(100 * MIB))
  call.end()
  await call.response
  let total = 0
  for (let got = await call.read(into); got > 0; got = await call.read(into)) total += got
  t.equal(total, 100 * MIB, 'more than the windows still passes')
})

t.test('cancelled uploads stop their sender and give their credit back', patient, async (t) => {
  let started = 0
  let aborted = 0
  let completed = 0
  const slow = method(71, { urgency: 'bulk', uploadBytesMax: 2 ** 40 })
  const service = testService()
  service.handle(slow, async (_request, call) => {
    started++
    const into = Buffer.allocUnsafe(PIECE_BYTES)
    call.signal.addEventListener('abort', () => aborted++)
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, 1))
      if ((await call.read(into)) > 0) continue
      completed++
      return hello
    }
  })
  const { peer } = await pair(t, { listen: { service } })
  await peer.call(echo, hello)
  const { connection } = peer
  for (let n = 0; n < 30; n++) {
    const call = await peer.open(slow, hello)
    const writing = (async () => {
      for (;;) await call.write(pattern)
    })()
    setTimeout(() => call.cancel(), 10)
    await t.rejects(writing, { code: 'cancelled' })
  }
  await until(() => aborted === started)
  t.equal(aborted, started, 'all handlers were told')
  t.equal(completed, 0, 'none was taken for a complete upload')
  t.ok(await until(() => connection?.stats().requestsOpen === 0))
  const call = await peer.open(upload, hello)
  for (let n = 0; n < 1_600; n++) await call.write(pattern)
  call.end()
  t.equal(fromU64(await call.response), 100 * MIB)
  t.equal(peer.connection, connection, 'all on one connection')
})

t.test('a refused upload ends early and harms nothing', async (t) => {
  const refusing = method(72, { urgency: 'bulk', uploadBytesMax: 10 * MIB })
  const service = testService()
  service.handle(refusing, async (_request, call) => {
    const into = Buffer.allocUnsafe(PIECE_BYTES)
    while ((await call.read(into)) > 0);
    return hello
  })
  const { peer } = await pair(t, { listen: { service } })
  for (let n = 0; n < 5; n++) {
    const call = await peer.open(refusing, hello)
    const writing = (async () => {
      for (;;) await call.write(pattern)
    })()
    await t.rejects(writing, { code: 'frameTooLarge' })
    await t.rejects(call.response, { code: 'frameTooLarge' })
  }
  t.same(Buffer.from(await peer.call(echo, hello)), hello)
  t.ok(await until(() => peer.connection?.stats().requestsOpen === 0))
})

t.test('a slow reader holds its sender at a window, and nobody else', patient, async (t) => {
  let written = 0
  const counted = method(73, { urgency: 'bulk', downloadBytesMax: 2 ** 40 })
  const service = testService()
  service.handle(counted, async (request, call) => {
    call.respond(request)
    for (;;) {
      await call.write(pattern)
      written += PIECE_BYTES
    }
  })
  const { peer } = await pair(t, { listen: { service } })
  await peer.call(echo, hello)
  const before = memory()
  const call = await peer.open(counted, hello)
  call.end()
  await call.response
  let stuckAt = -1
  let waits = false
  const deadline = performance.now() + 20_000
  while (!waits && performance.now() < deadline) {
    await until(() => false, 300)
    waits = written === stuckAt
    stuckAt = written
  }
  t.ok(waits, 'the sender waits')
  t.ok(stuckAt <= 2 * quicLimits.streamWindowBytes, `${stuckAt} bytes`)
  t.ok(memory() - before < 16 * MIB, 'nothing piles up in our heap')
  const started = performance.now()
  for (let n = 0; n < 100; n++) await peer.call(echo, hello)
  t.ok(performance.now() - started < 10_000, 'other requests pass')
  const into = Buffer.allocUnsafe(PIECE_BYTES)
  for (let got = 0; got < quicLimits.streamWindowBytes + MIB;) got += await call.read(into)
  t.ok(written > stuckAt, 'and goes on when it reads')
  call.cancel()
})

t.test('10^5 streams over one connection leave nothing behind', patient, async (t) => {
  const { peer, listener } = await pair(t)
  const run = async (count: number): Promise<void> => {
    let left = count
    await Promise.all(
      Array.from({ length: 200 }, async () => {
        while (left-- > 0) await peer.call(echo, hello)
      }),
    )
  }
  await run(5_000)
  const { connection } = peer
  const before = { memory: memory(), timers: timers() }
  await run(100_000)
  t.equal(peer.connection, connection, 'one connection')
  t.equal(connection?.stats().requestsOpen, 0)
  t.equal([...listener.connections][0]?.stats().requestsOpen, 0)
  t.ok(await until(() => memory() - before.memory < 4 * MIB), 'no memory is held')
  t.ok(timers() <= before.timers, 'no timer more')
})

t.test('1000 connections to one server leave nothing behind', patient, async (t) => {
  const { another, listener, peer } = await pair(t)
  await peer.call(echo, hello)
  const before = { memory: memory(), timers: timers() }
  const peers = Array.from({ length: 1_000 }, () => another())
  for (let at = 0; at < peers.length; at += 50) {
    await Promise.all(
      peers.slice(at, at + 50).map(async (one) => one.call(echo, hello, { deadlineMs: 60_000 })),
    )
  }
  t.equal(listener.connections.size, 1_001)
  await Promise.all(peers.map(async (one) => one.call(echo, hello, { deadlineMs: 60_000 })))
  await Promise.all(peers.map(async (one) => one.close()))
  t.ok(await until(() => listener.connections.size === 1))
  t.equal(listener.stats().connections, 1)
  await until(() => false, 100)
  t.ok(await until(() => memory() - before.memory < 16 * MIB), 'no memory is held')
  t.ok(timers() <= before.timers + 1, 'no timer more')
  t.same(Buffer.from(await peer.call(echo, hello)), hello)
})

t.test('under load newcomers prove their address by a token and get in', patient, async (t) => {
  const { listener, another } = await pair(t)
  const stop = await floodHandshakes(listener.address, quicLimits.handshakesBeforeRetry + 20)
  const peer = another()
  t.same(Buffer.from(await peer.call(echo, hello)), hello)
  const { retriesSent, handshakes } = listener.stats()
  t.ok(retriesSent > 0, `${retriesSent} retries`)
  t.ok(handshakes <= quicLimits.handshakesBeforeRetry, `${handshakes} handshakes are kept waiting`)
  stop()
})

/** First datagrams of clients that then say nothing more; returns how to stop. */
async function floodHandshakes(address: string, count: number): Promise<() => void> {
  const [host, port] = address.split(':')
  const { caPem } = await Certificates.create()
  const first: Buffer[] = []
  const sniffer = createSocket('udp4')
  sniffer.on('message', (datagram) => first.push(Buffer.from(datagram)))
  await new Promise<void>((resolve) => {
    sniffer.bind(0, '127.0.0.1', resolve)
  })
  const dialer = new Dialer({ log: silent })
  const addresses = [`127.0.0.1:${sniffer.address().port}`]
  for (let n = 0; n < count; n++) {
    const peer = dialer.peer({ addresses, serverName: SERVER_NAME, caPem, log: silent })
    peer.call(echo, hello).catch(() => undefined)
  }
  await until(() => first.length >= count)
  await dialer.close()
  sniffer.close()
  const flooder = createSocket('udp4')
  for (const datagram of first) flooder.send(datagram, Number(port), host)
  await until(() => false, 100)
  return () => flooder.close()
}
