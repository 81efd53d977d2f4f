/**
 * How large a datagram the way to an address may be, as far as this machine knows.
 *
 * Loopback and this machine's own addresses take the largest; for others the MTU of the interface
 * that the routing table names. A path may carry less than its ends: see path-probe.ts.
 */
import { readFileSync } from 'node:fs'
import { isIPv6 } from 'node:net'
import { networkInterfaces } from 'node:os'
import { quicLimits } from './limits.ts'

const IPV4_HEADERS_BYTES = 28
const IPV6_HEADERS_BYTES = 48
const ETHERNET_MTU = 1_500
const LOOPBACK = 'lo'
/** Routes and interfaces change rarely; looking is a few file reads. */
const REMEMBERED_MS = 10_000

interface Route {
  readonly device: string
  readonly destination: number
  readonly mask: number
}

interface Known {
  readonly atMs: number
  readonly own: ReadonlySet<string>
  readonly routes: readonly Route[]
  readonly mtus: Map<string, number>
}

let known: Known | undefined

/** Largest datagram, bytes, that the interface towards `host` (a numeric address) takes whole. */
export function interfaceDatagramBytes(host: string): number {
  known ??= look()
  if (performance.now() - known.atMs > REMEMBERED_MS) known = look()
  const headers =
    isIPv6(host) && !host.startsWith('::ffff:') ? IPV6_HEADERS_BYTES : IPV4_HEADERS_BYTES
  const bytes = mtuOf(known, deviceTowards(known, host)) - headers
  return Math.max(quicLimits.datagramBytesMin, Math.min(bytes, quicLimits.datagramBytesMax))
}

/** Whether datagrams to `host` never leave this machine. */
export function isThisMachine(host: string): boolean {
  known ??= look()
  return isLocal(known, host)
}

function look(): Known {
  const own = new Set<string>()
  for (const addresses of Object.values(networkInterfaces())) {
    for (const { address } of addresses ?? []) own.add(address)
  }
  return { atMs: performance.now(), own, routes: readRoutes(), mtus: new Map() }
}

function isLocal({ own }: Known, host: string): boolean {
  const plain = host.startsWith('::ffff:') ? host.slice('::ffff:'.length) : host
  return plain.startsWith('127.') || plain === '::1' || own.has(plain)
}

function deviceTowards(facts: Known, host: string): string | undefined {
  if (isLocal(facts, host)) return LOOPBACK
  const plain = host.startsWith('::ffff:') ? host.slice('::ffff:'.length) : host
  if (isIPv6(plain)) return undefined
  const address = ipv4Number(plain)
  let best: Route | undefined
  for (const route of facts.routes) {
    if ((address & route.mask) >>> 0 !== route.destination) continue
    if (best === undefined || route.mask > best.mask) best = route
  }
  return best?.device
}

/** The MTU of a device; of the smallest that is not loopback when the device is not known. */
function mtuOf(facts: Known, device: string | undefined): number {
  if (device !== undefined) {
    let mtu = facts.mtus.get(device)
    if (mtu === undefined) facts.mtus.set(device, (mtu = readMtu(device)))
    return mtu
  }
  let smallest = Infinity
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    if (addresses?.[0]?.internal === false) smallest = Math.min(smallest, mtuOf(facts, name))
  }
  return smallest === Infinity ? ETHERNET_MTU : smallest
}

function readMtu(device: string): number {
  try {
    return Number(readFileSync(`/sys/class/net/${device}/mtu`, 'utf8')) || ETHERNET_MTU
  } catch {
    return ETHERNET_MTU
  }
}

/** Columns of /proc/net/route, numbers in hexadecimal, addresses in the machine's byte order. */
function readRoutes(): Route[] {
  let text: string
  try {
    text = readFileSync('/proc/net/route', 'utf8')
  } catch {
    return []
  }
  const routes: Route[] = []
  for (const line of text.trim().split('\n').slice(1)) {
    const columns = line.split('\t')
    const [device, destination] = columns
    const mask = columns[7]
    if (device === undefined || destination === undefined || mask === undefined) continue
    routes.push({ device, destination: swapped(destination), mask: swapped(mask) })
  }
  return routes
}

function swapped(hex: string): number {
  return Buffer.from(hex, 'hex').readUInt32LE(0)
}

function ipv4Number(host: string): number {
  return Buffer.from(host.split('.').map(Number)).readUInt32BE(0)
}
