/**
 * The keys that tickets are checked with, as the metadata server last named them. They stay good
 * while it is away.
 */
import { createSecretKey, type KeyObject } from 'node:crypto'
import type { TicketKey } from '../../schema/generated/cluster.ts'
import { verifyTicket, type Rights, type TicketClaims } from '../ticket.ts'

export class TicketKeys {
  #keys = new Map<number, KeyObject>()
  #refused = 0
  readonly #nowMs: () => number

  /** `nowMs` tells the time, in ms since 1970. */
  constructor(nowMs: () => number = Date.now) {
    this.#nowMs = nowMs
  }

  /** Takes the list that a heartbeat brought; an empty one changes nothing. */
  update(list: readonly TicketKey[]): void {
    if (list.length === 0) return
    const keys = new Map<number, KeyObject>()
    for (const { id, secret } of list) keys.set(id, createSecretKey(secret))
    this.#keys = keys
  }

  /** Tickets refused since the start. */
  get refused(): number {
    return this.#refused
  }

  /** Throws `ticketInvalid` or `ticketExpired`. */
  verify(ticket: Uint8Array, chunk: number, rights: Rights): TicketClaims {
    try {
      return verifyTicket(ticket, { chunk, rights }, (id) => this.#keys.get(id), this.#nowMs())
    } catch (error) {
      this.#refused++
      throw error
    }
  }
}
