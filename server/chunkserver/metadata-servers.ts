/**
 * The metadata servers as this chunkserver knows them: those it was given, those it was told of, and the
 * highest epoch that one has proven; kept in DIR/metadata.json. A server of a lower epoch has been
 * replaced by the one that this epoch is of, and gets no heartbeats.
 */
import { open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../../schema/rpc/api.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { diskError, syncDirectory } from './disk.ts'

const FILE = 'metadata.json'
const ADDRESSES_MAX = 16

interface Known {
  readonly addresses: readonly string[]
  readonly epoch: number
  readonly epochProof: Uint8Array
}

export class MetadataServers {
  readonly #directory: string
  readonly #log: Log
  readonly #given: readonly string[]
  #known: Known
  #writing: Promise<void> = Promise.resolve()

  private constructor(directory: string, given: readonly string[], known: Known, log: Log) {
    this.#directory = directory
    this.#given = given
    this.#known = known
    this.#log = log
  }

  /** `given`: the addresses of the command line. Throws `diskFailed` when the file cannot be read. */
  static async load(
    directory: string,
    given: readonly string[],
    log: Log,
  ): Promise<MetadataServers> {
    const path = join(directory, FILE)
    try {
      return new MetadataServers(directory, given, parse(await readFile(path, 'utf8')), log)
    } catch (error) {
      if (error instanceof SyntaxError) {
        log.warn({ path }, 'not readable; going by the command line')
      } else if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        throw diskError('read', path, error)
      }
      return new MetadataServers(directory, given, NOTHING, log)
    }
  }

  get addresses(): readonly string[] {
    return [...new Set([...this.#given, ...this.#known.addresses])].slice(0, ADDRESSES_MAX)
  }

  get epoch(): Pick<Known, 'epoch' | 'epochProof'> {
    const { epoch, epochProof } = this.#known
    return { epoch, epochProof }
  }

  /** A server told its epoch; throws `notPrimary` when another has told a higher one. */
  epochTold(epoch: number, epochProof: Uint8Array): void {
    if (epoch < this.#known.epoch) {
      const detail = `this metadata server is of epoch ${epoch}; one of epoch ${this.#known.epoch} took its place`
      throw new DfsError('notPrimary', detail)
    }
    if (epoch > this.#known.epoch) this.#keep({ ...this.#known, epoch, epochProof })
  }

  /** Where the metadata servers are, by the one that serves. */
  addressesTold(told: readonly string[]): void {
    const addresses = told
      .filter((address) => Buffer.byteLength(address) <= limits.addressBytesMax)
      .slice(0, ADDRESSES_MAX)
    if (addresses.length === 0 || addresses.join(' ') === this.#known.addresses.join(' ')) return
    this.#keep({ ...this.#known, addresses })
  }

  /** Resolves when what is known is on disk. */
  async settle(): Promise<void> {
    await this.#writing
  }

  #keep(known: Known): void {
    this.#known = known
    this.#writing = this.#writing
      .then(() => write(this.#directory, known))
      .catch((error: unknown) => {
        this.#log.warn({ err: error }, 'the metadata servers could not be written down')
      })
  }
}

const NOTHING: Known = { addresses: [], epoch: 0, epochProof: new Uint8Array(0) }

function parse(text: string): Known {
  const { addresses, epoch, epochProof } = JSON.parse(text) as Record<string, unknown>
  return {
    addresses: Array.isArray(addresses) ? addresses.filter((one) => typeof one === 'string') : [],
    epoch: Number.isSafeInteger(epoch) ? (epoch as number) : 0,
    epochProof: Buffer.from(typeof epochProof === 'string' ? epochProof : '', 'base64'),
  }
}

async function write(directory: string, { addresses, epoch, epochProof }: Known): Promise<void> {
  const path = join(directory, FILE)
  const proof = Buffer.from(epochProof).toString('base64')
  const handle = await open(`${path}.new`, 'w', 0o600)
  try {
    await handle.writeFile(`${JSON.stringify({ addresses, epoch, epochProof: proof })}\n`)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(`${path}.new`, path)
  await syncDirectory(directory)
}
