/**
 * Nothing is answered while this server may not be the right one, or while its synchronous standby
 * lacks what it had at its start.
 */
import type { Method, Service } from '../../../schema/rpc/api.ts'
import type { CommitLog } from './commit-log.ts'

/** A service whose handlers run only while the log lets them. */
export function gated(service: Service, log: CommitLog): Service {
  return {
    handle<Q, R>(method: Method<Q, R>, handler: Parameters<typeof service.handle<Q, R>>[1]): void {
      service.handle<Q, R>(method, (request, call) => {
        const refusal = log.refusal()
        if (refusal !== undefined) throw refusal
        return handler(request, call)
      })
    },
  }
}
