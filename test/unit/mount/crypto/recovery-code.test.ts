/**
 * The recovery code: what is shown is what is read again, slips are noticed, and what comes from it is
 * the same every time.
 */
import { createPublicKey, verify } from 'node:crypto'
import t from 'tap'
import { generateKey } from '../../../../mount/crypto/key-wrap.ts'
import { RecoveryCode } from '../../../../mount/crypto/recovery-code.ts'

t.test('a code is eight groups of seven, and reads back as itself', async (t) => {
  const code = RecoveryCode.generate()
  const text = code.toText()
  t.match(text, /^[0-9A-HJKMNP-TV-Z]{7}(-[0-9A-HJKMNP-TV-Z]{7}){7}$/)
  const again = RecoveryCode.parse(text)
  t.equal(again.toText(), text)
  t.same(again.publicKey, code.publicKey)
  t.not(RecoveryCode.generate().toText(), text)
})

t.test(
  'it may be typed in small letters, with spaces, and with letters that look alike',
  async (t) => {
    const text = RecoveryCode.generate().toText()
    const typed = text.toLowerCase().replaceAll('-', ' ').replaceAll('1', 'l').replaceAll('0', 'o')
    t.equal(RecoveryCode.parse(` ${typed}\n`).toText(), text)
  },
)

t.test('a wrong, a missing and an impossible letter are noticed', async (t) => {
  const text = RecoveryCode.generate().toText()
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '-') continue
    const other = text[at] === 'Z' ? 'Y' : 'Z'
    const slip = text.slice(0, at) + other + text.slice(at + 1)
    t.throws(() => RecoveryCode.parse(slip), { code: 'invalidArgument', message: /checksum/ })
  }
  t.throws(() => RecoveryCode.parse(text.slice(1)), { code: 'invalidArgument' })
  t.throws(() => RecoveryCode.parse(`U${text.slice(1)}`), { code: 'invalidArgument' })
})

t.test('it proves itself, and opens only what it wrapped, for its user', async (t) => {
  const code = RecoveryCode.generate()
  const again = RecoveryCode.parse(code.toText())
  const message = Buffer.from('a challenge')
  const x = code.publicKey.toString('base64url')
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  t.ok(verify(null, message, key, again.sign(message)))
  t.notOk(verify(null, message, key, RecoveryCode.generate().sign(message)))
  const master = generateKey()
  const wrapped = code.wrapMasterKey('ann', master)
  t.same(again.unwrapMasterKey('ann', wrapped), master)
  t.throws(() => again.unwrapMasterKey('bob', wrapped), { code: 'notAuthentic' })
  t.throws(() => RecoveryCode.generate().unwrapMasterKey('ann', wrapped), { code: 'notAuthentic' })
})
