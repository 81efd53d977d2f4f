/**
 * Accounts against a real metadata server: who gets in, who does not and what he is told, and that a
 * server which substitutes keys is found out.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { clusterFromCard, loginAccount, registerAccount } from '../../mount/client/account.ts'
import { Device } from '../../mount/client/device.ts'
import { openClient } from '../../mount/client/open.ts'
import type { Profile } from '../../mount/client/profile.ts'
import { formatCredential, parseCredential } from '../../schema/wire/credential.ts'
import { MetadataProcess } from '../support/client-metadata.ts'
import { Certificates, silent } from '../support/transport.ts'

const metadata = await MetadataProcess.start(t)
const invitation = metadata.command('user', 'add', 'alice')
const password = 'päss word'
const profile = await registerAccount({ invitation, user: 'alice', password, deviceName: 'one' })
const cluster = clusterFromCard(metadata.command('card'))

/** What a profile opens: the root's number and secret. */
async function rootOf(opened: Profile): Promise<{ inode: number; secret: string }> {
  const client = await openClient({ profile: opened, log: silent })
  const { session } = client
  const root = {
    inode: session.rootInode,
    secret: Buffer.from(session.rootKey.secret).toString('hex'),
  }
  await client.close()
  return root
}

const root = await rootOf(profile)

t.test('a further device with the password opens the same root', async (t) => {
  const second = await loginAccount({ cluster, user: 'alice', password, deviceName: 'two' })
  t.not(second.device, profile.device)
  t.equal(second.cluster, profile.cluster)
  t.not(second.deviceWrapKey, profile.deviceWrapKey)
  t.same(await rootOf(second), root)
  t.match(root.secret, /^(?!0{64})[0-9a-f]{64}$/)
})

t.test('the same password typed on another system is the same', async (t) => {
  const decomposed = password.normalize('NFD')
  t.not(decomposed, password)
  const other = await loginAccount({
    cluster,
    user: 'alice',
    password: decomposed,
    deviceName: 'x',
  })
  t.same(await rootOf(other), root)
})

t.test('a wrong password and an unknown user get the same refusal', async (t) => {
  const wrong = { code: 'loginRefused', message: 'the user name or the password is wrong' }
  const login = async (user: string, secret: string): Promise<Profile> =>
    loginAccount({ cluster, user, password: secret, deviceName: 'x' })
  await t.rejects(login('alice', 'pass word'), wrong)
  await t.rejects(login('nobody', password), wrong)
})

t.test('an invitation is good once, for its user, at its cluster', async (t) => {
  const other = metadata.command('user', 'add', 'bob')
  const register = async (text: string, user: string): Promise<Profile> =>
    registerAccount({ invitation: text, user, password, deviceName: 'x' })
  await t.rejects(register(invitation, 'alice'), { code: 'tokenInvalid' }, 'used')
  await t.rejects(register(other, 'carol'), { code: 'tokenInvalid' }, "another user's")
  await t.rejects(register('nonsense', 'bob'), { code: 'tokenInvalid' })
  const { addresses, caPem } = parseCredential(other, 'invitation')
  const forged = formatCredential({
    kind: 'invitation',
    addresses,
    secret: Buffer.alloc(32),
    caPem,
  })
  await t.rejects(register(forged, 'bob'), { code: 'tokenInvalid' }, 'guessed')
  const bob = await register(other, 'bob')
  t.notSame(await rootOf(bob), root)
})

t.test(
  'a server of another cluster is not trusted, with a password or with a profile',
  async (t) => {
    const { caPem } = await Certificates.create()
    const foreign = { addresses: cluster.addresses, caPem }
    const untrusted = { code: 'serverUntrusted' }
    await t.rejects(
      loginAccount({ cluster: foreign, user: 'alice', password, deviceName: 'x' }),
      untrusted,
    )
    await t.rejects(openClient({ profile: { ...profile, caPem }, log: silent }), untrusted)
    const elsewhere = { ...profile, cluster: '00'.repeat(16) }
    await t.rejects(openClient({ profile: elsewhere, log: silent }), untrusted)
  },
)

t.test('a device that is not known, or has other keys, opens nothing', async (t) => {
  const { deviceWrapKey, devicePrivateKey } = Device.generate().toProfile()
  const open = async (changed: Partial<Profile>): Promise<unknown> =>
    openClient({ profile: { ...profile, ...changed }, log: silent })
  await t.rejects(open({ device: 4_711 }), { code: 'loginRefused' })
  await t.rejects(open({ devicePrivateKey }), { code: 'loginRefused' })
  await t.rejects(open({ deviceWrapKey }), { code: 'notAuthentic' })
  await t.rejects(open({ user: 'bob' }), { code: 'notAuthentic' })
})

t.test('without a server, opening ends with an error that names the address', async (t) => {
  const nobody = { ...profile, addresses: ['127.0.0.1:9'] }
  await t.rejects(openClient({ profile: nobody, log: silent }), {
    code: 'connectionRefused',
    message: /127\.0\.0\.1:9/,
  })
})

t.test('neither password nor keys are in what the server keeps', async (t) => {
  await metadata.kill()
  const { deviceWrapKey, devicePrivateKey } = profile
  const secrets = [
    Buffer.from(password),
    Buffer.from(root.secret, 'hex'),
    Buffer.from(deviceWrapKey, 'base64'),
    Buffer.from(devicePrivateKey, 'base64').subarray(-32),
  ]
  const stored = filesBelow(metadata.dir)
  t.ok(
    stored.some((bytes) => bytes.includes('alice')),
    'the search finds what is there',
  )
  for (const [index, secret] of secrets.entries()) {
    t.notOk(
      stored.some((bytes) => bytes.includes(secret)),
      `secret ${index}`,
    )
  }
})

function filesBelow(dir: string): Buffer[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true, encoding: 'utf8' })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name)))
}
