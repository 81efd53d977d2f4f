/**
 * The texts that carry trust out of band: an invitation (for a user), a join token (for a
 * chunkserver) and a cluster card (for a login on a further device). Each holds the cluster's CA
 * certificate, so that its holder can verify the servers from the first packet on, and the metadata
 * server's addresses; the first two also a one-time secret.
 *
 * Form: `dfs-<kind>-v1.` and base64url of u8 count of addresses, each u8 length + UTF-8, u8 length +
 * secret, then the CA certificate in DER to the end.
 */
import { DfsError } from './status.ts'

export type CredentialKind = 'invitation' | 'join' | 'cluster'

export interface Credential {
  readonly kind: CredentialKind
  readonly addresses: readonly string[]
  /** Empty for a cluster card. */
  readonly secret: Uint8Array
  readonly caPem: string
}

const ADDRESSES_MAX = 8

/** The text of a credential. */
export function formatCredential({ kind, addresses, secret, caPem }: Credential): string {
  const parts: Uint8Array[] = [Buffer.of(addresses.length)]
  for (const address of addresses) {
    const text = Buffer.from(address)
    parts.push(Buffer.of(text.length), text)
  }
  parts.push(Buffer.of(secret.length), Buffer.from(secret), derOf(caPem))
  return `dfs-${kind}-v1.${Buffer.concat(parts).toString('base64url')}`
}

/** Reads a credential of the expected kind. Throws `tokenInvalid` for anything else. */
export function parseCredential(text: string, kind: CredentialKind): Credential {
  const prefix = `dfs-${kind}-v1.`
  const trimmed = text.trim()
  const refuse = (why: string): DfsError =>
    new DfsError('tokenInvalid', `not a dfs ${kind} text (${why}); it starts with ${prefix}`)
  if (!trimmed.startsWith(prefix)) throw refuse('wrong start')
  const bytes = Buffer.from(trimmed.slice(prefix.length), 'base64url')
  let at = 0
  const take = (count: number): Buffer => {
    if (at + count > bytes.length) throw refuse('cut short')
    at += count
    return bytes.subarray(at - count, at)
  }
  const prefixed = (): Buffer => take(take(1).readUInt8())
  const count = take(1).readUInt8()
  if (count > ADDRESSES_MAX) throw refuse('too many addresses')
  const addresses = Array.from({ length: count }, () => prefixed().toString())
  const secret = Buffer.from(prefixed())
  if (at === bytes.length) throw refuse('no certificate')
  return { kind, addresses, secret, caPem: pemOf(bytes.subarray(at)) }
}

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
}

function pemOf(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}
