/**
 * One user asks for more than the metadata server can do; another one must not feel much of it. Over
 * the real transport, each in a process of its own.
 */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { MetadataSession } from '../../mount/client/api.ts'
import { registerAccount } from '../../mount/client/account.ts'
import type { Profile } from '../../mount/client/profile.ts'
import { methods } from '../../schema/methods.ts'
import { Dialer } from '../../schema/quic/dialer.ts'
import { formatCredential } from '../../schema/wire/credential.ts'
import { admissionBounds } from '../../server/metadata/admission.ts'
import { clusterPaths, initCluster, readIdentity } from '../../server/metadata/cluster-files.ts'
import { METADATA_NAME } from '../../server/metadata/peer-names.ts'
import { startMetadataServer } from '../../server/metadata/start.ts'
import { createFile, listNames, MetadataProcess, openSession } from '../support/client-metadata.ts'
import type { FloodReport } from '../support/flood-worker.ts'
import { silent, until } from '../support/transport.ts'

const SESSIONS = 3
const IN_FLIGHT = 900
const FLOOD_MS = 4_000
const worker = fileURLToPath(new URL('../support/flood-worker.js', import.meta.url))

interface Flood {
  end(): Promise<FloodReport>
}

async function flood(t: Test, profile: Profile): Promise<Flood> {
  const path = join(t.testdir(), 'profile.json')
  writeFileSync(path, JSON.stringify(profile))
  const child = spawn(process.execPath, [worker, path, String(SESSIONS), String(IN_FLIGHT)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  let text = ''
  child.stdout.on('data', (bytes: Buffer) => (text += bytes.toString()))
  if (!(await until(() => text.includes('flooding'), 20_000))) throw new Error('no flood')
  return {
    async end() {
      child.stdin.write('\n')
      await until(() => text.includes('}'), 60_000)
      return JSON.parse(text.slice(text.indexOf('{'))) as FloodReport
    },
  }
}

/** Median milliseconds of one request at a time, alternating between reading and creating. */
async function median(session: MetadataSession, forMs: number, round: string): Promise<number> {
  const latencies: number[] = []
  const endMs = performance.now() + forMs
  for (let i = 0; performance.now() < endMs; i++) {
    const startedMs = performance.now()
    if (i % 2 === 0) {
      await session.read(methods.getInode, { inode: session.rootInode, hold: false })
    } else await createFile(session, `${round} ${i}`)
    latencies.push(performance.now() - startedMs)
  }
  latencies.sort((a, b) => a - b)
  return latencies[Math.floor(latencies.length / 2)] ?? Number.NaN
}

t.test('a user is served while another one floods', { timeout: 100_000 }, async (t) => {
  const metadata = await MetadataProcess.start(t)
  const ann = await metadata.register('ann', 'a password')
  const bob = await metadata.register('bob', 'a password')
  const session = await openSession(t, bob)
  const idleMs = await median(session, FLOOD_MS / 4, 'idle')
  const flooding = await flood(t, ann)
  const busyMs = await median(session, FLOOD_MS, 'busy')
  const report = await flooding.end()
  t.comment(`idle ${idleMs.toFixed(1)} ms, beside the flood ${busyMs.toFixed(1)} ms`, report)
  // One process asks for both, so some of the wait is its own: without shares it would be the same wait.
  t.ok(busyMs < report.medianMs / 2, 'waits for a part of what the flood waits for')
  t.ok(report.answered > 0, 'the flood is served, too')
  t.equal(report.failed, 0, 'and what was refused came again, after a pause')
})

/** Adds a user at a server in this process. */
async function invite(t: Test, dir: string, address: string, user: string): Promise<string> {
  const { authority, admin } = clusterPaths(dir)
  const { certificatePem: caPem } = await readIdentity(authority)
  const dialer = new Dialer({ log: silent })
  t.teardown(() => dialer.close())
  const peer = dialer.peer({
    addresses: [address],
    serverName: METADATA_NAME,
    caPem,
    identity: await readIdentity(admin),
    log: silent,
  })
  const request = { user, quotaBytes: 0, validSeconds: 0 }
  const { invitation: secret } = await peer.call(methods.addUser, request)
  return formatCredential({ kind: 'invitation', addresses: [address], secret, caPem })
}

t.test('what is refused for want of room comes again, and is done', async (t) => {
  const dir = join(t.testdir(), 'metadata')
  await initCluster({ dir, replicas: 2, writeQuorum: 2 })
  const lines: string[] = []
  const log = { ...silent, warn: (_: object, message: string) => lines.push(message) }
  const bounds = { ...admissionBounds, running: 4, waitingPerUser: 8 }
  const server = await startMetadataServer({
    dir,
    listen: '127.0.0.1:0',
    log,
    admission: bounds,
    onFailure(error) {
      throw error
    },
  })
  t.teardown(() => server.stop())
  const invitation = await invite(t, dir, server.address, 'ann')
  const more = { user: 'ann', password: 'a password', deviceName: 'test' }
  const session = await openSession(t, await registerAccount({ invitation, ...more }))
  const names = Array.from({ length: 200 }, (_, i) => `file ${i}`)
  await Promise.all(names.map(async (name) => createFile(session, name)))
  t.match(lines.join(), /requests are refused/, 'some were refused')
  t.strictSame(new Set(await listNames(session)), new Set(names))
})
