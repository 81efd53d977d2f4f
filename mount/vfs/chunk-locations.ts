/**
 * Where chunks are and the tickets to read them, as the metadata server told last. A ticket that is
 * about to expire is forgotten, so that its user asks again.
 */
import { LRUCache } from 'lru-cache'
import type { ServerAddress } from '../../schema/generated/common.ts'
import type { ChunkLocation, ReadWindowsResponse } from '../../schema/generated/metadata.ts'

/** Chunks whose place is remembered; about 500 bytes each. */
const LOCATIONS_MAX = 32_768
/** A ticket with less left than this is not used: a read may take that long. */
const TICKET_MARGIN_MS = 120_000

export interface LocatedChunk {
  readonly location: ChunkLocation
  readonly servers: readonly ServerAddress[]
}

export class ChunkLocations {
  readonly #located = new LRUCache<number, LocatedChunk>({ max: LOCATIONS_MAX })

  get(chunk: number): LocatedChunk | undefined {
    const located = this.#located.get(chunk)
    if (located === undefined) return undefined
    const leftMs = Number(located.location.expires / 1_000_000n) - Date.now()
    if (leftMs > TICKET_MARGIN_MS) return located
    this.#located.delete(chunk)
    return undefined
  }

  learn({ chunks, servers }: ReadWindowsResponse): void {
    const byId = new Map(servers.map((server) => [server.id, server]))
    for (const location of chunks) {
      const known: ServerAddress[] = []
      for (const id of location.servers) {
        const server = byId.get(id)
        if (server !== undefined) known.push(server)
      }
      this.#located.set(location.chunk, { location, servers: known })
    }
  }

  forget(chunk: number): void {
    this.#located.delete(chunk)
  }
}
