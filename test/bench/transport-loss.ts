/**
 * Long transfers over a link that loses 1 % of its packets, 20 ms there and back, beside node:tls over
 * the system's own TCP on the same link, in turns.
 *
 * Options: --rounds N (5), --mb N (24). Needs root, for network namespaces. Compare the medians of one
 * run; "tls" is whatever the machine's TCP prefers, named in the first line.
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
    options: { rounds: { type: 'string', default: '5' }, mb: { type: 'string', default: '24' } },
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
    network.set('a-b:delay=10,loss=0.01')
    const certificates = await Certificates.create()
    const identity = await certificates.identity(SERVER_NAME)
    const { caPem } = certificates
    const server = network.worker(scope, 'b')
    const client = network.worker(scope, 'a')
    const transport = {}
    const address = await server.ask<string>('listen', { host: SERVER, identity, caPem, transport })
    const port = await server.ask<number>('serveTls', { host: SERVER, identity })
    const bytes = Number(values.mb) * MB
    const control = readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').trim()
    console.log(`${values.mb} MB, 20 ms, 1 % loss; tls over TCP with ${control}; MB/s`)
    const rates = new Map<string, number[]>()
    const measure = async (what: string, operation: string): Promise<void> => {
      const rate = await client.ask<number>(operation, { bytes, deadlineMs: DEADLINE_MS })
      rates.set(what, [...(rates.get(what) ?? []), rate])
    }
    for (let round = 0; round < Number(values.rounds); round++) {
      // Each on a connection of its own, and once more on the same: dfs and its peers keep theirs open.
      await client.ask('connectTls', { host: SERVER, port, caPem })
      await measure('tls', 'uploadTls')
      await measure('tls again', 'uploadTls')
      for (const way of ['upload', 'download']) {
        await client.ask('connect', { addresses: [address], caPem, transport })
        await client.ask('call')
        await measure(way, way)
        await measure(`${way} again`, way)
      }
      const last = [...rates].map(([what, of]) => `${what} ${of.at(-1)?.toFixed(1)}`)
      console.log(`${last.join(', ')}; load ${loadavg()[0]?.toFixed(1)}`)
    }
    for (const [what, of] of rates) console.log(`median ${what}: ${median(of)}`)
  } finally {
    for (const work of cleanups.toReversed()) await work()
  }
}

function median(of: readonly number[]): string {
  return ([...of].sort((a, b) => a - b)[of.length >> 1] ?? Number.NaN).toFixed(1)
}
