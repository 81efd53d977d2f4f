/**
 * A metadata server's talk with its standby while that does not follow: each tells the other its epoch,
 * so that an old server that comes back learns that its standby was promoted, from either side.
 */
import { methods } from '../../../schema/methods.ts'
import type { Peer, PeerOptions } from '../../../schema/quic/api.ts'
import type { Log, TlsIdentity } from '../../../schema/rpc/api.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { METADATA_NAME } from '../peer-names.ts'
import type { CommitLog } from './commit-log.ts'
import type { Primary } from './primary.ts'

/** Milliseconds from one turn to the next, and for one answer. */
const TURN_MS = 250
const ANSWER_MS = 2_000
/** Turns from one question to the next. */
const ASK_EVERY = 8

export interface ContactOptions {
  readonly primary: Primary
  readonly commitLog: CommitLog
  readonly dialer: { peer(options: PeerOptions): Peer }
  readonly identity: TlsIdentity
  readonly caPem: string
  readonly log: Log
}

export class Contact {
  readonly #options: ContactOptions
  #peer: Peer | undefined
  #addresses = ''
  #timer: NodeJS.Timeout | undefined
  #asking: Promise<void> | undefined
  #turns = 0

  constructor(options: ContactOptions) {
    this.#options = options
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#options.primary.tick()
      if (this.#turns++ % ASK_EVERY !== 0) return
      this.#asking ??= this.ask().finally(() => (this.#asking = undefined))
    }, TURN_MS)
    this.#timer.unref()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#peer?.close()
    await this.#asking
  }

  /** Asks the standby, when there is one and it does not follow, which epoch it knows. */
  async ask(): Promise<void> {
    const { primary, commitLog, log } = this.#options
    const { standby, connected, superseded } = commitLog
    if (standby === undefined || connected || superseded !== undefined) return
    const peer = await this.#peerAt(standby.addresses)
    if (peer === undefined) return
    try {
      const request = { ...primary.epoch }
      const deadlineMs = ANSWER_MS
      await primary.heard(await peer.call(methods.replicationStatus, request, { deadlineMs }))
    } catch (error) {
      if (!(error instanceof DfsError)) throw error
      log.debug({ code: error.code, detail: error.message }, 'the standby does not answer')
    }
  }

  async #peerAt(addresses: readonly string[]): Promise<Peer | undefined> {
    const { dialer, identity, caPem, log } = this.#options
    if (addresses.length === 0) return undefined
    if (this.#addresses !== addresses.join(' ')) {
      this.#addresses = addresses.join(' ')
      await this.#peer?.close()
      this.#peer = dialer.peer({ addresses, serverName: METADATA_NAME, caPem, identity, log })
    }
    return this.#peer
  }
}
