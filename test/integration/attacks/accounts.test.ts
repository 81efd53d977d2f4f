/**
 * The metadata server's operator changes what opens an account: wrapped keys and public keys of his
 * own, records that a weaker password hash made, other versions and ciphers; and those whom the
 * server should serve no more go on asking.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { dirname, join } from 'node:path'
import { client as opaqueClient, ready, server as opaqueServer } from '@serenity-kit/opaque'
import t, { type Test } from 'tap'
import { clusterFromCard, loginAccount, registerAccount } from '../../../mount/client/account.ts'
import { recoverAccount } from '../../../mount/client/account-keys.ts'
import { openClient } from '../../../mount/client/open.ts'
import { writeProfile, type Profile } from '../../../mount/client/profile.ts'
import { generateKey, wrapKey } from '../../../mount/crypto/key-wrap.ts'
import { RecoveryCode } from '../../../mount/crypto/recovery-code.ts'
import { methods } from '../../../schema/methods.ts'
import type { DeviceRecord, UserRecord } from '../../../schema/generated/records.ts'
import { keys } from '../../../server/metadata/store/keys.ts'
import { tables } from '../../../server/metadata/store/tables.ts'
import { errnoOf, MetadataRecords } from '../../support/cheating-servers.ts'
import { runDfs } from '../../support/cluster.ts'
import { MetadataProcess } from '../../support/client-metadata.ts'
import { silent } from '../../support/transport.ts'

// Many processes one after the other, on a machine that may be busy.
t.setTimeout(290_000)
await ready

const password = 'a password of ann'
const metadata = await MetadataProcess.start(t)
const cluster = clusterFromCard(metadata.command('card'))
const recovery = RecoveryCode.generate()
const profile = await registerAccount({
  invitation: metadata.command('user', 'add', 'ann'),
  user: 'ann',
  password,
  deviceName: 'one',
  recovery,
})
await metadata.register('bob', 'a password of bob')

/** Serves with changed records for the time of a test; then everything is as before. */
async function cheating(
  t: Test,
  edit: {
    user?: (ann: UserRecord, bob: UserRecord) => UserRecord
    device?: (own: DeviceRecord) => DeviceRecord
  },
): Promise<void> {
  const device = keys.device(profile.device)
  await edited(async (records) => {
    const ann = await records.user('ann')
    const own = await records.get(tables.devices, device)
    const bob = await records.user('bob')
    await records.changeUser('ann', () => edit.user?.(ann, bob) ?? ann)
    await records.put(tables.devices, device, edit.device?.(own) ?? own)
    t.teardown(() =>
      edited(async (again) => {
        // Whoever logged in meanwhile stays.
        const { devices } = await again.user('ann')
        await again.changeUser('ann', () => ({ ...ann, devices }))
        await again.put(tables.devices, device, own)
      }),
    )
  })
}

/** Stops the server, changes its records, and starts it again. */
async function edited(edit: (records: MetadataRecords) => Promise<void>): Promise<void> {
  await metadata.kill()
  await MetadataRecords.edit(metadata.dir, edit)
  await metadata.serve()
}

const login = async (): Promise<Profile> =>
  loginAccount({ cluster, user: 'ann', password, deviceName: 'x' })

async function open(): Promise<void> {
  const client = await openClient({ profile, log: silent })
  await client.close()
}

function recover(): Promise<unknown> {
  const how = { newPassword: 'another one', revokeDevices: false, keepDevice: 0, force: false }
  return recoverAccount({ cluster, user: 'ann', code: recovery, ...how })
}

const master = generateKey()
const byOperator = wrapKey(randomBytes(64), { purpose: 'master by password', owner: 'ann' }, master)
const rootByOperator = wrapKey(master, { purpose: 'root by master', owner: 'ann' }, generateKey())

t.test("master and root keys of the operator are not taken for the user's", async (t) => {
  await cheating(t, {
    user: (ann) => ({
      ...ann,
      wrappedMasterKey: byOperator,
      recoveryMasterKey: byOperator,
      wrappedRootKey: rootByOperator,
    }),
    device: (own) => ({ ...own, wrappedMasterKey: byOperator }),
  })
  await t.rejects(login(), { code: 'notAuthentic' })
  await t.rejects(recover(), { code: 'notAuthentic' })
  t.equal(await errnoOf(open()), 'EIO')
})

