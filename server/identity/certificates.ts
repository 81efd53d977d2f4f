/**
 * The cluster's certificates: its authority, keys, requests and the leaves that servers present.
 *
 * Keys are ECDSA on P-256. A leaf names its server by DNS SAN, is no authority, and serves as TLS
 * server and client alike. A request proves possession of its key; the names that go into the
 * certificate are decided by the issuer, never copied from the request. The package that writes them is
 * loaded when one is made: most starts of a server make none.
 */
import { randomBytes, webcrypto, X509Certificate } from 'node:crypto'
import type * as X509 from '@peculiar/x509'
import { DfsError } from '../../schema/wire/status.ts'

type CryptoKey = webcrypto.CryptoKey
const KEY = { name: 'ECDSA', namedCurve: 'P-256' } as const
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' } as const
const DAY_MS = 86_400_000
/** Certificates are valid from this long before their issue, for clocks that run behind. */
const BACKDATED_MS = 3_600_000
/** Lifetime of the authority, days. */
const AUTHORITY_DAYS = 3_650
const SERIAL_BYTES = 16

export interface Authority {
  readonly certificatePem: string
  readonly privateKeyPem: string
}

export interface KeyPair {
  /** PKCS#8 PEM. */
  readonly privateKeyPem: string
  /** SubjectPublicKeyInfo PEM. */
  readonly publicKeyPem: string
}

export interface IssueOptions {
  /** DNS names, at least one; the first is the peer's identity. */
  readonly names: readonly string[]
  /** The key to certify: SubjectPublicKeyInfo PEM, or a PKCS#10 request PEM whose proof is checked. */
  readonly publicKeyPem?: string
  readonly requestPem?: string
  /** Days until the certificate expires; may be a fraction. */
  readonly days: number
}

async function loadX509(): Promise<typeof X509> {
  await import('./reflect-metadata.ts')
  return import('@peculiar/x509')
}

/** Makes a cluster's certificate authority. `name` is its common name. */
export async function createAuthority(name = 'dfs cluster authority'): Promise<Authority> {
  const x509 = await loadX509()
  const keys = await generate()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [name] }],
    notBefore: new Date(Date.now() - BACKDATED_MS),
    notAfter: new Date(Date.now() + AUTHORITY_DAYS * DAY_MS),
    signingAlgorithm: SIGNING,
    keys: keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
      await subjectKeyId(keys.publicKey),
    ],
  })
  return {
    certificatePem: certificate.toString('pem'),
    privateKeyPem: await exportPrivate(keys.privateKey),
  }
}

/** A fresh key pair for a server. */
export async function createKeyPair(): Promise<KeyPair> {
  const { PemConverter } = await loadX509()
  const keys = await generate()
  const spki = await webcrypto.subtle.exportKey('spki', keys.publicKey)
  return {
    privateKeyPem: await exportPrivate(keys.privateKey),
    publicKeyPem: PemConverter.encode(spki, 'PUBLIC KEY'),
  }
}

/** A PKCS#10 request (PEM) for the key pair, signed by it. */
export async function createRequest(keys: KeyPair, name: string): Promise<string> {
  const x509 = await loadX509()
  const pair = {
    privateKey: await importPrivate(keys.privateKeyPem),
    publicKey: await importPublic(keys.publicKeyPem),
  }
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [name] }],
    keys: pair,
    signingAlgorithm: SIGNING,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: name }])],
  })
  return request.toString('pem')
}

/**
 * Issues a leaf certificate (PEM).
 *
 * Throws DfsError `invalidArgument` for a malformed key or request, one whose signature does not
 * prove possession of its key, a missing or malformed name, or a lifetime that is not positive.
 */
export async function issueCertificate(
  authority: Authority,
  options: IssueOptions,
): Promise<string> {
  const [subject] = options.names
  if (subject === undefined || !options.names.every(isDnsName)) {
    throw new DfsError(
      'invalidArgument',
      `certificate names must be DNS names, at least one; got ${JSON.stringify(options.names)}`,
    )
  }
  if (!(options.days > 0)) {
    throw new DfsError('invalidArgument', `certificate lifetime must be positive: ${options.days}`)
  }
  const x509 = await loadX509()
  const publicKey = await certifiedKey(options)
  const issuer = new x509.X509Certificate(authority.certificatePem)
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: [{ CN: [subject] }],
    issuer: issuer.subjectName.toJSON(),
    notBefore: new Date(Date.now() - BACKDATED_MS),
    notAfter: new Date(Date.now() + options.days * DAY_MS),
    signingAlgorithm: SIGNING,
    publicKey: publicKey,
    signingKey: await importPrivate(authority.privateKeyPem),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      new x509.SubjectAlternativeNameExtension(
        options.names.map((value) => ({ type: 'dns', value })),
      ),
      await subjectKeyId(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey, false),
    ],
  })
  return certificate.toString('pem')
}

/** When the certificate ends, milliseconds since 1970; for renewing in time. */
export function expiresAtMs(certificatePem: string): number {
  return Date.parse(new X509Certificate(certificatePem).validTo)
}

async function certifiedKey(options: IssueOptions): Promise<CryptoKey> {
  if (options.requestPem === undefined) {
    if (options.publicKeyPem === undefined) {
      throw new DfsError('invalidArgument', 'a certificate needs a public key or a request')
    }
    return importPublic(options.publicKeyPem)
  }
  const request = await parseRequest(options.requestPem)
  const proven = await request.verify().catch(() => false)
  if (!proven) {
    throw new DfsError(
      'invalidArgument',
      'the certificate request is not signed by the key it names; make a new one',
    )
  }
  return importSpki(request.publicKey.rawData)
}

async function parseRequest(pem: string): Promise<X509.Pkcs10CertificateRequest> {
  const { Pkcs10CertificateRequest } = await loadX509()
  try {
    return new Pkcs10CertificateRequest(pem)
  } catch (error) {
    throw new DfsError('invalidArgument', 'the certificate request is not PKCS#10 PEM', {
      cause: error,
    })
  }
}

async function generate(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(KEY, true, ['sign', 'verify'])
}

async function exportPrivate(key: CryptoKey): Promise<string> {
  const { PemConverter } = await loadX509()
  return PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')
}

async function importPrivate(pem: string): Promise<CryptoKey> {
  return webcrypto.subtle.importKey('pkcs8', await decodePem(pem), KEY, true, ['sign'])
}

async function importPublic(pem: string): Promise<CryptoKey> {
  return importSpki(await decodePem(pem))
}

async function importSpki(spki: ArrayBuffer): Promise<CryptoKey> {
  try {
    return await webcrypto.subtle.importKey('spki', spki, KEY, true, ['verify'])
  } catch (error) {
    throw new DfsError('invalidArgument', 'the key to certify is not an ECDSA P-256 public key', {
      cause: error,
    })
  }
}

async function decodePem(pem: string): Promise<ArrayBuffer> {
  const { PemConverter } = await loadX509()
  try {
    return PemConverter.decodeFirst(pem)
  } catch (error) {
    throw new DfsError('invalidArgument', 'the key is not PEM text', { cause: error })
  }
}

async function subjectKeyId(key: CryptoKey): Promise<X509.SubjectKeyIdentifierExtension> {
  const x509 = await loadX509()
  return x509.SubjectKeyIdentifierExtension.create(key, false)
}

/** Positive and of full length: DER would shorten leading zeros and negate a leading one bit. */
function serialNumber(): string {
  const bytes = randomBytes(SERIAL_BYTES)
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40
  return bytes.toString('hex')
}

function isDnsName(name: string): boolean {
  return (
    name.length <= 253 &&
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/u.test(name)
  )
}
