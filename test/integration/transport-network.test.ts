/**
 * The transport between processes in network namespaces, over a bad network.
 */
import t, { type Test } from 'tap'
import { Network, networkMissing, type Worker } from '../support/network.ts'
import { Certificates, MIB, SERVER_NAME } from '../support/transport.ts'
import type { TransportSettings } from '../../schema/quic/api.ts'
import { quicLimits } from '../../schema/quic/limits.ts'
import type { ConnectionStats, TlsIdentity } from '../../schema/rpc/api.ts'

const SERVER = '10.77.0.2'
const skip = networkMissing() ?? false

interface Ends {
  readonly client: Worker
  readonly server: Worker
  readonly identity: TlsIdentity
  readonly caPem: string
  readonly address: string
}

/** A server in b and a client in a that has spoken with it once. */
async function start(t: Test, network: Network, transport: TransportSettings = {}): Promise<Ends> {
  const certificates = await Certificates.create()
  const identity = await certificates.identity(SERVER_NAME)
  const { caPem } = certificates
  const server = network.worker(t, 'b')
  const client = network.worker(t, 'a')
  const address = await server.ask<string>('listen', { host: SERVER, identity, caPem, transport })
  await client.ask('connect', { addresses: [address], caPem, transport })
  await client.ask('call')
  return { client, server, identity, caPem, address }
}

const MB = 1_000_000
const slow = { skip, timeout: 90_000 }

t.test('1 % loss and 20 ms: at least the throughput of node:tls', slow, async (t) => {
  const network = await Network.up(t, ['a', 'b'])
  network.set('a-b:delay=10,loss=0.01')
  const { client, server, identity, caPem } = await start(t, network)
  const port = await server.ask<number>('serveTls', { host: SERVER, identity })
  const uploadTls = async (): Promise<number> => {
    await client.ask('connectTls', { host: SERVER, port, caPem })
    return client.ask<number>('uploadTls', { bytes: 2 * MB })
  }
  const measured: Record<string, number> = {}
  // Reno as every system has it, and whatever this machine prefers.
  measured['tls'] = await uploadTls()
  network.run('a', ['sh', '-c', 'echo reno > /proc/sys/net/ipv4/tcp_congestion_control'])
  measured['tls reno'] = await uploadTls()
  const up = await client.ask<number>('upload', { bytes: 2 * MB })
  const down = await client.ask<number>('download', { bytes: 2 * MB })
  t.comment('MB/s', { up, down, ...measured })
  t.ok(up >= measured['tls reno'], 'up')
  t.ok(down >= measured['tls reno'], 'down')
})

t.test('a stream as long as a chunk is not slowed down on its way', slow, async (t) => {
  const network = await Network.up(t, ['a', 'b'])
  network.set('a-b:delay=20,rate=16000000')
  const { client } = await start(t, network)
  const rate = await client.ask<number>('upload', { bytes: 64 * MIB })
  // At 16 MB/s these are 4 s. A window that starts anew on the way costs half a second and more.
  t.comment('MB/s', rate)
  t.ok(rate > 8, `${rate.toFixed(1)} MB/s`)
})

const conditions = [
  ['5 % loss', 'a-b:delay=5,loss=0.05'],
  ['reordering', 'a-b:delay=10,jitter=8'],
  ['duplicates', 'a-b:delay=5,dup=0.2'],
  ['damaged packets', 'a-b:delay=5,corrupt=0.02,swap=0.02'],
  ['50 ms and all of it', 'a-b:delay=50,jitter=10,loss=0.02,dup=0.02,corrupt=0.01'],
] as const

for (const [what, rule] of conditions) {
  t.test(`every byte arrives, once and in order, under ${what}`, slow, async (t) => {
    const network = await Network.up(t, ['a', 'b'])
    network.set(rule)
    const { client } = await start(t, network)
    await client.ask('upload', { bytes: MB })
    await client.ask('download', { bytes: MB })
    await Promise.all(Array.from({ length: 20 }, async () => client.ask('call')))
    t.pass('complete')
  })
}

