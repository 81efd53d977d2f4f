/**
 * The metadata servers that a client knows: where they are, and the highest epoch that one of them has
 * told. A server of a lower epoch has been replaced and is not listened to.
 */
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'

/** Addresses kept: two servers with several each, and some of before. */
const ADDRESSES_MAX = 16

/** What is worth keeping in the profile. */
export interface ServersKnown {
  readonly addresses: readonly string[]
  readonly epoch: number
  readonly epochProof: Uint8Array
}

export class KnownServers {
  #known: ServersKnown
  readonly #onChange: (known: ServersKnown) => void

  constructor(known: ServersKnown, onChange: (known: ServersKnown) => void) {
    this.#known = known
    this.#onChange = onChange
  }

  get known(): ServersKnown {
    return this.#known
  }

  /** A server proved its epoch; throws `notPrimary` when another had proved a higher one. */
  epochTold(epoch: number, epochProof: Uint8Array): void {
    if (epoch < this.#known.epoch) {
      const detail = `this metadata server is of epoch ${epoch}; one of epoch ${this.#known.epoch} took its place`
      throw new DfsError('notPrimary', detail)
    }
    if (epoch > this.#known.epoch) this.#change({ ...this.#known, epoch, epochProof })
  }

  /** A server says where metadata servers are. Known addresses stay: we have reached one by them. */
  addressesTold(told: readonly string[]): void {
    const { addresses } = this.#known
    const usable = told.filter(
      (address) => address.includes(':') && Buffer.byteLength(address) <= limits.addressBytesMax,
    )
    const fresh = usable.filter((address) => !addresses.includes(address))
    if (fresh.length === 0) return
    const all = [...addresses, ...fresh]
    const old = all.filter((address) => !usable.includes(address))
    const dropped = new Set(old.slice(0, Math.max(0, all.length - ADDRESSES_MAX)))
    const kept = all.filter((address) => !dropped.has(address)).slice(0, ADDRESSES_MAX)
    this.#change({ ...this.#known, addresses: kept })
  }

  #change(known: ServersKnown): void {
    this.#known = known
    this.#onChange(known)
  }
}
