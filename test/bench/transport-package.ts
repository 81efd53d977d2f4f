/**
 * The package's own classes with settings that match ours, as the yardstick of the benchmark.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { QUICClient } from '@matrixai/quic'
import type { QUICConfig, QUICServerCrypto } from '@matrixai/quic'

const STREAM_WINDOW_BYTES = 16_777_216
const CONNECTION_WINDOW_BYTES = 67_108_864
const STREAMS = 1_024
const IDLE_MS = 60_000

/** As our own limits, as far as the classes know them. */
export function packageConfig(datagramBytes: number): Partial<QUICConfig> {
  return {
    maxRecvUdpPayloadSize: datagramBytes,
    maxSendUdpPayloadSize: datagramBytes,
    maxIdleTimeout: IDLE_MS,
    keepAliveIntervalTime: IDLE_MS / 6,
    initialMaxData: CONNECTION_WINDOW_BYTES,
    initialMaxStreamDataBidiLocal: STREAM_WINDOW_BYTES,
    initialMaxStreamDataBidiRemote: STREAM_WINDOW_BYTES,
    initialMaxStreamsBidi: STREAMS,
  }
}

type Logger = NonNullable<Parameters<typeof QUICClient.createQUICClient>[0]['logger']>

/** Its default logs every stream to the terminal, which would be measured too. */
export const silentLogger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  getChild: () => silentLogger,
} as unknown as Logger

export async function serverCrypto(): Promise<QUICServerCrypto> {
  return {
    key: randomBytes(32).buffer,
    ops: {
      sign: async (key: ArrayBuffer, data: ArrayBuffer) =>
        createHmac('sha256', Buffer.from(key)).update(Buffer.from(data)).digest().buffer,
      verify: async (key: ArrayBuffer, data: ArrayBuffer, signature: ArrayBuffer) =>
        timingSafeEqual(
          createHmac('sha256', Buffer.from(key)).update(Buffer.from(data)).digest(),
          Buffer.from(signature),
        ),
    },
  }
}

export async function connectPackage(
  address: string,
  serverName: string,
  caPem: string,
  datagramBytes: number,
): Promise<QUICClient> {
  const [host = '', port] = address.split(':')
  return QUICClient.createQUICClient({
    host,
    port: Number(port),
    serverName,
    localHost: '127.0.0.1',
    crypto: {
      ops: {
        randomBytes: async (data: ArrayBuffer) => {
          new Uint8Array(data).set(randomBytes(data.byteLength))
        },
      },
    },
    logger: silentLogger,
    config: { ...packageConfig(datagramBytes), ca: caPem, verifyPeer: true },
  })
}
