/**
 * What an endpoint does with datagrams beside giving them to connections: strangers are heard among
 * much else, and a first datagram may get lost.
 */
import t from 'tap'
import { Endpoint } from '../../../../schema/quic/endpoint.ts'
import { quicLimits } from '../../../../schema/quic/limits.ts'
import { silent } from '../../../support/transport.ts'
import { boundSocket } from '../../../support/udp-proxy.ts'

const MANY = 20
const ID = Buffer.alloc(quicLimits.connectionIdBytes, 7)
const OTHER_ID = Buffer.alloc(quicLimits.connectionIdBytes, 9)
const LOCALHOST = '127.0.0.1'

/** A datagram with a short header: for the connection, numbered. */
function datagram(id: Buffer, number: number): Buffer {
  return Buffer.concat([Buffer.from([0x40]), id, Buffer.from([number])])
}

/** Sends datagrams in one burst. */
function burst(from: Endpoint, to: Endpoint, datagrams: readonly Buffer[]): void {
  for (const bytes of datagrams) {
    bytes.copy(from.borrow(1_200))
    from.send(bytes.length, to.local)
  }
  from.settleBurst()
}

t.test('a stranger is heard among what a connection has to say', async (t) => {
  const endpoint = Endpoint.bind({ host: LOCALHOST, port: 0 }, silent)
  const peer = Endpoint.connect(endpoint.local, silent)
  const stranger = Endpoint.connect(endpoint.local, silent)
  t.teardown(() => [endpoint, peer, stranger].map((each) => each.close()))
  const heard: number[] = []
  const turned = new Promise<void>((resolve) => {
    const served = {
      scheduled: false,
      receive: (bytes: Buffer) => void heard.push(bytes.at(-1) ?? 0),
      turn: () => {
        if (heard.length > MANY) resolve()
        return false
      },
    }
    endpoint.register(ID, served)
  })
  const strangers: unknown[] = []
  endpoint.onStranger((bytes, from) => strangers.push([bytes.at(-1), from]))
  const numbers = Array.from({ length: MANY }, (_, number) => number)
  burst(
    peer,
    endpoint,
    numbers.map((number) => datagram(ID, number)),
  )
  burst(stranger, endpoint, [datagram(OTHER_ID, 1)])
  burst(peer, endpoint, [datagram(ID, MANY)])
  await turned
  t.same(strangers, [[1, stranger.local]])
  t.same(heard, [...numbers, MANY])
})

t.test('one burst to several addresses', async (t) => {
  const endpoint = Endpoint.bind({ host: LOCALHOST, port: 0 }, silent)
  const others = [1, 2, 3].map(() => Endpoint.bind({ host: LOCALHOST, port: 0 }, silent))
  t.teardown(() => [endpoint, ...others].map((each) => each.close()))
  const heard = others.map((other) => {
    const numbers: (number | undefined)[] = []
    other.onStranger((bytes) => numbers.push(bytes.at(-1)))
    return numbers
  })
  for (let number = 0; number < MANY; number++) {
    for (const { local } of others) {
      const bytes = datagram(OTHER_ID, number)
      bytes.copy(endpoint.borrow(bytes.length))
      endpoint.send(bytes.length, local)
    }
  }
  endpoint.settleBurst()
  while (heard.some(({ length }) => length < MANY)) {
    await new Promise((resolve) => setImmediate(resolve))
  }
  for (const numbers of heard) t.same(numbers, [...Array(MANY).keys()])
})

t.test('a first datagram without an answer is sent once more', async (t) => {
  const silentServer = await boundSocket(t, LOCALHOST)
  const { port } = silentServer.address()
  const received = new Promise<string[]>((resolve) => {
    const all: string[] = []
    silentServer.on('message', (bytes) => {
      all.push(bytes.toString())
      if (all.length === 3) resolve(all)
    })
  })
  const endpoint = Endpoint.connect({ host: LOCALHOST, port }, silent)
  t.teardown(() => endpoint.close())
  for (const text of ['hello', 'second']) {
    const buffer = endpoint.borrow(100)
    t.equal(endpoint.sendNow(buffer, buffer.write(text), { host: LOCALHOST, port }), undefined)
  }
  t.same(await received, ['hello', 'second', 'hello'])
})
