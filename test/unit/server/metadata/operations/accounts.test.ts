/**
 * Passwords, recovery and devices on a real store: who may change what, what ends with it, and what is
 * refused because it would lock the owner out.
 */
import { generateKeyPairSync, sign } from 'node:crypto'
import t, { type Test } from 'tap'
import type { SetPasswordRequest } from '../../../../../schema/generated/metadata.ts'
import { recoveryProof } from '../../../../../schema/wire/session-proof.ts'
import { listDevices, revokeDevice } from '../../../../../server/metadata/operations/devices.ts'
import { challenge } from '../../../../../server/metadata/operations/open-session.ts'
import { passwordStart, setPassword } from '../../../../../server/metadata/operations/password.ts'
import { recover, setRecovery } from '../../../../../server/metadata/operations/recovery.ts'
import { addDevice } from '../../../../../server/metadata/operations/add-device.ts'
import { stateOf } from '../../../../../server/metadata/services.ts'
import type { Connection } from '../../../../../schema/rpc/api.ts'
import { connection, TestMetadata, type TestUser } from '../../../../support/metadata.ts'
import { checkStore } from '../../../../support/metadata-check.ts'

const wrapped = Buffer.from('a wrapped key')

/** A connection that has proven the password of a user made by the test support. */
function proven(user: TestUser, record = `record of ${user.name}`): Connection {
  const link = connection()
  stateOf(link).proof = { by: 'password', user: user.user, record }
  return link
}

const change = (more: Partial<SetPasswordRequest> = {}): SetPasswordRequest => ({
  opaqueRecord: 'another record',
  wrappedMasterKey: wrapped,
  keepDevice: 0,
  revokeDevices: false,
  force: false,
  ...more,
})

async function secondDevice(metadata: TestMetadata, user: TestUser): Promise<TestUser> {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const x = String(publicKey.export({ format: 'jwk' }).x)
  const request = { name: 'b', publicKey: Buffer.from(x, 'base64url'), wrappedMasterKey: wrapped }
  const { device } = await addDevice(request, proven(user), metadata.services)
  return { ...user, device, key: privateKey }
}

t.test('without a proof nothing of an account can be changed or listed', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { services } = metadata
  await metadata.addUser('ann')
  const refused = { code: 'notLoggedIn' }
  const anybody = connection()
  await t.rejects(passwordStart({ opaqueRequest: '' }, anybody, services), refused)
  await t.rejects(setPassword(change(), anybody, services), refused)
  const key = Buffer.alloc(32, 1)
  const code = { recoveryKey: key, recoveryMasterKey: wrapped }
  await t.rejects(setRecovery(code, anybody, services), refused)
  await t.rejects(listDevices(anybody, services), refused)
  await t.rejects(revokeDevice({ device: 1, force: true }, anybody, services), refused)
})

t.test('a new password ends the other sessions and every older proof', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { services } = metadata
  const ann = await metadata.addUser('ann')
  const bob = await metadata.user('bob')
  const other = await secondDevice(metadata, ann)
  const kept = await metadata.session(ann)
  const ended = await metadata.session(other)
  const thief = proven(ann)
  const link = proven(ann)
  t.match(await setPassword(change({ keepDevice: ann.device }), link, services), {
    sessionsEnded: 1,
    devicesRevoked: 0,
  })
  await t.rejects(ended.make(ann.root, 'late'), { code: 'notLoggedIn' })
  await t.resolves(kept.make(ann.root, 'goes on'))
  await t.resolves(bob.session.make(bob.user.root, 'not meant'))
  for (const old of [thief, link]) {
    await t.rejects(setPassword(change(), old, services), { code: 'notLoggedIn' })
    await t.rejects(listDevices(old, services), { code: 'notLoggedIn' })
  }
  await t.resolves(metadata.session(other), 'the device stays, and opens a new session')
  t.same(await checkStore(metadata.store), [])
})

t.test('revoked devices open no session, and end those that they have', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { services } = metadata
  const ann = await metadata.addUser('ann')
  const other = await secondDevice(metadata, ann)
  const link = connection()
  let closed = false
  void link.closed.then(() => (closed = true))
  const session = await metadata.session(other, link)
  const before = await listDevices(proven(ann), services)
  t.match(before, {
    devices: [
      { device: ann.device, name: 'a device', sessions: 0 },
      { device: other.device, name: 'b', sessions: 1 },
    ],
    recovery: false,
  })
  await revokeDevice({ device: other.device, force: false }, proven(ann), services)
  await t.rejects(session.make(ann.root, 'late'), { code: 'notLoggedIn' })
  t.ok(closed, 'its connection is closed')
  await t.rejects(metadata.session(other), { code: 'loginRefused' })
  await t.resolves(metadata.session(ann))
})

