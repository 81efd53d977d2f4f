/**
 * What transport tests share: a cluster's certificates, methods that carry plain bytes, and a pair
 * of listener and peer on loopback.
 */
import type { Test } from 'tap'
import { Dialer } from '../../schema/quic/dialer.ts'
import { listen } from '../../schema/quic/listener.ts'
import type { Listener, ListenOptions, Peer, PeerOptions } from '../../schema/quic/api.ts'
import type { Log, Method, TlsIdentity } from '../../schema/rpc/api.ts'
import { MethodTable } from '../../schema/rpc/method-table.ts'
import type { Codec } from '../../schema/wire/codec.ts'
import {
  createAuthority,
  createKeyPair,
  issueCertificate,
  type Authority,
} from '../../server/identity/certificates.ts'

export const MIB = 1_048_576

/** Messages that are just bytes. */
export const bytesCodec: Codec<Uint8Array> = {
  name: 'Bytes',
  encode: (value) => Uint8Array.from(value),
  decode: (bytes) => bytes,
}

type BytesMethod = Method<Uint8Array, Uint8Array>

export function method(id: number, more: Partial<BytesMethod> = {}): BytesMethod {
  return {
    id,
    name: `test${id}`,
    request: bytesCodec,
    response: bytesCodec,
    requestBytesMax: 65_536,
    responseBytesMax: 65_536,
    uploadBytesMax: 0,
    downloadBytesMax: 0,
    deadlineMs: 10_000,
    urgency: 'control',
    replay: 'harmless',
    ...more,
  }
}

export const echo = method(1)
const bulk = { urgency: 'bulk', uploadBytesMax: 2 ** 33, downloadBytesMax: 2 ** 33 } as const
/** Request: nothing. Upload: anything. Response: u64 of the bytes received. */
export const upload = method(2, { ...bulk, downloadBytesMax: 0 })
/** Request: u64 of the bytes wanted. Download: so many bytes. */
export const download = method(3, { ...bulk, uploadBytesMax: 0 })
/** Answers never; aborts with its caller. */
export const stall = method(4)
/** Sends back what it receives. */
export const mirror = method(5, bulk)

/** A test method's answers are what `pattern` says. */
export const PIECE_BYTES = 65_536
export const pattern = Buffer.from(Array.from({ length: PIECE_BYTES }, (_, at) => (at * 7) & 0xff))

export function u64(value: number): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

export function fromU64(bytes: Uint8Array): number {
  return Number(Buffer.from(bytes).readBigUInt64LE())
}

/** Handlers for the methods above. */
export function testService(): MethodTable {
  const table = new MethodTable()
  table.handle(echo, (request) => request)
  table.handle(upload, async (_request, call) => {
    const into = Buffer.allocUnsafe(PIECE_BYTES)
    let total = 0
    for (;;) {
      const got = call.read(into)
      const bytes = typeof got === 'number' ? got : await got
      if (bytes === 0) return u64(total)
      total += bytes
    }
  })
  table.handle(download, async (request, call) => {
    call.respond(request)
    for (let left = fromU64(request); left > 0; left -= PIECE_BYTES) {
      const wait = call.write(left < PIECE_BYTES ? pattern.subarray(0, left) : pattern)
      if (wait !== undefined) await wait
    }
    return undefined
  })
  table.handle(stall, async (_request, call) => {
    await new Promise((_resolve, reject) => {
      call.signal.addEventListener('abort', () => reject(call.signal.reason as Error))
    })
    return new Uint8Array(0)
  })
  table.handle(mirror, async (request, call) => {
    call.respond(request)
    const into = Buffer.allocUnsafe(PIECE_BYTES)
    for (;;) {
      const bytes = await call.read(into)
      if (bytes === 0) return undefined
      await call.write(into.subarray(0, bytes))
    }
  })
  return table
}

export const silent: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
}

/** The certificates of one cluster. */
export class Certificates {
  readonly authority: Authority

  constructor(authority: Authority) {
    this.authority = authority
  }

  static async create(): Promise<Certificates> {
    return new Certificates(await createAuthority())
  }

  get caPem(): string {
    return this.authority.certificatePem
  }

  async identity(...names: string[]): Promise<TlsIdentity> {
    const { privateKeyPem, publicKeyPem } = await createKeyPair()
    const certificatePem = await issueCertificate(this.authority, { names, publicKeyPem, days: 1 })
    return { certificatePem, privateKeyPem }
  }
}

export const SERVER_NAME = 'metadata.dfs'

export interface Pair {
  readonly certificates: Certificates
  readonly listener: Listener
  readonly dialer: Dialer
  readonly peer: Peer
  /** Another peer of the same listener. */
  readonly another: (more?: Partial<PeerOptions>) => Peer
}

/** A listener with `testService` and a peer of it, closed when the test ends. */
export async function pair(
  t: Test,
  more: { listen?: Partial<ListenOptions>; peer?: Partial<PeerOptions> } = {},
): Promise<Pair> {
  const certificates = await Certificates.create()
  const listener = await listen({
    address: '127.0.0.1:0',
    identity: await certificates.identity(SERVER_NAME),
    caPem: certificates.caPem,
    service: testService(),
    log: silent,
    ...more.listen,
  })
  const dialer = new Dialer({ log: silent })
  t.teardown(async () => {
    await dialer.close()
    await listener.close(0)
  })
  const another = (options: Partial<PeerOptions> = {}): Peer =>
    dialer.peer({
      addresses: [listener.address],
      serverName: SERVER_NAME,
      caPem: certificates.caPem,
      log: silent,
      ...options,
    })
  return { certificates, listener, dialer, peer: another(more.peer), another }
}

/** Waits until `condition` holds, at most `ms`: long enough for a machine that has much else to do. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  ms = 20_000,
): Promise<boolean> {
  const end = performance.now() + ms
  while (!(await condition())) {
    if (performance.now() > end) return false
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return true
}
