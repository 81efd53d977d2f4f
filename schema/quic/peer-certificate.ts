/**
 * The name in a peer's certificate, which the TLS layer has verified already.
 */
import { X509Certificate } from 'node:crypto'

/** The first DNS name of a DER certificate, or undefined if it has none. */
export function certificateName(der: Uint8Array): string | undefined {
  const names = new X509Certificate(der).subjectAltName
  // Node quotes names with special characters; a DNS name has none.
  return names === undefined ? undefined : /(?:^|, )DNS:([^",\s]+)/u.exec(names)?.[1]
}
