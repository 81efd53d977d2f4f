/**
 * Another user of the same metadata server, in a process of his own: asks one thing after the other,
 * with pauses, while the benchmark keeps the server busy, and tells how long he waited.
 *
 * Run as a process with a profile's file as its argument; the figures go out with the last message.
 */
import { fork } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { MetadataSession } from '../../../mount/client/api.ts'
import { openClient } from '../../../mount/client/open.ts'
import type { Profile } from '../../../mount/client/profile.ts'
import { methods } from '../../../schema/methods.ts'
import { attributes, entry, Kind, NO_BYTES, token } from './sealed-bytes.ts'
import { log } from './cluster.ts'

/** Milliseconds between an answer and the next question. */
const PAUSE_MS = 5
/** One in so many questions changes something. */
const CHANGES = 4

interface Waits {
  readonly reads: number[]
  readonly changes: number[]
}

/** Has the neighbour ask until `end` is called, which prints what he met. */
export async function neighbour(profileFile: string): Promise<{ end(): Promise<void> }> {
  const child = fork(fileURLToPath(import.meta.url), [profileFile])
  const message = (): Promise<Waits> =>
    new Promise((resolve, reject) => {
      child.once('message', (waits) => resolve(waits as Waits))
      child.once('exit', () => reject(new Error('the neighbour ended')))
    })
  await message()
  return {
    async end() {
      const waits = message()
      child.send('end')
      const { reads, changes } = await waits
      console.log(`another user meanwhile: getattr ${summary(reads)}; create ${summary(changes)}`)
    },
  }
}

function summary(waits: number[]): string {
  const sorted = Float64Array.from(waits).sort()
  const at = (part: number): string =>
    (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0).toFixed(1)
  return `median ${at(0.5)}, p99 ${at(0.99)}, max ${at(1)} ms (${waits.length})`
}

async function ask(session: MetadataSession, waits: Waits, i: number): Promise<void> {
  const startedMs = performance.now()
  if (i % CHANGES === 0) {
    await session.mutate(methods.create, {
      parent: session.rootInode,
      token: token('new', Date.now() * 1_000 + (i % 1_000)),
      entry: entry(),
      attributes: attributes(Kind.file),
      inline: NO_BYTES,
      hold: false,
    })
    waits.changes.push(performance.now() - startedMs)
  } else {
    await session.read(methods.getInode, { inode: session.rootInode, hold: false })
    waits.reads.push(performance.now() - startedMs)
  }
}

async function run(profileFile: string): Promise<void> {
  const profile = JSON.parse(readFileSync(profileFile, 'utf8')) as Profile
  const client = await openClient({ profile, log })
  const waits: Waits = { reads: [], changes: [] }
  let ended = false
  process.once('message', () => (ended = true))
  const isOver = (): boolean => ended
  await ask(client.session, { reads: [], changes: [] }, 0)
  process.send?.(waits)
  for (let i = 0; !isOver(); i++) {
    await ask(client.session, waits, i)
    await sleep(PAUSE_MS)
  }
  process.send?.(waits)
  await client.close()
  process.disconnect()
}

const [, script, file] = process.argv
if (script === fileURLToPath(import.meta.url) && file !== undefined) await run(file)
