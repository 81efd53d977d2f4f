/**
 * The socket under the transport, against the kernel's own and Node's: runs arrive as the datagrams they
 * are made of, from whom they came, also between sockets that know nothing of runs.
 */
import { networkInterfaces } from 'node:os'
import t from 'tap'
import type { HostPort } from '../../../../schema/quic/address.ts'
import { decodeAddress, encodeAddress } from '../../../../schema/quic/socket-address.ts'
import { errno } from '../../../../schema/system/native.ts'
import { UdpSocket } from '../../../../schema/quic/udp-socket.ts'
import { boundSocket } from '../../../support/udp-proxy.ts'

const own = Object.values(networkInterfaces()).flat()
const noIpv6 = own.some((at) => at?.address === '::1') ? false : 'this machine has no ::1'

interface Scope {
  teardown: (work: () => unknown) => void
}

/** A started socket, and what it hears. */
class Ear {
  readonly heard: { text: string; from: HostPort }[] = []
  readonly errors: Error[] = []
  readonly socket: UdpSocket

  constructor(t: Scope, socket: UdpSocket) {
    this.socket = socket
    t.teardown(() => socket.close())
    socket.start({
      received: (datagram, from) => this.heard.push({ text: datagram.toString('latin1'), from }),
      failed: (error) => this.errors.push(error),
      writable: () => undefined,
    })
  }

  async hear(count: number): Promise<string[]> {
    while (this.heard.length < count) await turn()
    return this.heard.map(({ text }) => text)
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** 50 datagrams of 1200 bytes and one of 7, one behind the other. */
const run = Buffer.concat([
  ...Array.from({ length: 50 }, (_, n) => Buffer.alloc(1_200, n + 65)),
  Buffer.from('the end'),
])
const pieces = Array.from({ length: 51 }, (_, n) =>
  run.toString('latin1', n * 1_200, Math.min((n + 1) * 1_200, run.length)),
)

for (const host of ['127.0.0.1', '::1']) {
  t.test(`runs over ${host}`, { skip: host === '::1' && noIpv6 }, async (t) => {
    const server = new Ear(t, UdpSocket.bind({ host, port: 0 }))
    const client = new Ear(t, UdpSocket.connect(server.socket.local))
    t.not(server.socket.local.port, 0)
    t.equal(client.socket.send(run, run.length, 1_200, server.socket.local), 0)
    t.same(await server.hear(51), pieces, 'as they were sent')
    const [{ from } = { from: undefined }] = server.heard
    t.same(from, client.socket.local, 'from whom they came')

    t.equal(server.socket.send(run, run.length, 1_200, client.socket.local), 0)
    t.same(await client.hear(51), pieces, 'and back')
    t.equal(server.socket.send(run, 2_000, 2_000, client.socket.local), 0)
    t.equal(server.socket.send(run, 3, 1_200, client.socket.local), 0)
    const more = (await client.hear(53)).slice(51)
    t.same(more, [run.toString('latin1', 0, 2_000), 'AAA'], 'single ones, larger and smaller')
  })

  t.test(`Node's sockets over ${host}`, { skip: host === '::1' && noIpv6 }, async (t) => {
    const ear = new Ear(t, UdpSocket.bind({ host, port: 0 }))
    const node = await boundSocket(t, host)
    const heard: string[] = []
    node.on('message', (datagram) => heard.push(datagram.toString('latin1')))
    const { port } = node.address()
    t.equal(ear.socket.send(run, run.length, 1_200, { host, port }), 0)
    while (heard.length < 51) await turn()
    t.same(heard, pieces, 'the kernel cuts for those who do not')
    for (const piece of pieces) node.send(piece, ear.socket.local.port, host)
    t.same(await ear.hear(51), pieces)
    t.same(ear.heard[50]?.from, { host, port })
  })
}

t.test('datagrams of several senders keep theirs', async (t) => {
  const server = new Ear(t, UdpSocket.bind({ host: '127.0.0.1', port: 0 }))
  const { local } = server.socket
  const clients = Array.from({ length: 5 }, () => new Ear(t, UdpSocket.connect(local)))
  for (let round = 0; round < 20; round++) {
    for (const [index, { socket }] of clients.entries()) {
      t.equal(socket.send(Buffer.from(`${index}${index}${index}`), 3, 1, local), 0)
    }
  }
  await server.hear(300)
  const wrong = server.heard.filter(
    ({ text, from }) => clients[Number(text)]?.socket.local.port !== from.port,
  )
  t.same(wrong, [])
})

t.test('a connected socket is told when nobody is there, again and again', async (t) => {
  const gone = UdpSocket.bind({ host: '127.0.0.1', port: 0 })
  const { local } = gone
  gone.close()
  const ear = new Ear(t, UdpSocket.connect(local))
  for (let count = 1; count <= 3; count++) {
    ear.socket.send(Buffer.from('anybody?'), 8, 8, local)
    while (ear.errors.length < count) await turn()
  }
  for (const error of ear.errors) t.match(error, { code: 'ECONNREFUSED' })
})

t.test('what cannot be is refused', async (t) => {
  const socket = UdpSocket.bind({ host: '127.0.0.1', port: 0 })
  t.throws(() => UdpSocket.bind(socket.local), { code: 'EADDRINUSE' })
  t.throws(() => UdpSocket.bind({ host: '192.0.2.1', port: 0 }), { code: 'EADDRNOTAVAIL' })
  t.throws(() => UdpSocket.bind({ host: 'localhost', port: 0 }), { code: 'EINVAL' })
  t.throws(() => UdpSocket.bind({ host: 'fe80::1%nowhere', port: 0 }), { code: 'EINVAL' })
  const tooLarge = Buffer.alloc(70_000)
  t.equal(socket.send(tooLarge, 70_000, 70_000, socket.local), errno.EMSGSIZE)
  socket.close()
  socket.close()
  t.equal(socket.send(tooLarge, 1, 1, socket.local), errno.EBADF)
})

t.test('addresses as the kernel has them', async (t) => {
  for (const host of [
    '127.0.0.1',
    '203.0.113.255',
    '::',
    '::1',
    '2001:db8::a:0:1',
    '::ffff:1.2.3.4',
  ]) {
    t.same(decodeAddress(encodeAddress({ host, port: 65_535 })), { host, port: 65_535 })
  }
  t.equal(encodeAddress({ host: 'fe80::1%7', port: 1 }).readUInt32LE(24), 7)
  t.throws(() => decodeAddress(Buffer.alloc(28)), { code: 'EINVAL' })
})
