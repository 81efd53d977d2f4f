/**
 * Tickets: the metadata server's word that a user may read or write one chunk until a moment.
 *
 * A chunkserver decides alone and offline, with a key it got in a heartbeat. A write ticket is also
 * the proof, at commit, that the chunk was planned for that user. Clients see opaque bytes.
 *
 * Form, little-endian: u8 version 1, u8 rights, u16 zero, u32 key id, u32 user, u32 zero, u64 chunk,
 * u64 expiry in ms since 1970, then HMAC-SHA-256 over all of that.
 */
import { createHmac, timingSafeEqual, type KeyObject } from 'node:crypto'
import { DfsError } from '../schema/wire/status.ts'

const VERSION = 1
const HEAD_BYTES = 32
const MAC_BYTES = 32
export const TICKET_BYTES = HEAD_BYTES + MAC_BYTES

export const Rights = { read: 1, write: 2 } as const
export type Rights = (typeof Rights)[keyof typeof Rights]

export interface TicketClaims {
  readonly rights: Rights
  readonly keyId: number
  readonly user: number
  readonly chunk: number
  /** Milliseconds since 1970. */
  readonly expiresMs: number
}

/** Makes a ticket; `key` is the HMAC key whose id the claims name. */
export function issueTicket(claims: TicketClaims, key: KeyObject): Uint8Array {
  const ticket = Buffer.alloc(TICKET_BYTES)
  ticket.writeUInt8(VERSION, 0)
  ticket.writeUInt8(claims.rights, 1)
  ticket.writeUInt32LE(claims.keyId, 4)
  ticket.writeUInt32LE(claims.user, 8)
  ticket.writeBigUInt64LE(BigInt(claims.chunk), 16)
  ticket.writeBigUInt64LE(BigInt(claims.expiresMs), 24)
  mac(ticket, key).copy(ticket, HEAD_BYTES)
  return ticket
}

/**
 * Checks a ticket for a chunk and a right, and returns who holds it.
 * Throws `ticketInvalid` (forged, foreign, unknown key, other chunk or right) or `ticketExpired`.
 */
export function verifyTicket(
  ticket: Uint8Array,
  wanted: { readonly chunk: number; readonly rights: Rights },
  keyOf: (keyId: number) => KeyObject | undefined,
  nowMs: number,
): TicketClaims {
  const about = `ticket for chunk ${wanted.chunk}`
  if (ticket.length !== TICKET_BYTES || ticket[0] !== VERSION) {
    throw new DfsError('ticketInvalid', `${about}: not a ticket of version ${VERSION}`)
  }
  const bytes = Buffer.from(ticket.buffer, ticket.byteOffset, ticket.byteLength)
  const keyId = bytes.readUInt32LE(4)
  const key = keyOf(keyId)
  if (key === undefined) throw new DfsError('ticketInvalid', `${about}: key ${keyId} is not known`)
  if (!timingSafeEqual(mac(bytes, key), bytes.subarray(HEAD_BYTES))) {
    throw new DfsError('ticketInvalid', `${about}: wrong MAC`)
  }
  const claims = {
    rights: bytes.readUInt8(1) as Rights,
    keyId,
    user: bytes.readUInt32LE(8),
    chunk: Number(bytes.readBigUInt64LE(16)),
    expiresMs: Number(bytes.readBigUInt64LE(24)),
  }
  if (claims.chunk !== wanted.chunk || claims.rights !== wanted.rights) {
    throw new DfsError('ticketInvalid', `${about}: given for another chunk or right`)
  }
  if (nowMs > claims.expiresMs) throw new DfsError('ticketExpired', `${about}: expired`)
  return claims
}

function mac(ticket: Buffer, key: KeyObject): Buffer {
  return createHmac('sha256', key).update(ticket.subarray(0, HEAD_BYTES)).digest()
}
