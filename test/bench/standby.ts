/**
 * What a standby costs the one who waits: creates over the real transport against a metadata server
 * without a standby, with an asynchronous and with a synchronous one, each a process on this machine.
 * Compare within one run; the servers share its processors and its disk, so two machines do better.
 *
 *   --count N    creates of each measurement, 3000 by default
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { MetadataSession } from '../../mount/client/api.ts'
import { openClient } from '../../mount/client/open.ts'
import { createFile, MetadataProcess } from '../support/client-metadata.ts'
import { log } from './metadata/cluster.ts'

const IN_FLIGHT = [1, 64]
const POLL_MS = 200

/** Measures each mode in turn. */
export async function run(args: readonly string[] = []): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: { count: { type: 'string', default: '3000' } },
  })
  const folder = mkdtempSync(join(tmpdir(), 'dfs-bench-standby-'))
  const primary = new MetadataProcess(join(folder, 'metadata'))
  const standby = new MetadataProcess(join(folder, 'standby'))
  try {
    primary.command('init')
    await primary.serve()
    const profile = await primary.register('ann', 'a password')
    const client = await openClient({ profile, log })
    await measure(client.session, 'alone', Number(values.count))
    const token = join(folder, 'token')
    writeFileSync(token, primary.command('join-token', '--standby'), { mode: 0o600 })
    for (const mode of ['asynchronous', 'synchronous']) {
      const sync = mode === 'synchronous'
      const place = ['--of', primary.address, '--token-file', token]
      await standby.standby(...place, ...(sync ? ['--sync'] : []))
      while (primary.status()['connected'] !== true || primary.status()['waits'] !== sync) {
        await sleep(POLL_MS)
      }
      await measure(client.session, mode, Number(values.count))
      if (!sync) await standby.kill()
    }
    await client.close()
  } finally {
    await primary.kill()
    await standby.kill()
    rmSync(folder, { recursive: true })
  }
}

/** Creates with some under way at a time; prints their rate and latencies. */
async function measure(session: MetadataSession, mode: string, count: number): Promise<void> {
  for (const inFlight of IN_FLIGHT) {
    const calls = inFlight === 1 ? Math.ceil(count / 10) : count
    const latencies: number[] = []
    const startedMs = performance.now()
    const worker = async (): Promise<void> => {
      while (latencies.length < calls) {
        const beganMs = performance.now()
        await createFile(session, `${mode} ${inFlight} ${beganMs} ${Math.random()}`)
        latencies.push(performance.now() - beganMs)
      }
    }
    await Promise.all(Array.from({ length: inFlight }, worker))
    const rate = (latencies.length / (performance.now() - startedMs)) * 1_000
    latencies.sort((a, b) => a - b)
    const at = (part: number): string =>
      (latencies[Math.floor(latencies.length * part)] ?? 0).toFixed(1)
    console.log(
      `${mode.padEnd(13)} ${String(inFlight).padStart(3)} under way ${rate.toFixed(0).padStart(6)}/s   median ${at(0.5)} ms, p99 ${at(0.99)} ms`,
    )
  }
}
