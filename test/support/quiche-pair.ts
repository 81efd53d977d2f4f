/**
 * Two QUIC connections joined in memory, without sockets or timers: for tests of the request layer
 * with a clock of their own.
 */
import { randomBytes } from 'node:crypto'
import quiche from '@matrixai/quic/native/quiche.js'
import type { Connection as Native } from '@matrixai/quic/native/types.js'
import { createConfig } from '../../schema/quic/config.ts'
import { quicLimits } from '../../schema/quic/limits.ts'
import { NativeStreams } from '../../schema/quic/native-streams.ts'
import { Settings } from '../../schema/quic/settings.ts'
import type { Connection } from '../../schema/rpc/api.ts'
import type { MethodTable } from '../../schema/rpc/method-table.ts'
import { Session } from '../../schema/rpc/session.ts'
import type { DfsError } from '../../schema/wire/status.ts'
import { Certificates, SERVER_NAME, silent } from './transport.ts'

const CLIENT = { host: '127.0.0.1', port: 1 }
const SERVER = { host: '127.0.0.1', port: 2 }

export class QuichePair {
  readonly client: Session
  readonly server: Session
  /** Milliseconds on the sessions' clock, moved by the test. */
  nowMs = 0
  readonly counted: DfsError[] = []
  readonly #client: Native
  readonly #server: Native
  readonly #buffer = Buffer.alloc(quicLimits.datagramBytesMin)

  private constructor(client: Native, server: Native, methods: MethodTable) {
    this.#client = client
    this.#server = server
    while (!client.isEstablished() || !server.isEstablished()) this.#shuttle()
    this.client = this.#session(client, methods, 0)
    this.server = this.#session(server, methods, 1)
  }

  static async create(methods: MethodTable): Promise<QuichePair> {
    const certificates = await Certificates.create()
    const shared = {
      caPem: certificates.caPem,
      datagramBytesMax: quicLimits.datagramBytesMin,
      windowBytes: quicLimits.connectionWindowBytes,
      settings: new Settings(),
    }
    const identity = await certificates.identity(SERVER_NAME)
    const serverConfig = createConfig({ role: 'server', identity, ...shared })
    const clientConfig = createConfig({ role: 'client', identity: undefined, ...shared })
    const name = SERVER_NAME
    const client = quiche.Connection.connect(name, randomBytes(8), CLIENT, SERVER, clientConfig)
    const server = quiche.Connection.accept(randomBytes(8), null, SERVER, CLIENT, serverConfig)
    return new QuichePair(client, server, methods)
  }

  /** Moves datagrams and serves both sessions until nothing happens any more. */
  settle(): void {
    for (let quiet = 0; quiet < 3;) {
      const moved = this.#shuttle()
      quiet = moved ? 0 : quiet + 1
      this.#serve(this.#client, this.client)
      this.#serve(this.#server, this.server)
    }
  }

  /** Lets time pass for both sessions. */
  pass(ms: number): void {
    this.nowMs += ms
    for (const session of [this.client, this.server]) {
      session.received()
      session.flush()
      session.expire(this.nowMs)
    }
  }

  #session(native: Native, methods: MethodTable, kind: 0 | 1): Session {
    return new Session({ peer: { name: undefined, address: 'memory' } } as Connection, {
      port: new NativeStreams(native, kind, () => undefined),
      methods,
      log: silent,
      now: () => this.nowMs,
      counted: (error) => this.counted.push(error),
      ownStreamKind: kind,
    })
  }

  #serve(native: Native, session: Session): void {
    if (native.isReadable()) for (const id of native.readable()) session.readable(id)
    session.received()
    session.flush()
  }

  #shuttle(): boolean {
    const there = this.#carry(this.#client, this.#server, { from: CLIENT, to: SERVER })
    const back = this.#carry(this.#server, this.#client, { from: SERVER, to: CLIENT })
    return there || back
  }

  #carry(from: Native, to: Native, info: { from: typeof CLIENT; to: typeof CLIENT }): boolean {
    let moved = false
    for (let out = from.send(this.#buffer); out !== null; out = from.send(this.#buffer)) {
      to.recv(Buffer.from(this.#buffer.subarray(0, out[0])), info)
      moved = true
    }
    return moved
  }
}
