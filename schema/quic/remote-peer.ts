/**
 * Who is at the other end, for handlers and logs; follows the peer when its address changes.
 */
import type { PeerIdentity } from '../rpc/api.ts'
import { formatAddress, type HostPort } from './address.ts'

export class RemotePeer implements PeerIdentity {
  /** By the verified certificate; undefined before the handshake's end and without one. */
  name: string | undefined
  remote: HostPort

  constructor(remote: HostPort) {
    this.remote = remote
  }

  get address(): string {
    return formatAddress(this.remote)
  }

  /** For messages; `expected` is the name it should have. */
  describe(expected: string | undefined): string {
    const name = expected ?? this.name
    return name === undefined ? this.address : `${name} at ${this.address}`
  }

  toJSON(): { name: string | undefined; address: string } {
    return { name: this.name, address: this.address }
  }
}
