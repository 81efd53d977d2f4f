/**
 * A process of a transport test: serves, calls, and moves bytes as it is told over its IPC channel.
 */
import { connect, createServer, type TLSSocket } from 'node:tls'
import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import type { AddressInfo } from 'node:net'
import { Dialer } from '../../schema/quic/dialer.ts'
import { listen } from '../../schema/quic/listener.ts'
import type { Listener, Peer, TransportSettings } from '../../schema/quic/api.ts'
import type { ConnectionStats, TlsIdentity } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import {
  download,
  echo,
  fromU64,
  MIB,
  pattern,
  PIECE_BYTES,
  SERVER_NAME,
  silent,
  testService,
  u64,
  upload,
} from './transport.ts'

interface ListenArgs {
  readonly host: string
  readonly identity: TlsIdentity
  readonly caPem: string
  readonly transport?: TransportSettings
  readonly port?: number
}

interface ConnectArgs {
  readonly addresses: readonly string[]
  readonly caPem: string
  readonly transport?: TransportSettings
}

interface BytesArgs {
  readonly bytes: number
  readonly deadlineMs?: number
}

/** How a mount moves a file: a request for each chunk, and some megabytes ahead of who reads. */
const CHUNK_BYTES = 64 * MIB
const READ_BYTES = MIB
const READS_AT_ONCE = 8

let listener: Listener | undefined
let dialer: Dialer | undefined
let peer: Peer | undefined
let tlsSocket: TLSSocket | undefined

function thePeer(): Peer {
  if (peer === undefined) throw new Error('connect first')
  return peer
}

async function rateOf(bytes: number, work: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await work()
  return bytes / 1_000 / (performance.now() - started)
}

/** One upload, checked by its size. */
async function uploadBytes(bytes: number, deadlineMs: number): Promise<void> {
  const call = await thePeer().open(upload, u64(bytes), { deadlineMs })
  for (let left = bytes; left > 0; left -= PIECE_BYTES) {
    await call.write(left < PIECE_BYTES ? pattern.subarray(0, left) : pattern)
  }
  call.end()
  const got = fromU64(await call.response)
  if (got !== bytes) throw new Error(`${got} bytes arrived of ${bytes}`)
}

/** One download, checked byte by byte at the borders of each read. */
async function downloadBytes(bytes: number, deadlineMs: number): Promise<void> {
  const call = await thePeer().open(download, u64(bytes), { deadlineMs })
  call.end()
  await call.response
  const into = Buffer.allocUnsafe(PIECE_BYTES)
  let at = 0
  for (let got = await call.read(into); got > 0; got = await call.read(into)) {
    if (into[0] !== pattern[at % PIECE_BYTES]) throw new Error(`wrong byte at ${at}`)
    at += got
    if (into[got - 1] !== pattern[(at - 1) % PIECE_BYTES])
      throw new Error(`wrong byte before ${at}`)
  }
  if (at !== bytes) throw new Error(`${at} bytes arrived of ${bytes}`)
}

