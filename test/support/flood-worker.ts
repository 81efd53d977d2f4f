/**
 * A user who asks without a pause: `node flood-worker.js PROFILE SESSIONS IN_FLIGHT` opens sessions on
 * the profile in a file and keeps so many requests of each under way until it gets a line on stdin.
 * Prints a line when it has begun, and at the end how it went, as JSON.
 */
import { readFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { openClient } from '../../mount/client/open.ts'
import type { Profile } from '../../mount/client/profile.ts'
import { methods } from '../../schema/methods.ts'
import { silent } from './transport.ts'

/** How a flood went. */
export interface FloodReport {
  readonly answered: number
  readonly failed: number
  readonly medianMs: number
}

const [path = '', sessions = '1', inFlight = '1'] = process.argv.slice(2)
const profile = JSON.parse(readFileSync(path, 'utf8')) as Profile
const clients = await Promise.all(
  Array.from({ length: Number(sessions) }, async () => openClient({ profile, log: silent })),
)
const latencies: number[] = []
let failed = 0
const over = new AbortController()
process.stdin.once('data', () => over.abort())
const work = clients.flatMap(({ session }) =>
  Array.from({ length: Number(inFlight) }, async () => {
    while (!over.signal.aborted) {
      const startedMs = performance.now()
      try {
        await session.read(methods.getInode, { inode: session.rootInode, hold: false })
        latencies.push(performance.now() - startedMs)
      } catch {
        failed++
      }
    }
  }),
)
process.stdout.write('flooding\n')
await Promise.all(work)
await Promise.all(clients.map(async (client) => client.close()))
latencies.sort((a, b) => a - b)
const medianMs = latencies[Math.floor(latencies.length / 2)] ?? 0
const report: FloodReport = { answered: latencies.length, failed, medianMs }
process.stdout.write(`${JSON.stringify(report)}\n`)
process.stdin.destroy()
