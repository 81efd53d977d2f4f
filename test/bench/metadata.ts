/**
 * What one metadata server does in a second, as a process of its own, over the real transport, every
 * answer durable. Run with `npm run bench -- metadata`.
 *
 * The yardstick, printed first, is `ping` over the same connection: what the transport alone gives.
 * Client and server share the machine, so on two cores each has about one; the server's CPU time for
 * each request does not depend on what else runs.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { InodeKey } from '../../mount/crypto/inode-key.ts'
import { registerAccount } from '../../mount/client/account.ts'
import { openClient } from '../../mount/client/open.ts'
import type { MetadataSession } from '../../mount/client/api.ts'
import type { Attributes, Extent } from '../../schema/generated/common.ts'
import { methods } from '../../schema/methods.ts'
import { manifestDigest, NO_XATTRS, windowDigest } from '../../schema/wire/content.ts'
import { createKeyPair, createRequest } from '../../server/identity/certificates.ts'
import { clusterPaths, readIdentity } from '../../server/metadata/cluster-files.ts'
import { METADATA_NAME } from '../../server/metadata/peer-names.ts'
import { parseCredential } from '../../schema/wire/credential.ts'
import { Dialer } from '../../schema/quic/dialer.ts'
import type { Log } from '../../schema/rpc/api.ts'

const IN_FLIGHT = 64
const FILES = 20_000
const READS = 40_000
const executable = fileURLToPath(new URL('../../bin/dfs-metadata.js', import.meta.url))
const NO_BYTES = new Uint8Array(0)
const FILE_BYTES = 67_108_864

const log: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: (fields, message) => console.error(message, fields),
  error: (fields, message) => console.error(message, fields),
}

/** Runs `count` calls, IN_FLIGHT at a time, and prints their rate and latencies. */
async function measure(
  server: number,
  what: string,
  count: number,
  call: (i: number) => Promise<unknown>,
): Promise<void> {
  const latencies = new Float64Array(count)
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) {
      const i = next++
      const startedMs = performance.now()
      await call(i)
      latencies[i] = performance.now() - startedMs
    }
  }
  const startedMs = performance.now()
  const startedCpu = cpuSeconds(server)
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker))
  const seconds = (performance.now() - startedMs) / 1_000
  const cpu = ((cpuSeconds(server) - startedCpu) / count) * 1e6
  latencies.sort()
  const at = (part: number): string => (latencies[Math.floor(count * part)] ?? 0).toFixed(1)
  console.log(
    `${what.padEnd(12)} ${(count / seconds).toFixed(0).padStart(7)}/s   median ${at(0.5)} ms, p99 ${at(0.99)} ms, server ${cpu.toFixed(0)} us CPU`,
  )
}

/** CPU seconds of a process, from /proc/PID/stat: ticks of 10 ms, fields 14 and 15. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

function command(dir: string, ...args: string[]): string {
  const all = [executable, ...args, '--dir', dir]
  const { status, stdout, stderr } = spawnSync(process.execPath, all, { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
  return stdout.trim()
}

async function serve(dir: string): Promise<ChildProcess> {
  const child = spawn(
    process.execPath,
    [executable, 'serve', '--dir', dir, '--listen', '127.0.0.1:0'],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, UV_THREADPOOL_SIZE: '8' },
    },
  )
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', () => resolve())
    child.once('exit', () => reject(new Error('dfs-metadata ended')))
  })
  return child
}

/** Two chunkservers that only say they are there. */
async function joinServers(dir: string, dialer: Dialer): Promise<() => void> {
  const { certificatePem: caPem } = await readIdentity(clusterPaths(dir).authority)
  const timers: NodeJS.Timeout[] = []
  for (const rack of ['a', 'b']) {
    const credential = parseCredential(command(dir, 'join-token'), 'join')
    const options = { addresses: credential.addresses, serverName: METADATA_NAME, caPem, log }
    const keys = await createKeyPair()
    const pem = await createRequest(keys, 'chunkserver.dfs')
    const der = Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/gu, ''), 'base64')
    const stranger = dialer.peer(options)
    const { certificatePem } = await stranger.call(methods.join, {
      token: credential.secret,
      certificateRequest: der,
      rack,
    })
    await stranger.close()
    const identity = { certificatePem, privateKeyPem: keys.privateKeyPem }
    const peer = dialer.peer({ ...options, identity })
    const space = { freeBytes: 1e12, chunks: 0 }
    await peer.call(methods.register, { rack, addresses: ['h:1'], totalBytes: 1e12, ...space })
    const beat = {
      ...space,
      usedBytes: 0,
      full: false,
      load: 0,
      deleted: [],
      unconfirmed: [],
      damaged: [],
    }
    timers.push(setInterval(() => void peer.call(methods.heartbeat, beat), 1_000))
  }
  return () => timers.forEach((timer) => clearInterval(timer))
}

