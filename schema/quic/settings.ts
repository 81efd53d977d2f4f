/**
 * The transport's settings, checked and completed.
 */
import { join } from 'node:path'
import { DfsError } from '../wire/status.ts'
import type { TransportSettings } from './api.ts'
import { interfaceDatagramBytes, isThisMachine } from './datagram-size.ts'
import { quicLimits } from './limits.ts'

/** Keep-alives in one idle limit: three may be lost. */
const KEEP_ALIVES_PER_IDLE = 4

export class Settings {
  readonly congestion: 'cubic' | 'reno' | 'bbr'
  readonly keylogDirectory: string | undefined
  readonly idleMs: number
  readonly keepAliveMs: number
  readonly connectionsMax: number
  readonly connectionsPerAddressMax: number
  /** Set when every datagram has this size. */
  readonly fixedDatagramBytes: number | undefined
  #keylogs = 0

  /** Throws DfsError `invalidArgument` for a setting out of range. */
  constructor(given: TransportSettings = {}) {
    const { datagramBytes } = given
    const { datagramBytesMin, datagramBytesMax } = quicLimits
    if (
      datagramBytes !== undefined &&
      !(datagramBytes >= datagramBytesMin && datagramBytes <= datagramBytesMax)
    ) {
      throw new DfsError(
        'invalidArgument',
        `datagramBytes is ${datagramBytes}; it must be ${datagramBytesMin} to ${datagramBytesMax}`,
      )
    }
    this.fixedDatagramBytes = datagramBytes
    this.congestion = given.congestion ?? 'bbr'
    this.keylogDirectory = given.keylogDirectory
    this.idleMs = given.idleMs ?? quicLimits.idleMs
    this.connectionsMax = given.connectionsMax ?? quicLimits.connectionsMax
    this.connectionsPerAddressMax =
      given.connectionsPerAddressMax ?? quicLimits.connectionsPerAddressMax
    this.keepAliveMs = Math.min(quicLimits.keepAliveMs, this.idleMs / KEEP_ALIVES_PER_IDLE)
  }

  /** Largest datagram that is worth trying towards a numeric address, bytes. */
  datagramBytesMax(host: string): number {
    return this.fixedDatagramBytes ?? interfaceDatagramBytes(host)
  }

  /** Whether datagrams to the address need no probing: the size is fixed, or they stay on this machine. */
  sizeKnown(host: string): boolean {
    return this.fixedDatagramBytes !== undefined || isThisMachine(host)
  }

  /** A file of its own for the next connection's keys, or undefined when they are not wanted. */
  nextKeylog(role: string): string | undefined {
    if (this.keylogDirectory === undefined) return undefined
    return join(this.keylogDirectory, `${role}-${process.pid}-${++this.#keylogs}.keys`)
  }
}
