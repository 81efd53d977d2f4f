/**
 * Datagrams into and out of one quiche connection, and where its peer is: quiche says when the peer has
 * moved, by where it sends to after a datagram came from another address.
 */
import type { Connection as Native, RecvInfo } from '@matrixai/quic/native/types.js'
import type { HostPort } from './address.ts'
import type { RemotePeer } from './remote-peer.ts'

export class NativeDatagrams {
  readonly #native: Native
  readonly #peer: RemotePeer
  #recvInfo: RecvInfo
  /** A datagram came from another address: see where quiche sends from now on. */
  #moved = false

  constructor(native: Native, peer: RemotePeer, local: HostPort) {
    this.#native = native
    this.#peer = peer
    this.#recvInfo = { from: { ...peer.remote }, to: { ...local } }
  }

  receive(datagram: Buffer, from: HostPort): void {
    const info = this.#recvInfo
    const { host, port } = info.from
    const expected = from.port === port && from.host === host
    try {
      if (expected) {
        this.#native.recv(datagram, info)
      } else {
        // The peer's address changed: quiche validates the new path before it sends much there.
        this.#native.recv(datagram, {
          from: { host: from.host, port: from.port },
          to: info.to,
        })
        this.#dropPathEvents()
        this.#moved = true
      }
    } catch {
      // Datagrams that are not for us or damaged; fatal errors show as a closed connection.
    }
  }

  /** Writes the next datagram into `buffer`; null when there is none. */
  next(buffer: Buffer): ReturnType<Native['send']> {
    let out: ReturnType<Native['send']>
    try {
      out = this.#native.send(buffer)
    } catch {
      // A fatal error of the protocol: quiche is closed, which the turn notices.
      return null
    }
    if (out !== null && this.#moved) this.#follow(out[1].to)
    return out
  }

  #follow(to: HostPort): void {
    this.#moved = false
    const { remote } = this.#peer
    if (to.port === remote.port && to.host === remote.host) return
    this.#peer.remote = { host: to.host, port: to.port }
    this.#recvInfo = { from: { ...this.#peer.remote }, to: this.#recvInfo.to }
  }

  #dropPathEvents(): void {
    // Typed as never absent, but null after the last.
    let event: unknown
    do event = this.#native.pathEventNext()
    while (event !== null)
  }
}