const operations: Record<string, (args: never) => Promise<unknown>> = {
  async listen({ host, identity, caPem, transport = {}, port = 0 }: ListenArgs): Promise<string> {
    const address = `${host}:${port}`
    const service = testService()
    listener = await listen({ address, identity, caPem, service, log: silent, transport })
    return listener.address
  },

  async connect({ addresses, caPem, transport = {} }: ConnectArgs): Promise<void> {
    await dialer?.close()
    dialer = new Dialer({ log: silent, transport })
    peer = dialer.peer({ addresses, serverName: SERVER_NAME, caPem, log: silent })
  },

  /** One small request; its time in ms. */
  async call({ deadlineMs = 10_000 }: { deadlineMs?: number }): Promise<number> {
    const started = performance.now()
    await thePeer().call(echo, new Uint8Array(200), { deadlineMs })
    return performance.now() - started
  },

  /** MB/s of one upload. */
  async upload({ bytes, deadlineMs = 60_000 }: BytesArgs): Promise<number> {
    return rateOf(bytes, async () => uploadBytes(bytes, deadlineMs))
  },

  /** MB/s of one download. */
  async download({ bytes, deadlineMs = 60_000 }: BytesArgs): Promise<number> {
    return rateOf(bytes, async () => downloadBytes(bytes, deadlineMs))
  },

  /** MB/s of a file written as a mount does: its chunks side by side, each one upload. */
  async writeFile({ bytes, deadlineMs = 60_000 }: BytesArgs): Promise<number> {
    const chunks = Array.from({ length: Math.ceil(bytes / CHUNK_BYTES) }, (_, index) =>
      Math.min(CHUNK_BYTES, bytes - index * CHUNK_BYTES),
    )
    return rateOf(bytes, async () =>
      Promise.all(chunks.map(async (size) => uploadBytes(size, deadlineMs))),
    )
  },

  /** MB/s of a file read as a mount does: in ranges, some of them ahead. */
  async readFile({ bytes, deadlineMs = 60_000 }: BytesArgs): Promise<number> {
    let at = 0
    const readOn = async (): Promise<void> => {
      while (at < bytes) {
        const size = Math.min(READ_BYTES, bytes - at)
        at += size
        await downloadBytes(size, deadlineMs)
      }
    }
    return rateOf(bytes, async () => Promise.all(Array.from({ length: READS_AT_ONCE }, readOn)))
  },

  /** Many small uploads and downloads, some at once, whose ends come after a pause; the slowest, ms. */
  async trickle({ count, bytes }: { count: number; bytes: number }): Promise<number> {
    let left = count
    let slowest = 0
    const one = async (): Promise<void> => {
      const started = performance.now()
      const up = await thePeer().open(upload, u64(bytes))
      await up.write(pattern.subarray(0, bytes))
      // Long enough for all of it to be acknowledged before the end is sent.
      await new Promise((resolve) => setTimeout(resolve, 50))
      up.end()
      if (fromU64(await up.response) !== bytes) throw new Error('an upload lost bytes')
      const down = await thePeer().open(download, u64(bytes))
      down.end()
      await down.response
      const into = Buffer.allocUnsafe(bytes + 1)
      let got = 0
      for (let n = await down.read(into); n > 0; n = await down.read(into)) got += n
      if (got !== bytes) throw new Error('a download lost bytes')
      slowest = Math.max(slowest, performance.now() - started)
    }
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        while (left-- > 0) await one()
      }),
    )
    return slowest
  },

  /** Statistics of the client's connection, or of the server's first. */
  async stats(): Promise<ConnectionStats | undefined> {
    return (peer?.connection ?? [...(listener?.connections ?? [])][0])?.stats()
  },

  async peerAddresses(): Promise<string[]> {
    return [...(listener?.connections ?? [])].map((connection) => connection.peer.address)
  },

  /** Serves uploads over TCP and TLS: eight bytes of length, that many bytes, and the length back. */
  async serveTls({ host, identity }: ListenArgs): Promise<number> {
    const { certificatePem: cert, privateKeyPem: key } = identity
    const server = createServer({ cert, key, minVersion: 'TLSv1.3' }, (socket) => {
      let left = 0
      let bytes: Uint8Array = new Uint8Array()
      socket.on('data', (piece: Buffer) => {
        let payload = piece
        if (left === 0) {
          bytes = Uint8Array.from(piece.subarray(0, 8))
          left = fromU64(bytes)
          payload = piece.subarray(8)
        }
        left -= payload.length
        if (left === 0) socket.write(bytes)
      })
      socket.on('error', () => socket.destroy())
    })
    await new Promise<void>((resolve) => {
      server.listen(0, host, resolve)
    })
    return (server.address() as AddressInfo).port
  },

  /** Opens the connection of `uploadTls`. */
  async connectTls(args: { host: string; port: number; caPem: string }): Promise<void> {
    const { host, port, caPem: ca } = args
    tlsSocket?.destroy()
    tlsSocket = await new Promise<TLSSocket>((resolve, reject) => {
      const opened: TLSSocket = connect({ host, port, ca, servername: SERVER_NAME }, () =>
        resolve(opened),
      )
      opened.once('error', reject)
    })
  },

  /** MB/s of one upload over TCP and TLS, for comparison. */
  async uploadTls({ bytes }: BytesArgs): Promise<number> {
    const socket = tlsSocket
    if (socket === undefined) throw new Error('connectTls first')
    const started = performance.now()
    const answer = new Promise<Buffer>((resolve) => {
      socket.once('data', resolve)
    })
    socket.write(u64(bytes))
    for (let left = bytes; left > 0; left -= PIECE_BYTES) {
      const piece = left < PIECE_BYTES ? pattern.subarray(0, left) : pattern
      if (!socket.write(piece)) await new Promise((resolve) => socket.once('drain', resolve))
    }
    const got = fromU64(await answer)
    if (got !== bytes) throw new Error(`${got} bytes arrived of ${bytes}`)
    return bytes / 1_000 / (performance.now() - started)
  },

  /** Sends garbage to a port of this machine, so many datagrams a millisecond. */
  async flood({ port, perMs, ms }: { port: number; perMs: number; ms: number }): Promise<void> {
    const socket = createSocket('udp4')
    const garbage = Array.from({ length: 256 }, () => randomBytes(1_200))
    const end = performance.now() + ms
    for (let sent = 0; performance.now() < end;) {
      for (let n = 0; n < perMs; n++) socket.send(garbage[sent++ % 256] ?? '', port, '127.0.0.1')
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    socket.close()
  },

  async close(): Promise<void> {
    await dialer?.close()
    await listener?.close(0)
  },
}

interface Order {
  readonly id: number
  readonly operation: string
  readonly args: never
}

if (process.send !== undefined) {
  process.on('message', (raw) => {
    const { id, operation, args } = raw as Order
    const run = operations[operation]
    const result = run === undefined ? Promise.reject(new Error(`no ${operation}`)) : run(args)
    result.then(
      (value) => process.send?.({ id, result: value }),
      (error: unknown) => {
        const code = error instanceof DfsError ? error.code : 'unexpected'
        process.send?.({ id, error: { code, message: String(error) } })
      },
    )
  })
  process.on('disconnect', () => process.exit(0))
}
