/**
 * A device's keys: proofs verify under the public key the server keeps, and only for their challenge;
 * the master key comes out for this device and user only.
 */
import { createPublicKey, verify } from 'node:crypto'
import t from 'tap'
import { sessionProof } from '../../../../schema/wire/session-proof.ts'
import { generateKey } from '../../../../mount/crypto/key-wrap.ts'
import { Device } from '../../../../mount/client/device.ts'

/** What stands before the raw key in SubjectPublicKeyInfo of Ed25519 (RFC 8410). */
const SPKI_HEAD = Buffer.from('302a300506032b6570032100', 'hex')

const device = Device.generate()
const challenge = { cluster: Buffer.alloc(16, 1), nonce: Buffer.alloc(32, 2), device: 3 }

t.test('a proof verifies under the raw public key, for its own challenge only', async (t) => {
  t.equal(device.publicKey.length, 32)
  const key = createPublicKey({
    key: Buffer.concat([SPKI_HEAD, device.publicKey]),
    format: 'der',
    type: 'spki',
  })
  const proof = device.prove(challenge)
  const good = sessionProof(challenge.cluster, challenge.nonce, 3)
  t.equal(verify(null, good, key, proof), true)
  const others = [
    sessionProof(Buffer.alloc(16, 9), challenge.nonce, 3),
    sessionProof(challenge.cluster, Buffer.alloc(32, 9), 3),
    sessionProof(challenge.cluster, challenge.nonce, 4),
  ]
  for (const other of others) t.equal(verify(null, other, key, proof), false)
})

t.test('keys survive the way through a profile', async (t) => {
  const again = Device.fromProfile(device.toProfile())
  t.same(again.publicKey, device.publicKey)
  const masterKey = generateKey()
  t.same(again.unwrapMasterKey('alice', device.wrapMasterKey('alice', masterKey)), masterKey)
})

t.test("another device's or user's wrapped key is refused", async (t) => {
  const wrapped = device.wrapMasterKey('alice', generateKey())
  t.throws(() => device.unwrapMasterKey('bob', wrapped), { code: 'notAuthentic' })
  t.throws(() => Device.generate().unwrapMasterKey('alice', wrapped), { code: 'notAuthentic' })
})

t.test('a profile without a device key says to log in', async (t) => {
  const { deviceWrapKey } = device.toProfile()
  for (const devicePrivateKey of ['', 'AAAA']) {
    t.throws(() => Device.fromProfile({ devicePrivateKey, deviceWrapKey }), {
      code: 'recordCorrupt',
      message: /dfs login/,
    })
  }
})