function attributes(key: InodeKey, more: Partial<Attributes> = {}): Attributes {
  return key.sealAttributes({
    kind: 1,
    mode: 0o644,
    uid: 0,
    gid: 0,
    rdev: 0,
    size: 0,
    mtime: 1n,
    version: 1,
    contentDigest: manifestDigest(NO_BYTES),
    xattrDigest: NO_XATTRS,
    ...more,
  })
}

async function measureAll(session: MetadataSession, server: number): Promise<void> {
  const { rootInode: root, rootKey } = session
  const key = InodeKey.generate()
  const created = attributes(key)
  const inodes: number[] = []
  // Sealing is the client's cost; it is prepared, so that the server is what is measured.
  const sealed = Array.from({ length: FILES }, (_, i) =>
    rootKey.sealEntry(`file ${i}`, { kind: 1, key }),
  )
  await measure(server, 'ping', READS, () => session.read(methods.ping, {}))
  await measure(server, 'create', FILES, async (i) => {
    const { inode } = await session.mutate(methods.create, {
      parent: root,
      token: sealed[i]?.token ?? NO_BYTES,
      entry: sealed[i]?.entry ?? NO_BYTES,
      attributes: created,
      inline: NO_BYTES,
      hold: false,
    })
    inodes.push(inode.inode)
  })
  await measure(server, 'resolve', READS, (i) =>
    session.read(methods.resolve, {
      base: root,
      tokens: sealed[(i * 7_919) % FILES]?.token ?? NO_BYTES,
      hold: false,
    }),
  )
  await measure(server, 'getInode', READS, (i) =>
    session.read(methods.getInode, { inode: inodes[(i * 7_919) % FILES] ?? 0, hold: false }),
  )
  const plans = new Map<number, { chunk: number; ticket: Uint8Array }>()
  await measure(server, 'plan of 64', FILES / 64, async (i) => {
    const answer = await session.read(methods.plan, {
      count: 64,
      exclude: [],
      chunk: 0,
      ticket: NO_BYTES,
    })
    for (const [n, plan] of answer.plans.entries()) plans.set(i * 64 + n, plan)
  })
  const committed = attributes(key, { size: FILE_BYTES, version: 2 })
  await measure(server, 'commit', Math.floor(FILES / 64) * 64, async (i) => {
    const plan = plans.get(i)
    if (plan === undefined) throw new Error('no plan')
    const extents: Extent[] = [{ chunk: plan.chunk, offset: 0, length: FILE_BYTES, chunkOffset: 0 }]
    await session.mutate(methods.commit, {
      inode: inodes[i] ?? 0,
      attributes: committed,
      truncates: false,
      truncateTo: 0,
      windows: [{ index: 0, extents, digest: windowDigest(extents) }],
      chunks: [{ chunk: plan.chunk, length: FILE_BYTES, servers: [1, 2], ticket: plan.ticket }],
      inline: NO_BYTES,
    })
  })
  await measure(server, 'readWindows', FILES, (i) =>
    session.read(methods.readWindows, { inode: inodes[i] ?? 0, first: 0, count: 1 }),
  )
  await measure(server, 'list of 1000', 100, () =>
    session.read(methods.list, { directory: root, after: NO_BYTES, limit: 1_000 }),
  )
  await measure(server, 'unlink', FILES, (i) =>
    session.mutate(methods.unlink, {
      parent: root,
      token: sealed[i]?.token ?? NO_BYTES,
      directory: false,
    }),
  )
}

/** Runs the whole measurement on a cluster of its own. */
export async function run(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'dfs-bench-'))
  const dir = join(folder, 'metadata')
  command(dir, 'init', '--replicas', '2')
  const server = await serve(dir)
  const dialer = new Dialer({ log })
  try {
    const stop = await joinServers(dir, dialer)
    const invitation = command(dir, 'user', 'add', 'ann')
    const profile = await registerAccount({
      invitation,
      user: 'ann',
      password: 'a password',
      deviceName: 'bench',
    })
    const client = await openClient({ profile, log })
    await measureAll(client.session, server.pid ?? 0)
    await client.close()
    stop()
  } finally {
    await dialer.close()
    server.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  }
}
