/**
 * Epochs and their proofs. A cluster's epoch counts the promotions of standbys; of two metadata
 * servers the one of the higher epoch is right, and the other serves no more once it hears of it.
 *
 * Whoever tells an epoch shows a signature by the cluster's authority, whose key only metadata servers
 * have: no client or chunkserver can invent one to stop the cluster.
 */
import { sign, verify, X509Certificate } from 'node:crypto'
import { DfsError } from '../../../schema/wire/status.ts'
import type { Authority } from '../../identity/certificates.ts'

const PURPOSE = 'dfs epoch v1'
const PROOF_BYTES_MAX = 128

/** The epoch of a cluster whose standby was never promoted. */
export const FIRST_EPOCH = 1

export interface ProvenEpoch {
  readonly epoch: number
  readonly epochProof: Uint8Array
}

export function proveEpoch(
  { privateKeyPem }: Authority,
  cluster: Uint8Array,
  epoch: number,
): ProvenEpoch {
  return { epoch, epochProof: sign('sha256', statement(cluster, epoch), privateKeyPem) }
}

export function isProven(
  { certificatePem }: Pick<Authority, 'certificatePem'>,
  cluster: Uint8Array,
  { epoch, epochProof }: ProvenEpoch,
): boolean {
  if (epochProof.length === 0 || epochProof.length > PROOF_BYTES_MAX) return false
  const { publicKey } = new X509Certificate(certificatePem)
  return verify('sha256', statement(cluster, epoch), publicKey, epochProof)
}

function statement(cluster: Uint8Array, epoch: number): Buffer {
  const number = Buffer.alloc(8)
  number.writeBigUInt64LE(BigInt(epoch))
  return Buffer.concat([Buffer.from(PURPOSE), cluster, number])
}

/** What a server that must not serve any more answers. */
export function superseded(epoch: number): DfsError {
  return new DfsError(
    'notPrimary',
    `another metadata server was promoted (epoch ${epoch}); this one serves no more`,
  )
}