t.test(
  'what a long path loses is made good on the way, over the same connection',
  slow,
  async (t) => {
    const network = await Network.up(t, ['a', 'b'])
    network.set('a-b:delay=10')
    const { client, server } = await start(t, network)
    const repaired = async (worker: Worker): Promise<number> =>
      (await worker.ask<Stats>('stats')).datagramsRepaired
    await client.ask('writeFile', { bytes: 2 * MB })
    await client.ask('readFile', { bytes: 2 * MB })
    t.same([await repaired(client), await repaired(server)], [0, 0], 'nothing was lost')
    network.set('a-b:loss=0.02')
    await client.ask('writeFile', { bytes: 8 * MB })
    t.ok((await repaired(server)) > 0, 'what was sent')
    await client.ask('readFile', { bytes: 8 * MB })
    t.ok((await repaired(client)) > 0, 'what was received')
    t.equal((await server.ask<string[]>('peerAddresses')).length, 1, 'over the same connection')
  },
)

t.test('no end of a payload is lost with the packet that carried it', slow, async (t) => {
  const network = await Network.up(t, ['a', 'b'])
  network.set('a-b:delay=5,loss=0.08')
  const { client } = await start(t, network)
  const slowest = await client.ask<number>('trickle', { count: 400, bytes: 3_000 })
  t.ok(slowest < 8_000, `the slowest of 400 took ${slowest.toFixed(0)} ms`)
})

t.test('black-outs of 200 ms delay a transfer and break nothing', slow, async (t) => {
  const network = await Network.up(t, ['a', 'b'])
  network.set('a-b:delay=5,rate=4000000')
  const { client } = await start(t, network)
  const transfer = client.ask<number>('download', { bytes: 8 * MB })
  for (let n = 0; n < 3; n++) {
    await pause(300)
    network.set('a-b:down=1')
    await pause(200)
    network.set('a-b:down=0')
  }
  t.ok((await transfer) > 0.5, 'MB/s')
})

t.test('a NAT that gives the client another port does not end its connection', slow, async (t) => {
  const network = await Network.up(t, ['a', 'b'])
  network.set('a>b:shift=100')
  const { client, server } = await start(t, network)
  const [before] = await server.ask<string[]>('peerAddresses')
  network.set('a-b:delay=5,rate=4000000')
  const transfer = client.ask<number>('upload', { bytes: 6 * MB })
  await pause(400)
  network.set('a>b:shift=200')
  await transfer
  await client.ask('call')
  const after = await server.ask<string[]>('peerAddresses')
  t.equal(after.length, 1, 'the same connection')
  t.not(after[0], before, 'at its new address')
  t.ok(portOf(after[0]) - portOf(before) === 100)
})

t.test(
  'a server killed with -9 is noticed at once, and found again when it is back',
  slow,
  async (t) => {
    const network = await Network.up(t, ['a', 'b'])
    const { client, server, identity, caPem, address } = await start(t, network)
    const transfer = client.ask('download', { bytes: 2_000 * MB }).catch((error: unknown) => error)
    await pause(300)
    const killed = performance.now()
    server.kill('SIGKILL')
    t.match(await transfer, { code: 'connectionLost' })
    t.ok(performance.now() - killed < 2_000, 'within two seconds')
    await t.rejects(client.ask('call', { deadlineMs: 500 }), { code: 'connectionRefused' })
    const second = network.worker(t, 'b')
    const port = portOf(address)
    await second.ask('listen', { host: SERVER, identity, caPem, port })
    await pause(500)
    t.ok((await client.ask<number>('call')) < 5_000)
  },
)

t.test('a server that was restarted tells clients of its former self so', slow, async (t) => {
  const network = await Network.up(t, ['a', 'b'])
  const { client, server, identity, caPem, address } = await start(t, network)
  // The client hears nothing of the end.
  network.set('a-b:down=1')
  server.kill('SIGKILL')
  const second = network.worker(t, 'b')
  await second.ask('listen', { host: SERVER, identity, caPem, port: portOf(address) })
  network.set('a-b:down=0')
  const started = performance.now()
  await t.rejects(client.ask('call', { deadlineMs: 10_000 }), { code: 'connectionLost' })
  t.ok(performance.now() - started < 3_000, 'long before the deadline')
  await client.ask('call')
})

for (const kind of ['upload', 'download'] as const) {
  t.test(`an end that is cut off during ${kind} is given up by the other`, slow, async (t) => {
    const network = await Network.up(t, ['a', 'b'])
    network.set('a-b:delay=2,rate=4000000')
    const { client, server } = await start(t, network)
    const transfer = client.ask(kind, { bytes: 2_000 * MB }).catch((error: unknown) => error)
    await pause(500)
    network.set('a-b:down=1')
    const started = performance.now()
    t.match(await transfer, { code: 'connectionLost', message: /silent.*may be repeated/u })
    const tookMs = performance.now() - started
    t.ok(tookMs > 1_500 && tookMs < 9_000, `${tookMs.toFixed(0)} ms`)
    let left = 1
    for (let n = 0; n < 30 && left > 0; n++) {
      await pause(100)
      left = (await server.ask<string[]>('peerAddresses')).length
    }
    t.equal(left, 0, 'the server waits no longer than its client')
    network.set('a-b:down=0')
    t.ok((await client.ask<number>('call')) < 8_000, 'and they find each other again')
  })
}

