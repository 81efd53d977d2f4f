/**
 * How fast the transport is between two processes on loopback, beside the package's own classes.
 *
 * Watch MB per CPU-second of the slower side, which other load on the machine changes little, and
 * the ratio to the package's classes in the same run. Small requests are 200 bytes there and back.
 * DATAGRAM_BYTES=1350 in the environment measures that size only.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { QUICClient } from '@matrixai/quic'
import { Dialer } from '../../schema/quic/dialer.ts'
import type { Peer } from '../../schema/quic/api.ts'
import {
  Certificates,
  download,
  echo,
  mirror,
  pattern,
  PIECE_BYTES,
  SERVER_NAME,
  silent,
  u64,
  upload,
} from '../support/transport.ts'
import { connectPackage } from './transport-package.ts'
import { cpuSeconds, type Order } from './transport-server.ts'

const SMALL = new Uint8Array(200)
const DATAGRAM_BYTES = [1_350, 9_000, 16_383] as const
/** Each bulk measurement moves about this many seconds' worth of bytes. */
const BULK_BYTES: Record<number, number> = { 1350: 150e6, 9000: 600e6, 16383: 800e6 }
/** Some five seconds' worth: shorter transfers end before the package's classes have slowed down. */
const PACKAGE_BULK_BYTES = 20e6
/** Milliseconds for the package's small requests. */
const PACKAGE_SMALL_MS_MAX = 20_000

interface Cost {
  readonly seconds: number
  readonly clientCpu: number
  readonly serverCpu: number
}

class Server {
  readonly #child: ChildProcess

  constructor() {
    this.#child = fork(fileURLToPath(new URL('transport-server.js', import.meta.url)))
  }

  async ask<T>(order: Order): Promise<T> {
    return new Promise((resolve) => {
      this.#child.once('message', (answer) => resolve(answer as T))
      this.#child.send(order)
    })
  }

  async measure(work: () => Promise<void>): Promise<Cost> {
    const serverBefore = await this.ask<number>({ kind: 'cpu' })
    const clientBefore = cpuSeconds()
    const started = performance.now()
    await work()
    const seconds = (performance.now() - started) / 1_000
    const clientCpu = cpuSeconds() - clientBefore
    return {
      seconds,
      clientCpu,
      serverCpu: (await this.ask<number>({ kind: 'cpu' })) - serverBefore,
    }
  }

  stop(): void {
    this.#child.disconnect()
  }
}

export async function run(): Promise<void> {
  const certificates = await Certificates.create()
  const identity = await certificates.identity(SERVER_NAME)
  const { caPem } = certificates
  const server = new Server()
  try {
    for (const datagramBytes of DATAGRAM_BYTES) {
      if (!(process.env['DATAGRAM_BYTES'] ?? String(datagramBytes)).includes(String(datagramBytes)))
        continue
      const address = await server.ask<string>({ kind: 'ours', identity, caPem, datagramBytes })
      const dialer = new Dialer({ log: silent, transport: { datagramBytes } })
      const options = { addresses: [address], serverName: SERVER_NAME, caPem, log: silent }
      await measureOurs(server, dialer.peer(options), datagramBytes)
      await measureBusy(dialer.peer(options), dialer.peer(options), datagramBytes)
      await dialer.close()
      const theirs = await server.ask<string>({ kind: 'package', identity, datagramBytes })
      const client = await connectPackage(theirs, SERVER_NAME, caPem, datagramBytes)
      await measurePackage(server, client, datagramBytes)
      await client.destroy({ force: true })
    }
  } finally {
    server.stop()
  }
}

async function measureOurs(server: Server, peer: Peer, datagramBytes: number): Promise<void> {
  await peer.call(echo, SMALL)
  const bytes = BULK_BYTES[datagramBytes] ?? 100e6
  await uploadBytes(peer, 10e6)
  report(`ours ${datagramBytes} B up`, bytes, await server.measure(() => uploadBytes(peer, bytes)))
  report(
    `ours ${datagramBytes} B down`,
    bytes,
    await server.measure(() => downloadBytes(peer, bytes)),
  )
  await measureSmall(`ours ${datagramBytes} B`, async () => {
    await peer.call(echo, SMALL)
  })
}

async function uploadBytes(peer: Peer, bytes: number): Promise<void> {
  const call = await peer.open(upload, SMALL, { deadlineMs: 120_000 })
  for (let at = 0; at < bytes; at += PIECE_BYTES) {
    const wait = call.write(pattern)
    if (wait !== undefined) await wait
  }
  call.end()
  await call.response
}

