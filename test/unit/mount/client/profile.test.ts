/**
 * The profile: comes back as it was written, for its owner's eyes only, and damage is told apart.
 */
import { chmodSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Device } from '../../../../mount/client/device.ts'
import { readProfile, writeProfile, type Profile } from '../../../../mount/client/profile.ts'

const profile: Profile = {
  version: 1,
  cluster: '00112233445566778899aabbccddeeff',
  addresses: ['127.0.0.1:7400', '[::1]:7400'],
  caPem: '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n',
  user: 'alice',
  device: 3,
  ...Device.generate().toProfile(),
}

t.test('comes back as it was written, and can be replaced', async (t) => {
  const dir = join(t.testdir(), 'new', 'profile')
  await writeProfile(dir, profile)
  t.same(await readProfile(dir), profile)
  await writeProfile(dir, { ...profile, device: 4 })
  t.same((await readProfile(dir)).device, 4)
  t.same(readdirSync(dir), ['profile.json'], 'no temporary file is left')
})

t.test('is readable by its owner only', async (t) => {
  const dir = join(t.testdir(), 'profile')
  await writeProfile(dir, profile)
  t.equal(statSync(dir).mode & 0o777, 0o700)
  const file = join(dir, 'profile.json')
  t.equal(statSync(file).mode & 0o777, 0o600)
  for (const mode of [0o640, 0o604, 0o620, 0o777]) {
    chmodSync(file, mode)
    await t.rejects(readProfile(dir), { code: 'forbidden', message: /chmod 600/ }, mode.toString(8))
  }
})

t.test('without one, says to log in', async (t) => {
  await t.rejects(readProfile(t.testdir()), { code: 'notLoggedIn', message: /dfs login/ })
})

t.test('a profile that cannot be written leaves nothing behind', async (t) => {
  const dir = t.testdir()
  mkdirSync(join(dir, 'profile.json'))
  await t.rejects(writeProfile(dir, profile), { code: 'EISDIR' })
  t.same(readdirSync(dir), ['profile.json'])
})

const damages: readonly (readonly [string, unknown])[] = [
  ['not JSON', '{'],
  ['not an object', 'null'],
  ['another version', { ...profile, version: 2 }],
  ['no cluster', { ...profile, cluster: 'xyz' }],
  ['no address', { ...profile, addresses: [] }],
  ['addresses of another type', { ...profile, addresses: [1] }],
  ['no certificate', { ...profile, caPem: '' }],
  ['no user', { ...profile, user: '' }],
  ['no device', { ...profile, device: 0 }],
  ['a short key', { ...profile, deviceWrapKey: 'AAAA' }],
  ['a field missing', { ...profile, devicePrivateKey: undefined }],
  ['far too long', 'x'.repeat(100_000)],
]
for (const [why, content] of damages) {
  t.test(`refuses a profile with ${why}`, async (t) => {
    const dir = t.testdir()
    const text = typeof content === 'string' ? content : JSON.stringify(content)
    writeFileSync(join(dir, 'profile.json'), text, { mode: 0o600 })
    await t.rejects(readProfile(dir), { code: 'recordCorrupt', message: /dfs login/ })
  })
}
