/**
 * The serving process of the transport benchmark: ours, the package's own classes, or node:tls, on
 * loopback. Orders and answers travel over the channel of `child_process.fork`.
 */
import { createServer } from 'node:tls'
import type { AddressInfo } from 'node:net'
import { QUICServer, events } from '@matrixai/quic'
import { listen } from '../../schema/quic/listener.ts'
import type { TlsIdentity } from '../../schema/rpc/api.ts'
import { silent, testService } from '../support/transport.ts'
import { packageConfig, serverCrypto, silentLogger } from './transport-package.ts'

export type Order =
  | { kind: 'ours'; identity: TlsIdentity; caPem: string; datagramBytes?: number; host?: string }
  | { kind: 'package'; identity: TlsIdentity; datagramBytes: number }
  | { kind: 'tls'; identity: TlsIdentity; host?: string }
  | { kind: 'cpu' }

/** User and system time of this process so far, seconds. */
export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

async function serveOurs(order: Order & { kind: 'ours' }): Promise<string> {
  const { identity, caPem, datagramBytes } = order
  const listener = await listen({
    address: `${order.host ?? '127.0.0.1'}:0`,
    identity,
    caPem,
    service: testService(),
    log: silent,
    transport: datagramBytes === undefined ? {} : { datagramBytes },
  })
  return listener.address
}

/** Each stream: bytes until the end are counted and answered by one byte, small ones echoed. */
async function servePackage(order: Order & { kind: 'package' }): Promise<string> {
  const { identity, datagramBytes } = order
  const server = new QUICServer({
    crypto: await serverCrypto(),
    logger: silentLogger,
    config: {
      ...packageConfig(datagramBytes),
      key: identity.privateKeyPem,
      cert: identity.certificatePem,
    },
  })
  server.addEventListener(events.EventQUICServerConnection.name, (event: Event) => {
    const { detail: connection } = event as InstanceType<typeof events.EventQUICServerConnection>
    connection.addEventListener(events.EventQUICConnectionStream.name, (streamEvent: Event) => {
      const { detail: stream } = streamEvent as InstanceType<
        typeof events.EventQUICConnectionStream
      >
      void (async () => {
        let total = 0
        for await (const piece of stream.readable) total += piece.length
        const writer = stream.writable.getWriter()
        await writer.write(new Uint8Array(total <= 1_000 ? total : 1))
        await writer.close()
      })()
    })
  })
  await server.start({ host: '127.0.0.1', port: 0 })
  return `127.0.0.1:${server.port}`
}

async function serveTls(order: Order & { kind: 'tls' }): Promise<string> {
  const { certificatePem: cert, privateKeyPem: key } = order.identity
  const server = createServer({ cert, key, minVersion: 'TLSv1.3' }, (socket) => {
    let total = 0
    socket.on('data', (piece: Buffer) => (total += piece.length))
    socket.on('end', () => socket.end(String(total)))
    socket.on('error', () => socket.destroy())
  })
  const host = order.host ?? '127.0.0.1'
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  return `${host}:${(server.address() as AddressInfo).port}`
}

async function obey(order: Order): Promise<string | number> {
  if (order.kind === 'ours') return serveOurs(order)
  if (order.kind === 'package') return servePackage(order)
  if (order.kind === 'tls') return serveTls(order)
  return cpuSeconds()
}

if (process.send !== undefined) {
  process.on('message', (order) => {
    void obey(order as Order).then((answer) => process.send?.(answer))
  })
  process.on('disconnect', () => process.exit(0))
}