t.test(
  'a receiver that is killed amid an upload is noticed without the idle limit',
  slow,
  async (t) => {
    const network = await Network.up(t, ['a', 'b'])
    const { client, server } = await start(t, network)
    const transfer = client.ask('upload', { bytes: 2_000 * MB }).catch((error: unknown) => error)
    await pause(300)
    const killed = performance.now()
    server.kill('SIGKILL')
    t.match(await transfer, { code: 'connectionLost' })
    const tookMs = performance.now() - killed
    t.ok(tookMs < quicLimits.idleMs / 2, `${tookMs.toFixed(0)} ms`)
  },
)

t.test(
  'a frozen server costs its callers their deadline, and is used again when it thaws',
  slow,
  async (t) => {
    const network = await Network.up(t, ['a', 'b'])
    const { client, server } = await start(t, network)
    server.kill('SIGSTOP')
    const started = performance.now()
    await t.rejects(client.ask('call', { deadlineMs: 500 }), { code: 'deadlineExceeded' })
    t.ok(performance.now() - started < 4_000, 'in time')
    await pause(1_000)
    server.kill('SIGCONT')
    t.ok((await client.ask<number>('call')) < 5_000)
    t.equal((await server.ask<string[]>('peerAddresses')).length, 1, 'over the same connection')
  },
)

t.test('a server that stays silent is given up after the idle limit', slow, async (t) => {
  const network = await Network.up(t, ['a', 'b'])
  const { client, server } = await start(t, network, { idleMs: 1_500 })
  server.kill('SIGSTOP')
  const error = await client.ask('call', { deadlineMs: 20_000 }).catch((e: unknown) => e)
  t.match(error, { code: 'connectionLost', message: /silent/u })
})

t.test('datagrams are as large as the path carries, found out by asking', slow, async (t) => {
  const network = await Network.up(t, ['a', 'b'], 9_000)
  network.set('a-b:delay=2')
  const { client, server } = await start(t, network)
  await client.ask('upload', { bytes: MB })
  await client.ask('download', { bytes: MB })
  t.ok(await settles(client, 8_972), 'client')
  t.ok(await settles(server, 8_972), 'server')
})

t.test('a hop of 1500 bytes between jumbo ends is found and respected', slow, async (t) => {
  const network = await Network.up(t, ['a', 'b'], 9_000)
  network.set('a-b:delay=2,mtu=1500')
  const { client, server } = await start(t, network)
  await client.ask('upload', { bytes: 2 * MB })
  await client.ask('download', { bytes: 2 * MB })
  t.ok(await settles(client, 1_472), 'client')
  t.ok(await settles(server, 1_472), 'server')
})

t.test(
  'a path that shrinks under a connection is noticed and the transfer goes on',
  slow,
  async (t) => {
    const network = await Network.up(t, ['a', 'b'], 9_000)
    network.set('a-b:delay=2,rate=6000000')
    const { client, server } = await start(t, network)
    const transfer = client.ask<number>('download', { bytes: 12 * MB })
    await pause(600)
    t.ok(await settles(server, 8_972), 'server')
    network.set('a-b:mtu=1500')
    t.ok((await transfer) > 0.5, 'MB/s')
    t.ok(await settles(server, 1_472), 'server')
  },
)

t.test('a partition ends in an error at the deadline, and heals', slow, async (t) => {
  const network = await Network.up(t, ['a', 'b'])
  const { client } = await start(t, network)
  network.set('a-b:down=1')
  await t.rejects(client.ask('call', { deadlineMs: 400 }), { code: 'deadlineExceeded' })
  network.set('a-b:down=0')
  t.ok((await client.ask<number>('call')) < 10_000)
})

type Stats = ConnectionStats

/** Whether the worker's datagrams get that size soon. */
async function settles(worker: Worker, datagramBytes: number): Promise<boolean> {
  for (let n = 0; n < 50; n++) {
    if ((await worker.ask<Stats>('stats')).datagramBytes === datagramBytes) return true
    await pause(100)
  }
  return false
}

function portOf(address: string | undefined): number {
  return Number(address?.split(':')[1])
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms))
}
