/**
 * Real chunkserver processes for a test, and the other end of their line: the test plays the
 * metadata server's part (it certifies, registers and gives orders) and issues the tickets.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { createSecretKey, randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type {
  HeartbeatRequest,
  HeartbeatResponse,
  RegisterRequest,
} from '../../schema/generated/cluster.ts'
import type { WriteChunkResponse } from '../../schema/generated/chunk.ts'
import type { ServerAddress } from '../../schema/generated/common.ts'
import { methods } from '../../schema/methods.ts'
import type { Listener, Peer } from '../../schema/quic/api.ts'
import { Dialer } from '../../schema/quic/dialer.ts'
import { listen } from '../../schema/quic/listener.ts'
import type { Connection, Log } from '../../schema/rpc/api.ts'
import { MethodTable } from '../../schema/rpc/method-table.ts'
import { formatCredential } from '../../schema/wire/credential.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { issueCertificate } from '../../server/identity/certificates.ts'
import { issueTicket, Rights } from '../../server/ticket.ts'
import { Certificates, silent, until } from './transport.ts'

const TOKEN = Buffer.from('a token of the test')
const CLUSTER = Buffer.alloc(16, 7)
const HEARTBEAT_MS = 50
const KEY_ID = 3
const START_MS = 20_000

/** Sealing header of test chunks. */
export const header = Buffer.alloc(40, 5)

const executable = fileURLToPath(new URL('../../bin/dfs-chunkserver.js', import.meta.url))

/** Whatever ends what was started: a test, or a benchmark. */
export interface Owner {
  teardown(end: () => Promise<unknown>): void
}

/** One chunkserver process. */
export class ServerProcess {
  readonly directory: string
  readonly child: ChildProcess
  readonly exited: Promise<number | null>
  address = ''
  stderr = ''
  stdout = ''

  constructor(directory: string, args: readonly string[]) {
    this.directory = directory
    const child = spawn(process.execPath, [executable, 'serve', '--dir', directory, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout.on('data', (text: Buffer) => (this.stdout += text.toString()))
    child.stderr.on('data', (text: Buffer) => (this.stderr += text.toString()))
    this.child = child
    this.exited = new Promise((resolve) => child.once('exit', (code) => resolve(code)))
  }

  /** Waits for the line that says where it listens; throws with its log when it ends before. */
  async ready(): Promise<this> {
    const line = /listening on (\S+)/
    const up = await until(() => line.test(this.stdout) || this.child.exitCode !== null, START_MS)
    const address = line.exec(this.stdout)?.[1]
    if (!up || address === undefined) throw new Error(`did not start: ${this.stderr}`)
    this.address = address
    return this
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal)
    return this.exited
  }
}

export class ChunkserverTest {
  readonly certificates: Certificates
  readonly #owner: Owner
  readonly #key = createSecretKey(randomBytes(32))
  readonly #dialer = new Dialer({ log: silent })
  readonly #peers = new Map<string, Peer>()
  #listener: Listener | undefined
  #listenAddress = '127.0.0.1:0'
  #nextServer = 1
  /** By server id: what it said last. */
  readonly registered = new Map<number, RegisterRequest>()
  readonly heartbeats = new Map<number, HeartbeatRequest[]>()
  /** By server id: the connection that it registered on last. */
  readonly connections = new Map<number, Connection>()
  /** Answers the next heartbeats of a server, in order; after them an empty answer. */
  readonly orders = new Map<number, Partial<HeartbeatResponse>[]>()

  private constructor(owner: Owner, certificates: Certificates) {
    this.#owner = owner
    this.certificates = certificates
  }

  static async create(owner: Owner): Promise<ChunkserverTest> {
    const test = new ChunkserverTest(owner, await Certificates.create())
    await test.startMetadata()
    owner.teardown(async () => {
      await test.#dialer.close()
      await test.stopMetadata()
    })
    return test
  }

  get metadataAddress(): string {
    return this.#listenAddress
  }

