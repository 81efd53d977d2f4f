/**
 * What a device signs to open a session: bound to the cluster, the server's fresh nonce and the
 * device, so that a proof is good for one session at one cluster. Ed25519 signs these bytes.
 */
const DOMAIN = Buffer.from('dfs session v1\0')

/** Bytes of the server's nonce and of the cluster's id. */
export const NONCE_BYTES = 32
export const CLUSTER_ID_BYTES = 16

/** The message to sign or verify. */
export function sessionProof(cluster: Uint8Array, nonce: Uint8Array, device: number): Uint8Array {
  const tail = Buffer.alloc(4)
  tail.writeUInt32LE(device)
  return Buffer.concat([DOMAIN, cluster, nonce, tail])
}
