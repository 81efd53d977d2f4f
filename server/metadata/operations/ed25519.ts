/**
 * Checks what a device or a recovery code signed.
 */
import { createPublicKey, verify } from 'node:crypto'

/** Whether `signature` over `message` was made with the key whose raw public half is given. */
export function signedBy(
  publicKey: Uint8Array,
  signature: Uint8Array,
  message: Uint8Array,
): boolean {
  const x = Buffer.from(publicKey).toString('base64url')
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  return verify(null, message, key, signature)
}
