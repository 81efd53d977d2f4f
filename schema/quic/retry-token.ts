/**
 * Retry tokens: proof that a client receives at the address it sends from, without state here.
 *
 *     token = expiry (ms, u48) | original destination id | HMAC-SHA-256 of both and the address
 *
 * The key lives as long as the listener; a token of an earlier one is refused, and the client simply
 * connects again.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { HostPort } from './address.ts'

const KEY_BYTES = 32
const EXPIRY_BYTES = 6
const MAC_BYTES = 32
const CONNECTION_ID_BYTES_MAX = 20

export class RetryTokens {
  readonly #key = randomBytes(KEY_BYTES)
  readonly #lifeMs: number

  constructor(lifeMs: number) {
    this.#lifeMs = lifeMs
  }

  issue(originalId: Uint8Array, address: HostPort, nowMs: number): Buffer {
    const body = Buffer.alloc(EXPIRY_BYTES + originalId.length)
    body.writeUIntBE(Math.floor(nowMs) + this.#lifeMs, 0, EXPIRY_BYTES)
    body.set(originalId, EXPIRY_BYTES)
    return Buffer.concat([body, this.#mac(body, address)])
  }

  /** The original destination id, or undefined for a token that is not ours, late, or of others. */
  verify(token: Uint8Array, address: HostPort, nowMs: number): Buffer | undefined {
    const idBytes = token.length - EXPIRY_BYTES - MAC_BYTES
    if (idBytes < 0 || idBytes > CONNECTION_ID_BYTES_MAX) return undefined
    const bytes = Buffer.from(token)
    const body = bytes.subarray(0, EXPIRY_BYTES + idBytes)
    if (!timingSafeEqual(bytes.subarray(body.length), this.#mac(body, address))) return undefined
    if (body.readUIntBE(0, EXPIRY_BYTES) < nowMs) return undefined
    return body.subarray(EXPIRY_BYTES)
  }

  #mac(body: Uint8Array, { host, port }: HostPort): Buffer {
    return createHmac('sha256', this.#key).update(body).update(`${host} ${port}`).digest()
  }
}