t.test("the root of the operator's making is refused where the master key is right", async (t) => {
  await cheating(t, { user: (ann) => ({ ...ann, wrappedRootKey: rootByOperator }) })
  t.equal(await errnoOf(open()), 'EIO')
})

t.test("another user's root is refused, by number and by key", async (t) => {
  await cheating(t, {
    user: (ann, bob) => ({ ...ann, rootInode: bob.rootInode, wrappedRootKey: bob.wrappedRootKey }),
  })
  t.equal(await errnoOf(open()), 'EIO')
})

t.test('wrapped keys are not exchanged for each other', async (t) => {
  await cheating(t, {
    user: (ann) => ({
      ...ann,
      wrappedMasterKey: ann.recoveryMasterKey,
      recoveryMasterKey: ann.wrappedMasterKey,
    }),
  })
  await t.rejects(login(), { code: 'notAuthentic' })
  await t.rejects(recover(), { code: 'notAuthentic' })
})

t.test("a device's public key of the operator's lets the real device in nowhere", async (t) => {
  const { publicKey } = generateKeyPairSync('ed25519')
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)
  await cheating(t, { device: (own) => ({ ...own, publicKey: raw }) })
  await t.rejects(open(), { code: 'loginRefused' })
})

t.test('a wrap of an older version or another cipher is refused', async (t) => {
  for (const at of [0, 1]) {
    const downgraded = (box: Uint8Array): Uint8Array => {
      const copy = Buffer.from(box)
      copy.writeUInt8(0, at)
      return copy
    }
    await t.test(at === 0 ? 'version' : 'cipher', async (t) => {
      await cheating(t, {
        user: (ann) => ({ ...ann, wrappedMasterKey: downgraded(ann.wrappedMasterKey) }),
        device: (own) => ({ ...own, wrappedMasterKey: downgraded(own.wrappedMasterKey) }),
      })
      await t.rejects(login(), { code: 'notSupported' })
      await t.rejects(open(), { code: 'notSupported' })
    })
  }
})

t.test('a record that a weaker password hash made does not log in', async (t) => {
  const serverSetup = await setupOf()
  const weak = { 'argon2id-custom': { iterations: 1, memory: 64, parallelism: 1 } } as const
  const { clientRegistrationState, registrationRequest } = opaqueClient.startRegistration({
    password,
  })
  const { registrationResponse } = opaqueServer.createRegistrationResponse({
    serverSetup,
    userIdentifier: 'ann',
    registrationRequest,
  })
  const { registrationRecord, exportKey } = opaqueClient.finishRegistration({
    password,
    clientRegistrationState,
    registrationResponse,
    keyStretching: weak,
  })
  // Not even with a key that this hash yields: everything fits but for the hash.
  const context = { purpose: 'master by password', owner: 'ann' } as const
  const wrapped = wrapKey(Buffer.from(exportKey, 'base64url'), context, master)
  const user = (ann: UserRecord): UserRecord => {
    return { ...ann, opaqueRecord: registrationRecord, wrappedMasterKey: wrapped }
  }
  await cheating(t, { user })
  await t.rejects(login(), { code: 'loginRefused' })
})

async function setupOf(): Promise<string> {
  let setup = ''
  await edited(async (records) => {
    setup = (await records.get(tables.cluster, keys.cluster)).opaqueSetup
  })
  return setup
}

t.test('a disabled user and a revoked device go on asking in vain', async (t) => {
  const client = await openClient({ profile, log: silent })
  t.teardown(async () => client.close())
  const { session } = client
  const root = { inode: session.rootInode, hold: false }
  await session.read(methods.getInode, root)
  metadata.command('user', 'disable', 'ann')
  t.equal(await errnoOf(session.read(methods.getInode, root)), 'EACCES')
  t.equal(await errnoOf(login()), 'EACCES')
  t.equal(await errnoOf(recover()), 'EACCES')
  metadata.command('user', 'enable', 'ann')
  const folder = join(dirname(metadata.dir), 'second')
  await writeProfile(folder, await login())
  t.match(runDfs('dfs', ['devices', 'revoke', String(profile.device), '--profile', folder]), {
    status: 0,
  })
  t.equal(await errnoOf(session.read(methods.getInode, root)), 'EACCES')
  t.equal(await errnoOf(open()), 'EACCES')
})
