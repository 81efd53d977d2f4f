/**
 * Addresses as text: `host:port`, IPv6 hosts in brackets.
 */
import { isIPv6 } from 'node:net'
import { DfsError } from '../wire/status.ts'

const PORT_MAX = 65_535

export interface HostPort {
  readonly host: string
  readonly port: number
}

/** Throws DfsError `invalidArgument` for anything but `host:port` or `[ipv6]:port`. */
export function parseAddress(text: string): HostPort {
  const match = /^(?:\[([0-9a-fA-F:.%\w]+)\]|([^:[\]\s]+)):(\d{1,5})$/u.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host === undefined || !(port <= PORT_MAX)) {
    throw new DfsError(
      'invalidArgument',
      `"${text}" is not an address; write host:port, an IPv6 host in brackets: [::1]:4433`,
    )
  }
  return { host, port }
}

export function formatAddress({ host, port }: HostPort): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}