t.test('a device that is revoked while it opens a session does not keep it', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { services } = metadata
  const ann = await metadata.addUser('ann')
  for (let round = 0; round < 10; round++) {
    const device = await secondDevice(metadata, ann)
    const link = connection()
    const opening = metadata.session(device, link).catch(() => undefined)
    for (let turn = 0; turn < round; turn++) await Promise.resolve()
    await revokeDevice({ device: device.device, force: false }, proven(ann), services)
    const session = await opening
    if (session === undefined) continue
    await t.rejects(session.make(ann.root, `late-${round}`), { code: 'notLoggedIn' })
  }
  t.equal(services.sessions.size, 0)
})

t.test("another user's device is not there", async (t) => {
  const metadata = await TestMetadata.open(t)
  const ann = await metadata.addUser('ann')
  const bob = await metadata.addUser('bob')
  const revoking = revokeDevice({ device: bob.device, force: true }, proven(ann), metadata.services)
  await t.rejects(revoking, { code: 'notFound' })
  await t.resolves(metadata.session(bob))
})

t.test('the last device of an account without a recovery code goes only by force', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { services } = metadata
  const ann = await metadata.addUser('ann')
  const revoke = async (force: boolean): Promise<void> =>
    revokeDevice({ device: ann.device, force }, proven(ann), services)
  await t.rejects(revoke(false), { code: 'lastWayIn', message: /dfs recovery/ })
  const all = change({ opaqueRecord: 'record of ann', revokeDevices: true })
  await t.rejects(setPassword(all, proven(ann), services), { code: 'lastWayIn' })
  await t.resolves(metadata.session(ann), 'nothing happened')
  const code = { recoveryKey: Buffer.alloc(32, 1), recoveryMasterKey: wrapped }
  await setRecovery(code, proven(ann), services)
  await t.resolves(revoke(false), 'with a code it may go')
  const bob = await metadata.addUser('bob')
  await revokeDevice({ device: bob.device, force: true }, proven(bob), services)
  await t.rejects(metadata.session(bob), { code: 'loginRefused' })
})

async function recovering(t: Test): Promise<{
  metadata: TestMetadata
  ann: TestUser
  attempt: (name: string, key?: 'wrong') => Promise<Connection>
}> {
  const metadata = await TestMetadata.open(t)
  const ann = await metadata.addUser('ann')
  await metadata.addUser('bob')
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const recoveryKey = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)
  await setRecovery({ recoveryKey, recoveryMasterKey: wrapped }, proven(ann), metadata.services)
  const wrong = generateKeyPairSync('ed25519').privateKey
  const attempt = async (name: string, key?: 'wrong'): Promise<Connection> => {
    const link = connection()
    const { cluster, nonce } = challenge(link, metadata.services)
    const message = recoveryProof(cluster, nonce, name)
    const signature = sign(null, message, key === undefined ? privateKey : wrong)
    const account = await recover({ user: name, signature }, link, metadata.services)
    t.same(Buffer.from(account.wrappedMasterKey), wrapped)
    return link
  }
  return { metadata, ann, attempt }
}

t.test('the recovery code allows a new password and nothing else', async (t) => {
  const { metadata, ann, attempt } = await recovering(t)
  const { services } = metadata
  const link = await attempt('ann')
  const code = { recoveryKey: Buffer.alloc(32, 1), recoveryMasterKey: wrapped }
  await t.rejects(setRecovery(code, link, services), { code: 'notLoggedIn' })
  await t.resolves(setPassword(change(), link, services))
  await t.resolves(listDevices(proven(ann, 'another record'), services))
  const late = await attempt('ann')
  await setRecovery(code, proven(ann, 'another record'), services)
  await t.rejects(setPassword(change(), late, services), { code: 'notLoggedIn' }, 'renewed')
  await t.rejects(attempt('ann'), { code: 'loginRefused' }, 'the older code is good no more')
})

t.test('a wrong code, an unknown user and one without a code are refused alike', async (t) => {
  const { metadata, attempt } = await recovering(t)
  const refused = {
    code: 'loginRefused',
    message: 'the user name or the recovery code is wrong',
  }
  await t.rejects(attempt('ann', 'wrong'), refused)
  await t.rejects(attempt('bob'), refused)
  await t.rejects(attempt('nobody'), refused)
  const link = connection()
  const signature = Buffer.alloc(64)
  const proof = recover({ user: 'ann', signature }, link, metadata.services)
  await t.rejects(proof, { code: 'invalidArgument' }, 'without a challenge')
})