  async startMetadata(): Promise<void> {
    this.#listener = await listen({
      address: this.#listenAddress,
      identity: await this.certificates.identity('metadata.dfs'),
      caPem: this.certificates.caPem,
      service: this.#service(),
      log: silent,
    })
    this.#listenAddress = this.#listener.address
  }

  async stopMetadata(): Promise<void> {
    await this.#listener?.close(0)
    this.#listener = undefined
  }

  /** Starts a process in a directory; killed when the test ends. */
  async start(directory: string, ...args: string[]): Promise<ServerProcess> {
    const server = this.launch(directory, ...args)
    return server.ready()
  }

  launch(directory: string, ...args: string[]): ServerProcess {
    const token = join(directory, '..', 'join-token')
    writeFileSync(token, this.joinToken())
    const level = args.some((arg) => arg.startsWith('--log-level')) ? [] : ['--log-level=debug']
    const server = new ServerProcess(directory, [
      ...level,
      `--metadata=${this.metadataAddress}`,
      '--rack=r1',
      '--listen=127.0.0.1:0',
      `--token-file=${token}`,
      ...args,
    ])
    this.#owner.teardown(async () => server.kill())
    return server
  }

  joinToken(): string {
    return formatCredential({
      kind: 'join',
      addresses: [this.metadataAddress],
      secret: TOKEN,
      caPem: this.certificates.caPem,
    })
  }

  /** Waits until a server has registered and sent a heartbeat since now. */
  async alive(server: number): Promise<void> {
    this.heartbeats.delete(server)
    const beat = await until(() => (this.heartbeats.get(server)?.length ?? 0) > 1, START_MS)
    if (!beat) throw new Error(`chunkserver ${server} sends no heartbeats`)
  }

  lastHeartbeat(server: number): HeartbeatRequest | undefined {
    return this.heartbeats.get(server)?.at(-1)
  }

  ticket(chunk: number, rights: Rights, more: { expiresMs?: number; keyId?: number } = {}) {
    const claims = { rights, keyId: KEY_ID, user: 1, chunk, expiresMs: Date.now() + 600_000 }
    return issueTicket({ ...claims, ...more }, this.#key)
  }

  peer(address: string, server: number): Peer {
    let peer = this.#peers.get(address)
    if (peer === undefined) {
      peer = this.#dialer.peer({
        addresses: [address],
        serverName: `chunkserver-${server}.dfs`,
        caPem: this.certificates.caPem,
        log: silent,
      })
      this.#peers.set(address, peer)
    }
    return peer
  }

  /** Closes the connection to a server that is no more. */
  async forget(address: string): Promise<void> {
    const peer = this.#peers.get(address)
    this.#peers.delete(address)
    await peer?.close()
  }

  /** Sends a chunk; rejects with what the server answers. */
  async write(
    peer: Peer,
    chunk: number,
    bytes: Uint8Array,
    more: { chain?: readonly ServerAddress[]; header?: Uint8Array; ticket?: Uint8Array } = {},
  ): Promise<WriteChunkResponse> {
    const call = await peer.open(methods.writeChunk, {
      chunk,
      ticket: more.ticket ?? this.ticket(chunk, Rights.write),
      header: more.header ?? header,
      chain: [...(more.chain ?? [])],
    })
    const response = call.response
    response.catch(() => undefined)
    try {
      await call.write(bytes)
    } catch (error) {
      // The refusal says more than the failed write.
      await response
      throw error
    }
    call.end()
    return response
  }

  /** Reads blocks of a chunk; all by default. */
  async read(
    peer: Peer,
    chunk: number,
    more: { firstBlock?: number; blockCount?: number; ticket?: Uint8Array } = {},
  ): Promise<{ header: Uint8Array; sealedBytes: number; bytes: Buffer }> {
    const { firstBlock = 0, blockCount = 0 } = more
    const ticket = more.ticket ?? this.ticket(chunk, Rights.read)
    const call = await peer.open(methods.readChunk, { chunk, ticket, firstBlock, blockCount })
    call.end()
    const response = await call.response
    const pieces: Buffer[] = []
    for (;;) {
      const into = Buffer.allocUnsafe(262_144)
      const got = await call.read(into)
      if (got === 0) break
      pieces.push(into.subarray(0, got))
    }
    return { ...response, bytes: Buffer.concat(pieces) }
  }

  #service(): MethodTable {
    const service = new MethodTable()
    service.handle(methods.join, async (request) => {
      if (!TOKEN.equals(request.token)) throw new DfsError('tokenInvalid', 'not the token')
      const server = this.#nextServer++
      const der = Buffer.from(request.certificateRequest).toString('base64')
      const certificatePem = await issueCertificate(this.certificates.authority, {
        names: [`chunkserver-${server}.dfs`],
        requestPem: `-----BEGIN CERTIFICATE REQUEST-----\n${der}\n-----END CERTIFICATE REQUEST-----\n`,
        days: 1,
      })
      return { server, certificatePem, cluster: CLUSTER }
    })
    service.handle(methods.register, (request, { connection }) => {
      this.registered.set(serverOf(connection), request)
      this.connections.set(serverOf(connection), connection)
      const epoch = { epoch: 1, epochProof: Buffer.alloc(0) }
      return { heartbeatMs: HEARTBEAT_MS, ticketKeys: this.#ticketKeys(), restored: 0n, ...epoch }
    })
    service.handle(methods.heartbeat, (request, { connection }) => {
      const server = serverOf(connection)
      this.heartbeats.set(server, [...(this.heartbeats.get(server) ?? []).slice(-20), request])
      const orders = this.orders.get(server)?.shift() ?? {}
      const nothing = { deletes: [], confirmed: [], ticketKeys: [], metadata: [] }
      return { ...nothing, register: false, ...orders }
    })
    return service
  }

  #ticketKeys(): { id: number; secret: Uint8Array }[] {
    return [{ id: KEY_ID, secret: this.#key.export() }]
  }
}

function serverOf(connection: Connection): number {
  const id = /^chunkserver-(\d+)\.dfs$/.exec(connection.peer.name ?? '')?.[1]
  if (id === undefined) throw new DfsError('forbidden', 'not a chunkserver')
  return Number(id)
}

/** A log that keeps its lines. */
export function keepingLog(): Log & { readonly lines: { fields: object; message: string }[] } {
  const lines: { fields: object; message: string }[] = []
  const keep = (fields: object, message: string): void => {
    lines.push({ fields, message })
  }
  return { lines, debug: keep, info: keep, warn: keep, error: keep }
}
