/**
 * What a device signs to open a session, and what a recovery code's key signs to get at an account:
 * bound to the cluster, the server's fresh nonce and the device or user, so that a proof is good once
 * at one cluster. Ed25519 signs these bytes.
 */
const DOMAIN = Buffer.from('dfs session v1\0')
const RECOVERY_DOMAIN = Buffer.from('dfs recovery v1\0')

/** Bytes of the server's nonce and of the cluster's id. */
export const NONCE_BYTES = 32
export const CLUSTER_ID_BYTES = 16

/** The message to sign or verify. */
export function sessionProof(cluster: Uint8Array, nonce: Uint8Array, device: number): Uint8Array {
  const tail = Buffer.alloc(4)
  tail.writeUInt32LE(device)
  return Buffer.concat([DOMAIN, cluster, nonce, tail])
}

/** The message with which the recovery code of `user` proves itself. */
export function recoveryProof(cluster: Uint8Array, nonce: Uint8Array, user: string): Uint8Array {
  return Buffer.concat([RECOVERY_DOMAIN, cluster, nonce, Buffer.from(user)])
}