async function downloadBytes(peer: Peer, bytes: number): Promise<void> {
  const call = await peer.open(download, u64(bytes), { deadlineMs: 120_000 })
  call.end()
  await call.response
  const into = Buffer.allocUnsafeSlow(PIECE_BYTES)
  for (;;) {
    const got = call.read(into)
    if ((typeof got === 'number' ? got : await got) === 0) return
  }
}

async function measureSmall(title: string, request: () => Promise<void>, scale = 1): Promise<void> {
  const count = Math.ceil(20_000 * scale)
  for (let n = 0; n < count / 20; n++) await request()
  const started = performance.now()
  let left = count
  await Promise.all(
    Array.from({ length: 100 }, async () => {
      while (left-- > 0) await request()
    }),
  )
  const perSecond = count / ((performance.now() - started) / 1_000)
  const medianMs = await medianLatency(request, Math.ceil(2_000 * scale))
  console.log(
    `${title} small requests: ${perSecond.toFixed(0)}/s with 100 at once; one at a time ` +
      `${medianMs.toFixed(3)} ms at the median`,
  )
}

async function medianLatency(
  request: () => Promise<unknown>,
  count: number,
  pauseMs = 0,
): Promise<number> {
  const times: number[] = []
  for (let n = 0; n < count; n++) {
    const before = performance.now()
    await request()
    times.push(performance.now() - before)
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
  return times.sort((a, b) => a - b)[times.length >> 1] ?? 0
}

/** Small requests on the connection that moves bulk both ways, and on another. */
async function measureBusy(peer: Peer, other: Peer, datagramBytes: number): Promise<void> {
  const busy = await peer.open(mirror, SMALL, { deadlineMs: 120_000 })
  const ended = new AbortController()
  let moved = 0
  const sending = (async () => {
    while (!ended.signal.aborted) {
      const wait = busy.write(pattern)
      if (wait !== undefined) await wait
    }
    busy.end()
  })()
  const receiving = (async () => {
    await busy.response
    const into = Buffer.allocUnsafeSlow(PIECE_BYTES)
    for (;;) {
      const got = busy.read(into)
      const bytes = typeof got === 'number' ? got : await got
      if (bytes === 0) return
      moved += bytes
    }
  })()
  const started = performance.now()
  const medians: string[] = []
  for (const one of [peer, other]) {
    const request = async (): Promise<unknown> => one.call(echo, SMALL)
    await request()
    medians.push(`${(await medianLatency(request, 300, 2)).toFixed(2)} ms`)
  }
  const rate = moved / (performance.now() - started) / 1_000
  ended.abort()
  await Promise.all([sending, receiving])
  console.log(
    `ours ${datagramBytes} B, while a connection mirrors ${rate.toFixed(0)} MB/s both ways: a small ` +
      `request on it takes ${medians[0]} at the median, on another ${medians[1]}`,
  )
}

async function measurePackage(
  server: Server,
  client: QUICClient,
  datagramBytes: number,
): Promise<void> {
  const request = async (bytes: number): Promise<void> => {
    const stream = client.connection.newStream()
    const writer = stream.writable.getWriter()
    for (let at = 0; at < bytes; at += PIECE_BYTES) {
      await writer.write(pattern.subarray(0, Math.min(PIECE_BYTES, bytes - at)))
    }
    await writer.close()
    for await (const _piece of stream.readable);
  }
  await request(1e6)
  report(
    `package ${datagramBytes} B up`,
    PACKAGE_BULK_BYTES,
    await server.measure(() => request(PACKAGE_BULK_BYTES)),
  )
  if (datagramBytes !== DATAGRAM_BYTES[0]) return
  // Its classes stall under many requests at once now and then; that must not hold the rest up.
  const small = measureSmall(`package ${datagramBytes} B`, () => request(SMALL.length), 0.02)
  const stalled = new Promise<string>((resolve) => {
    setTimeout(resolve, PACKAGE_SMALL_MS_MAX, 'stalled').unref()
  })
  if ((await Promise.race([small, stalled])) === 'stalled') {
    console.log(`package ${datagramBytes} B small requests: stalled`)
  }
}

function report(title: string, bytes: number, { seconds, clientCpu, serverCpu }: Cost): void {
  const megabytes = bytes / 1e6
  console.log(
    `${title}: ${(megabytes / seconds).toFixed(1)} MB/s; per CPU-second ` +
      `${(megabytes / clientCpu).toFixed(1)} MB client, ${(megabytes / serverCpu).toFixed(1)} MB server`,
  )
}
