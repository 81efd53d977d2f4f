/** The cluster's certificates. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import t from 'tap'
import {
  createAuthority,
  createKeyPair,
  createRequest,
  expiresAtMs,
  issueCertificate,
} from '../../../../server/identity/certificates.ts'

t.test('a leaf carries its names, its key, and the signature of its authority', async (t) => {
  const authority = await createAuthority()
  const { publicKeyPem, privateKeyPem } = await createKeyPair()
  const names = ['chunkserver-3.dfs', 'localhost']
  const pem = await issueCertificate(authority, { names, publicKeyPem, days: 30 })
  const leaf = new X509Certificate(pem)
  const ca = new X509Certificate(authority.certificatePem)
  t.equal(leaf.subjectAltName, 'DNS:chunkserver-3.dfs, DNS:localhost')
  t.equal(leaf.verify(ca.publicKey), true)
  t.equal(leaf.checkIssued(ca), true)
  t.equal(leaf.ca, false)
  t.equal(ca.ca, true)
  t.equal(leaf.checkPrivateKey(createPrivateKey(privateKeyPem)), true)
  t.ok(Math.abs(expiresAtMs(pem) - Date.now() - 30 * 86_400_000) < 60_000)
})

t.test('a request proves its key, and does not choose its names', async (t) => {
  const authority = await createAuthority()
  const keys = await createKeyPair()
  const requestPem = await createRequest(keys, 'metadata.dfs')
  const names = ['chunkserver-9.dfs']
  const pem = await issueCertificate(authority, { names, requestPem, days: 1 })
  const leaf = new X509Certificate(pem)
  t.equal(leaf.subjectAltName, 'DNS:chunkserver-9.dfs')
  t.equal(leaf.checkPrivateKey(createPrivateKey(keys.privateKeyPem)), true)
})

t.test('a damaged request is refused', async (t) => {
  const authority = await createAuthority()
  const request = await createRequest(await createKeyPair(), 'a.dfs')
  const lines = request.trim().split('\n')
  const der = Buffer.from(lines.slice(1, -1).join(''), 'base64')
  for (const at of [der.length - 5, 40]) {
    const damaged = Buffer.from(der)
    damaged.writeUInt8(damaged.readUInt8(at) ^ 1, at)
    const requestPem = [lines[0], damaged.toString('base64'), lines.at(-1)].join('\n')
    const issued = issueCertificate(authority, { names: ['a.dfs'], requestPem, days: 1 })
    await t.rejects(issued, { code: 'invalidArgument' })
  }
})

const refusals = [
  { why: 'no name', names: [], days: 1 },
  { why: 'a name with spaces', names: ['a b'], days: 1 },
  { why: 'an upper-case name', names: ['A.dfs'], days: 1 },
  { why: 'a lifetime of nothing', names: ['a.dfs'], days: 0 },
] as const

for (const { why, names, days } of refusals) {
  t.test(`refuses: ${why}`, async (t) => {
    const authority = await createAuthority()
    const { publicKeyPem } = await createKeyPair()
    await t.rejects(issueCertificate(authority, { names, publicKeyPem, days }), {
      code: 'invalidArgument',
    })
  })
}

t.test('refuses keys that are none', async (t) => {
  const authority = await createAuthority()
  for (const publicKeyPem of ['', 'x', authority.certificatePem]) {
    const issued = issueCertificate(authority, { names: ['a.dfs'], publicKeyPem, days: 1 })
    await t.rejects(issued, { code: 'invalidArgument' })
  }
  const nothing = issueCertificate(authority, { names: ['a.dfs'], days: 1 })
  await t.rejects(nothing, { code: 'invalidArgument' })
})
