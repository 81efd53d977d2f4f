/**
 * Files over a link that loses 1 % of its packets, 20 ms there and back, moved as a mount moves them (a
 * request for each chunk written; 1 MiB at a time, eight ahead, read), beside node:tls over the system's
 * own TCP on the same link, in turns. Each size on a new connection, and once more on the same: dfs keeps
 * its connections.
 *
 * Options: --rounds N (5), --mb N,N,... (4,24,100), --link RULE (delay=10,loss=0.01; see netfault.py).
 * Needs root, for network namespaces. Compare the medians of one run, and look at the load: another busy
 * process costs ours more than TCP. "tls" is whatever the machine's TCP prefers, named in the first line.
 */
import { readFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { Network, networkMissing } from '../support/network.ts'
import { Certificates, SERVER_NAME } from '../support/transport.ts'

const SERVER = '10.77.0.2'
const MB = 1_000_000
const DEADLINE_MS = 120_000

export async function run(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '5' },
      mb: { type: 'string', default: '4,24,100' },
      link: { type: 'string', default: 'delay=10,loss=0.01' },
    },
  })
  const missing = networkMissing()
  if (missing !== undefined) {
    console.log(`not measured: ${missing}`)
    return
  }
  const cleanups: (() => unknown)[] = []
  const scope = { teardown: (work: () => unknown) => void cleanups.push(work) }
  try {
    const network = await Network.up(scope, ['a', 'b'])
    network.set(`a-b:${values.link}`)
    const certificates = await Certificates.create()
    const identity = await certificates.identity(SERVER_NAME)
    const { caPem } = certificates
    const server = network.worker(scope, 'b')
    const client = network.worker(scope, 'a')
    const transport = {}
    const address = await server.ask<string>('listen', { host: SERVER, identity, caPem, transport })
    const port = await server.ask<number>('serveTls', { host: SERVER, identity })
    const control = readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').trim()
    console.log(`${values.link}; tls over TCP with ${control}; MB/s`)
    const rates = new Map<string, number[]>()
    const measure = async (what: string, operation: string, bytes: number): Promise<void> => {
      const rate = await client.ask<number>(operation, { bytes, deadlineMs: DEADLINE_MS })
      rates.set(what, [...(rates.get(what) ?? []), rate])
    }
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const mb of values.mb.split(',')) {
        const bytes = Number(mb) * MB
        await client.ask('connectTls', { host: SERVER, port, caPem })
        await measure(`${mb} MB, tls`, 'uploadTls', bytes)
        await measure(`${mb} MB again, tls`, 'uploadTls', bytes)
        for (const [way, operation] of [
          ['up', 'writeFile'],
          ['down', 'readFile'],
        ] as const) {
          await client.ask('connect', { addresses: [address], caPem, transport })
          await client.ask('call')
          await measure(`${mb} MB, ${way}`, operation, bytes)
          await measure(`${mb} MB again, ${way}`, operation, bytes)
        }
      }
      console.log(`round ${round + 1}; load ${loadavg()[0]?.toFixed(1)}`)
    }
    for (const [what, of] of rates) {
      console.log(`${what}: ${median(of)} (${of.map((rate) => rate.toFixed(0)).join(' ')})`)
    }
  } finally {
    for (const work of cleanups.toReversed()) await work()
  }
}

function median(of: readonly number[]): string {
  return ([...of].sort((a, b) => a - b)[of.length >> 1] ?? Number.NaN).toFixed(1)
}
