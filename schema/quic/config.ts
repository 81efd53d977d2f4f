/**
 * TLS and transport settings of a connection, as quiche wants them.
 *
 * A server asks for a certificate and verifies the one it gets; a client without one is welcome, and
 * has no name. A client always verifies: pinned authority, and the name if it knows one.
 */
import quiche from '@matrixai/quic/native/quiche.js'
import type { Config } from '@matrixai/quic/native/types.js'
import { DfsError } from '../wire/status.ts'
import type { TlsIdentity } from '../rpc/api.ts'
import { quicLimits } from './limits.ts'
import type { Settings } from './settings.ts'

/** The protocol and its version, agreed on in the handshake. */
const ALPN = 'dfs/1'

export interface ConfigOptions {
  readonly role: 'client' | 'server'
  readonly identity: TlsIdentity | undefined
  readonly caPem: string
  /** Largest datagram that the local interface takes, bytes; offered to the peer. */
  readonly datagramBytesMax: number
  readonly settings: Settings
  /** Bytes that the peer may send before somebody reads them. */
  readonly windowBytes: number
  /** For tests of negotiation only; `dfs/1` otherwise. */
  readonly alpn?: string
}

/** Throws DfsError `invalidArgument` for a certificate, key or CA that does not parse or match. */
export function createConfig(options: ConfigOptions): Config {
  const { settings, windowBytes } = options
  const streamWindowBytes = Math.min(quicLimits.streamWindowBytes, windowBytes / 3)
  const config = createTls(options)
  config.setApplicationProtos([options.alpn ?? ALPN])
  config.grease(true)
  config.setMaxIdleTimeout(settings.idleMs)
  // What is really sent is limited by the buffer that quiche gets to write into.
  const { datagramBytesMax } = options
  const fixed = settings.fixedDatagramBytes !== undefined
  const unitBytes = fixed
    ? datagramBytesMax
    : Math.max(datagramBytesMax, quicLimits.congestionUnitBytes)
  config.setMaxRecvUdpPayloadSize(unitBytes)
  config.setMaxSendUdpPayloadSize(unitBytes)
  config.setInitialMaxData(windowBytes)
  config.setInitialMaxStreamDataBidiLocal(streamWindowBytes)
  config.setInitialMaxStreamDataBidiRemote(streamWindowBytes)
  config.setInitialMaxStreamDataUni(0)
  config.setInitialMaxStreamsBidi(quicLimits.streamsMax)
  config.setInitialMaxStreamsUni(0)
  config.setMaxStreamWindow(streamWindowBytes)
  config.setMaxConnectionWindow(windowBytes)
  config.setCcAlgorithmName(settings.congestion)
  config.enableHystart(true)
  config.enablePacing(false)
  config.setActiveConnectionIdLimit(2)
  config.setDisableActiveMigration(false)
  if (settings.keylogDirectory !== undefined) config.logKeys()
  return config
}

function createTls({ role, identity, caPem }: ConfigOptions): Config {
  const key = identity === undefined ? null : [Buffer.from(identity.privateKeyPem)]
  const certificate = identity === undefined ? null : [Buffer.from(identity.certificatePem)]
  const ca = Buffer.from(caPem)
  try {
    const client = role === 'client'
    const config = quiche.Config.withBoringSslCtx(client, false, ca, key, certificate, null)
    // Given at creation, `verify` would refuse clients without a certificate; given here, BoringSSL
    // asks for one and verifies what it gets.
    if (!client) config.verifyPeer(true)
    return config
  } catch (error) {
    throw new DfsError(
      'invalidArgument',
      `certificate, private key or cluster CA cannot be used: ${String(error)}; all must be PEM, ` +
        'and the key must belong to the certificate',
      { cause: error },
    )
  }
}
