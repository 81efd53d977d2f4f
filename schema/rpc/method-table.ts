/**
 * The methods that one side of a connection serves, by id.
 */
import { invariant } from '../wire/invariant.ts'
import type { Handler, Method, Service } from './api.ts'

/** A registered method; the session never looks into its messages. */
export interface ServedMethod {
  readonly method: Method<unknown, unknown>
  readonly handler: Handler<unknown, unknown>
}

export class MethodTable implements Service {
  readonly #rows = new Map<number, ServedMethod>()

  handle<Q, R>(method: Method<Q, R>, handler: Handler<Q, R>): void {
    const taken = this.#rows.get(method.id)
    invariant(
      taken === undefined,
      `method id ${method.id} of ${method.name} is registered already, for ${taken?.method.name}`,
    )
    this.#rows.set(method.id, {
      method,
      handler: handler as Handler<unknown, unknown>,
    })
  }

  find(id: number): ServedMethod | undefined {
    return this.#rows.get(id)
  }
}
