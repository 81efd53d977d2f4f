/**
 * The connections that chunkservers registered on, to ask them something: they call, the metadata
 * server calls back.
 */
import type { CallOptions, Connection, Method } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'

export class ServerLinks {
  readonly #connections = new Map<number, Connection>()

  /** A chunkserver registered on a connection; the latest one counts. */
  add(server: number, connection: Connection): void {
    if (this.#connections.get(server) === connection) return
    this.#connections.set(server, connection)
    const forget = (): void => {
      if (this.#connections.get(server) === connection) this.#connections.delete(server)
    }
    connection.closed.then(forget, forget)
  }

  has(server: number): boolean {
    return this.#connections.has(server)
  }

  /** Asks a chunkserver; throws `connectionRefused` when it is not connected, and what it answers. */
  async call<Q, R>(
    server: number,
    method: Method<Q, R>,
    request: Q,
    options?: CallOptions,
  ): Promise<R> {
    const connection = this.#connections.get(server)
    if (connection === undefined) {
      throw new DfsError('connectionRefused', `chunkserver ${server} is not connected`)
    }
    return connection.call(method, request, options)
  }
}
