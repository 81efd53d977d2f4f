/**
 * How full the disk is, and whether new chunks are taken.
 *
 * The reserve keeps room for the index, whose writes must not fail. Measurements are shared by all
 * who ask within a quarter of a second.
 */
import { statfs } from 'node:fs/promises'
import { DfsError } from '../../schema/wire/status.ts'
import { bounds } from './bounds.ts'
import { diskError } from './disk.ts'

export interface Space {
  readonly totalBytes: number
  /** Bytes that chunks may still take, beyond the reserve. */
  readonly freeBytes: number
  /** New chunks are refused. */
  readonly full: boolean
  /** Half of the reserve is used up, too. */
  readonly halfReserve: boolean
}

export class DiskSpace {
  readonly #path: string
  readonly #reserveBytes: number | undefined
  #space: Space = { totalBytes: 0, freeBytes: 0, full: true, halfReserve: true }
  #measuredMs = Number.NEGATIVE_INFINITY
  #measuring: Promise<Space> | undefined

  /** `reserveBytes` undefined: 1 GiB or 1 % of the disk, whichever is smaller; 32 MiB at least. */
  constructor(path: string, reserveBytes: number | undefined) {
    this.#path = path
    this.#reserveBytes = reserveBytes
  }

  /** Throws `diskFailed` when the file system does not answer. */
  measure(): Promise<Space> {
    if (performance.now() - this.#measuredMs < bounds.spaceAgeMs) {
      return Promise.resolve(this.#space)
    }
    this.#measuring ??= this.#measure().finally(() => {
      this.#measuring = undefined
    })
    return this.#measuring
  }

  /** For a chunk that begins: throws `diskFull` when there is no room beyond the reserve. */
  async requireRoom(): Promise<void> {
    if ((await this.measure()).full) throw this.#noRoom()
  }

  /**
   * For a chunk under way: throws `diskFull` when half of the reserve is used up, before the index
   * itself runs out of room.
   */
  async requireHalfReserve(): Promise<void> {
    if ((await this.measure()).halfReserve) throw this.#noRoom()
  }

  #noRoom(): DfsError {
    return new DfsError(
      'diskFull',
      `the disk under ${this.#path} has no room beyond its reserve; add space or servers`,
    )
  }

  async #measure(): Promise<Space> {
    try {
      const { blocks, bavail, bsize } = await statfs(this.#path)
      const totalBytes = blocks * bsize
      const available = bavail * bsize
      const wanted = this.#reserveBytes ?? defaultReserve(totalBytes)
      const reserve = Math.max(wanted, bounds.reserveBytesMin)
      const freeBytes = Math.max(0, available - reserve)
      this.#space = {
        totalBytes,
        freeBytes,
        full: freeBytes === 0,
        halfReserve: available < reserve / 2,
      }
      this.#measuredMs = performance.now()
      return this.#space
    } catch (error) {
      throw diskError('measure', this.#path, error)
    }
  }
}

function defaultReserve(totalBytes: number): number {
  return Math.min(bounds.reserveBytes, Math.floor((totalBytes * bounds.reservePercent) / 100))
}
