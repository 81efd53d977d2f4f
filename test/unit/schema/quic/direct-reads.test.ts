/**
 * Datagrams read straight from a socket's descriptor, and who is told apart when they are: the datagrams
 * are the ones that were sent, in order, and a stranger's that came so is heard when it is sent again.
 */
import { createSocket, type Socket } from 'node:dgram'
import t from 'tap'
import { DirectReads } from '../../../../schema/quic/direct-reads.ts'
import { Endpoint } from '../../../../schema/quic/endpoint.ts'
import { quicLimits } from '../../../../schema/quic/limits.ts'
import { silent } from '../../../support/transport.ts'

const MANY = 20
const ID = Buffer.alloc(quicLimits.connectionIdBytes, 7)
const OTHER_ID = Buffer.alloc(quicLimits.connectionIdBytes, 9)

interface Scope {
  teardown: (work: () => unknown) => void
}

async function openSocket(t: Scope): Promise<Socket> {
  const socket = createSocket('udp4')
  t.teardown(() => socket.close())
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  return socket
}

/** A socket connected to the port; what it sends is in the kernel when `send` returns. */
async function sender(t: Scope, port: number): Promise<Socket> {
  const socket = createSocket('udp4')
  t.teardown(() => socket.close())
  await new Promise<void>((resolve) => socket.connect(port, '127.0.0.1', resolve))
  return socket
}

/** A datagram with a short header: for the connection, numbered. */
function datagram(id: Buffer, number: number): Buffer {
  return Buffer.concat([Buffer.from([0x40]), id, Buffer.from([number])])
}

t.test('waiting datagrams are read in order once many have come in a turn', async (t) => {
  const socket = await openSocket(t)
  const from = await sender(t, socket.address().port)
  const reads = new DirectReads(socket)
  for (let number = 0; number < MANY; number++) from.send(Buffer.alloc(100 + number, number))
  reads.turn(0)
  t.equal(reads.next(), undefined, 'a socket that was idle')
  for (let number = 0; number < MANY; number++) reads.received(100)
  reads.turn(1)
  reads.turn(2)
  for (let number = 0; number < MANY; number++) {
    t.same(reads.next(), Buffer.alloc(100 + number, number))
  }
  t.equal(reads.next(), undefined, 'none is left')
  from.send('one more')
  t.equal(reads.next(), undefined, 'nor looked for again in this turn')
  reads.turn(3)
  t.same(reads.next(), Buffer.from('one more'))
  reads.pause(3)
  from.send('paused')
  t.equal(reads.next(), undefined)
  for (let number = 0; number < MANY; number++) reads.received(100)
  reads.turn(4)
  t.equal(reads.next(), undefined)
  reads.turn(2_000)
  t.same(reads.next(), Buffer.from('paused'))
  reads.turn(2_001)
  t.equal(reads.next(), undefined, 'one in the turn before is not many')
  reads.received(16_383)
  reads.received(16_383)
  reads.received(16_383)
  reads.turn(2_002)
  from.send('after large ones')
  t.same(reads.next(), Buffer.from('after large ones'))
})

t.test('what the kernel reports is thrown', async (t) => {
  const gone = createSocket('udp4')
  await new Promise<void>((resolve) => gone.bind(0, '127.0.0.1', resolve))
  const socket = await sender(t, gone.address().port)
  await new Promise<void>((resolve) => gone.close(resolve))
  const reads = new DirectReads(socket)
  socket.send('is anybody there?')
  for (let number = 0; number < MANY; number++) reads.received(100)
  reads.turn(0)
  t.throws(() => reads.next(), { code: 'ECONNREFUSED' })
})

t.test('a stranger is heard beside a connection with much to say', async (t) => {
  const endpoint = await Endpoint.bind({ host: '127.0.0.1', port: 0 }, silent)
  t.teardown(async () => endpoint.close())
  const heard: number[] = []
  let turned: () => void = () => undefined
  const served = {
    scheduled: false,
    receive: (bytes: Buffer) => heard.push(bytes.at(-1) ?? 0) > 0,
    turn: () => {
      turned()
      return false
    },
  }
  endpoint.register(ID, served)
  const strangers: number[] = []
  endpoint.onStranger((bytes) => strangers.push(bytes.at(-1) ?? 0))
  const peer = await sender(t, endpoint.local.port)
  const stranger = await sender(t, endpoint.local.port)
  const turnAfter = async (send: () => void): Promise<void> => {
    const turn = new Promise<void>((resolve) => (turned = resolve))
    send()
    await turn
  }
  const burst = (): void => {
    for (let number = 0; number < MANY; number++) peer.send(datagram(ID, number))
  }
  const asks = (number: number) => (): void => {
    burst()
    stranger.send(datagram(OTHER_ID, number))
    peer.send(datagram(ID, MANY))
  }
  await turnAfter(burst)
  for (let number = 1; number <= 3; number++) await turnAfter(asks(number))
  while (heard.length < 4 * MANY + 3) await new Promise((resolve) => setImmediate(resolve))
  t.ok(strangers.length >= 2, 'at the latest when it asks again')
  t.same(
    heard.filter((number) => number === MANY - 1),
    Array(4).fill(MANY - 1),
  )
})

t.test('a first datagram without an answer is sent once more', async (t) => {
  const silentServer = await openSocket(t)
  const { port } = silentServer.address()
  const received = new Promise<string[]>((resolve) => {
    const all: string[] = []
    silentServer.on('message', (bytes) => {
      all.push(bytes.toString())
      if (all.length === 3) resolve(all)
    })
  })
  const endpoint = await Endpoint.connect({ host: '127.0.0.1', port }, silent)
  t.teardown(async () => endpoint.close())
  const send = (text: string): void => {
    const buffer = endpoint.borrow(100)
    const bytes = buffer.write(text)
    endpoint.sendReporting(buffer, bytes, { host: '127.0.0.1', port }, () => undefined)
  }
  send('hello')
  send('second')
  t.same(await received, ['hello', 'second', 'hello'])
})
