/** The texts that carry trust: they come back as they went, and nothing else is taken for one. */
import t from 'tap'
import { formatCredential, parseCredential } from '../../../../schema/wire/credential.ts'

const caPem = `-----BEGIN CERTIFICATE-----\n${Buffer.alloc(100, 7)
  .toString('base64')
  .match(/.{1,64}/g)
  ?.join('\n')}\n-----END CERTIFICATE-----\n`
const given = {
  kind: 'invitation',
  addresses: ['127.0.0.1:7400', '[::1]:7400'],
  secret: new Uint8Array([1, 2, 3]),
  caPem,
} as const

t.test('comes back as it went, with white space around it', async (t) => {
  const parsed = parseCredential(`  ${formatCredential(given)}\n`, 'invitation')
  t.same(parsed.addresses, given.addresses)
  t.same(new Uint8Array(parsed.secret), given.secret)
  t.equal(parsed.caPem, caPem)
})

const text = formatCredential(given)
const refusals = [
  { why: 'another kind', text: formatCredential({ ...given, kind: 'join' }) },
  { why: 'nothing', text: '' },
  { why: 'no certificate', text: text.slice(0, 60) },
  { why: 'cut inside an address', text: text.slice(0, 30) },
  {
    why: 'far too many addresses',
    text: `dfs-invitation-v1.${Buffer.of(200).toString('base64url')}`,
  },
]
for (const { why, text: refused } of refusals) {
  t.test(`refuses ${why}`, async (t) => {
    t.throws(() => parseCredential(refused, 'invitation'), { code: 'tokenInvalid' })
  })
}
