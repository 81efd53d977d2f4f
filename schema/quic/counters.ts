/**
 * What a listener has turned away, for metrics: strangers by kind, requests by status.
 */
import type { StatusName } from '../wire/status.ts'
import type { ListenerStats } from './api.ts'

export class Counters {
  /** Datagrams of no connection that were not the start of one either. */
  ignoredDatagrams = 0
  retriesSent = 0
  versionsNegotiated = 0
  connectionsRefused = 0
  connectionsAccepted = 0
  unknownAnswers = 0
  readonly #errors = new Map<StatusName, number>()

  count(status: StatusName): void {
    this.#errors.set(status, (this.#errors.get(status) ?? 0) + 1)
  }

  snapshot(connections: number, handshakes: number): ListenerStats {
    return {
      connections,
      handshakes,
      connectionsAccepted: this.connectionsAccepted,
      connectionsRefused: this.connectionsRefused,
      retriesSent: this.retriesSent,
      versionsNegotiated: this.versionsNegotiated,
      ignoredDatagrams: this.ignoredDatagrams,
      unknownAnswers: this.unknownAnswers,
      requestErrors: Object.fromEntries(this.#errors),
    }
  }
}
