/**
 * What stands between a client and a server: keeps and may drop what the client sends, and sends what it
 * is told from its own port.
 */
import { createSocket, type Socket } from 'node:dgram'
import type { Test } from 'tap'

const KEPT_MAX = 200
const LOCALHOST = '127.0.0.1'

export class UdpProxy {
  /** The client's first datagrams. */
  readonly kept: Buffer[] = []
  /** How many of the client's next datagrams get lost. */
  toDrop = 0
  readonly #client: Socket
  readonly #server: Socket
  readonly #serverPort: number
  #clientPort = 0

  private constructor(client: Socket, server: Socket, serverPort: number) {
    this.#client = client
    this.#server = server
    this.#serverPort = serverPort
    client.on('message', (datagram, from) => {
      this.#clientPort = from.port
      if (this.kept.length < KEPT_MAX) this.kept.push(Buffer.from(datagram))
      if (this.toDrop > 0) this.toDrop--
      else this.send(datagram)
    })
    server.on('message', (datagram) => client.send(datagram, this.#clientPort, LOCALHOST))
  }

  /** In front of `host:port`; closed when the test ends. */
  static async start(t: Test, address: string): Promise<UdpProxy> {
    const [client, server] = await Promise.all([boundSocket(t), boundSocket(t)])
    return new UdpProxy(client, server, Number(address.split(':')[1]))
  }

  get address(): string {
    return `${LOCALHOST}:${this.#client.address().port}`
  }

  send(datagram: Buffer): void {
    this.#server.send(datagram, this.#serverPort, LOCALHOST)
  }
}

/** A socket at any port of a numeric address; closed when the test ends. */
export async function boundSocket(t: Test, host = LOCALHOST): Promise<Socket> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  t.teardown(() => socket.close())
  await new Promise<void>((resolve) => {
    socket.bind(0, host, resolve)
  })
  return socket
}
