/**
 * The life of an account as its owner lives it, by the `dfs` command against a real metadata server:
 * a new password, the recovery code, devices, logging out.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { text as contents } from 'node:stream/consumers'
import t from 'tap'
import { openClient, type Client } from '../../mount/client/open.ts'
import { readProfile } from '../../mount/client/profile.ts'
import { methods } from '../../schema/methods.ts'
import { repository, runDfs, type Ended } from '../support/cluster.ts'
import { MetadataProcess } from '../support/client-metadata.ts'
import { silent } from '../support/transport.ts'

// Many processes one after the other, on a machine that may be busy.
t.setTimeout(290_000)

const NO_PERMISSION = 77
const FAILURE = 1
const metadata = await MetadataProcess.start(t)
const base = dirname(metadata.dir)
const profile = (name: string): string => join(base, name)
const card = join(base, 'card')
writeFileSync(card, metadata.command('card'))

/** A file with one line, for --password-file and the like. */
function line(text: string): string {
  const path = join(base, `line-${readdirSync(base).length}`)
  writeFileSync(path, `${text}\n`, { mode: 0o600 })
  return path
}

const dfs = (command: string, on: string, ...args: string[]): Ended =>
  runDfs('dfs', [...command.split(' '), '--profile', profile(on), ...args])

const login = (user: string, password: string, on: string): Ended =>
  dfs('login', on, '--user', user, '--cluster', card, '--password-file', line(password))

async function register(user: string, password: string, on: string): Promise<string> {
  const invitation = line(metadata.command('user', 'add', user))
  const args = ['--user', user, '--invitation', invitation, '--password-file', line(password)]
  const { status, stdout, stderr } = dfs('register', on, ...args)
  if (status !== 0) throw new Error(stderr)
  return stdout.trim()
}

async function open(on: string): Promise<Client> {
  return openClient({ profile: await readProfile(profile(on)), log: silent })
}

const code = await register('ann', 'the first password', 'ann-1')

t.test('a new password: the old one is refused, devices and their files stay', async (t) => {
  t.match(login('ann', 'the first password', 'ann-2'), { status: 0 })
  const other = await open('ann-2')
  t.teardown(async () => other.close())
  const secret = Buffer.from(other.session.rootKey.secret)
  const passwd = (old: string): Ended =>
    dfs('passwd', 'ann-1', '--password-file', line(old), '--new-password-file', line('the second'))
  t.match(passwd('not the password'), { status: NO_PERMISSION, stderr: /password is wrong/ })
  t.match(passwd('the first password'), { status: 0, stderr: /1 other sessions ended/ })
  t.match(login('ann', 'the first password', 'ann-3'), { status: NO_PERMISSION })
  t.match(login('ann', 'the second', 'ann-3'), { status: 0 })
  const third = await open('ann-3')
  t.same(Buffer.from(third.session.rootKey.secret), secret, 'the keys are the same')
  await third.close()
  const stat = await other.session.read(methods.statfs, {})
  t.ok(stat.quotaBytes >= 0, 'a mount whose session ended opens a new one by its device')
})

t.test('devices are listed; a revoked one is out at once', async (t) => {
  const json = dfs('devices list', 'ann-1', '--json')
  const listed = JSON.parse(json.stdout) as {
    recovery: boolean
    devices: { device: number; own: boolean; created: string }[]
  }
  t.equal(listed.devices.length, 3)
  t.equal(listed.recovery, true)
  t.equal(listed.devices.filter(({ own }) => own).length, 1)
  t.match(dfs('devices', 'ann-1'), { status: 0, stdout: /this one/ })
  const lost = await open('ann-3')
  t.teardown(async () => lost.close())
  const { device } = await readProfile(profile('ann-3'))
  t.match(dfs('devices revoke', 'ann-1', String(device)), { status: 0 })
  await t.rejects(lost.session.read(methods.statfs, {}), { code: 'loginRefused' })
  await t.rejects(open('ann-3'), { code: 'loginRefused' })
  t.match(dfs('devices revoke', 'ann-1', String(device)), { status: FAILURE, stderr: /notFound/ })
  const own = await readProfile(profile('ann-1'))
  t.match(dfs('devices revoke', 'ann-1', String(own.device)), { stderr: /dfs logout/ })
})

t.test(
  'the recovery code gives access back without the password, until it is renewed',
  async (t) => {
    const recover = (words: string, on: string, password: string): Ended => {
      const files = ['--code-file', line(words), '--password-file', line(password)]
      return dfs('recover', on, '--user', 'ann', '--cluster', card, ...files)
    }
    t.match(recover(code.slice(1), 'ann-4', 'the third one'), {
      status: 64,
      stderr: /recovery code/,
    })
    const slip = code.startsWith('Z') ? `Y${code.slice(1)}` : `Z${code.slice(1)}`
    t.match(recover(slip, 'ann-4', 'the third one'), { status: 64, stderr: /checksum/ })
    t.match(recover(code.toLowerCase(), 'ann-4', 'the third one'), { status: 0, stdout: '' })
    t.match(login('ann', 'the third one', 'ann-5'), { status: 0 })
    t.match(login('ann', 'the second', 'ann-6'), { status: NO_PERMISSION })
    const renewed = dfs('recovery', 'ann-4', '--password-file', line('the third one'))
    t.equal(renewed.status, 0)
    t.match(recover(code, 'ann-6', 'the fourth'), {
      status: NO_PERMISSION,
      stderr: /code is wrong/,
    })
    t.match(recover(renewed.stdout, 'ann-6', 'the fourth'), { status: 0 })
  },
)

t.test('logging out erases the profile and the device, but not under a mount', async (t) => {
  const mount = await open('ann-5')
  // Not waited for in one piece: the mount must be able to answer when its lease is recalled.
  const script = join(repository, 'dist/bin/dfs.js')
  const logout = spawn(process.execPath, [script, 'logout', '--profile', profile('ann-5')])
  const said = contents(logout.stderr)
  const [status] = (await once(logout, 'exit')) as [number]
  t.equal(status, FAILURE)
  t.match(await said, /unmount/)
  await mount.close()
  const { device } = await readProfile(profile('ann-5'))
  const kept = readFileSync(join(profile('ann-5'), 'profile.json'))
  t.match(dfs('logout', 'ann-5'), { status: 0 })
  t.notOk(existsSync(join(profile('ann-5'), 'profile.json')))
  writeFileSync(join(profile('ann-5'), 'profile.json'), kept, { mode: 0o600 })
  t.match(dfs('ls', 'ann-5'), { status: NO_PERMISSION }, 'a copy of the profile is worth nothing')
  t.match(dfs('logout', 'ann-5'), { status: 0 }, 'and can be logged out of once more')
  const left = dfs('devices list', 'ann-1', '--json').stdout
  t.notMatch(left, new RegExp(`"device": ${device},`))
})

t.test('what would leave no way in is refused', async (t) => {
  const made = await metadata.register('bob', 'a password of bob')
  t.ok(made.device > 0)
  t.match(login('bob', 'a password of bob', 'bob'), { status: 0 })
  t.match(dfs('devices revoke', 'bob', String(made.device)), { status: 0 })
  t.match(dfs('logout', 'bob'), { status: FAILURE, stderr: /lastWayIn/ })
  t.equal(statSync(join(profile('bob'), 'profile.json')).mode & 0o777, 0o600)
  t.match(dfs('logout', 'bob', '--force'), { status: 0 })
  t.match(login('bob', 'a password of bob', 'bob'), { status: 0 }, 'the password still opens it')
})

t.test('neither the code nor a password is in what the server keeps', async (t) => {
  await metadata.kill()
  const stored = readdirSync(metadata.dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name)))
  for (const secret of [code, code.replaceAll('-', ''), 'the first password', 'the fourth']) {
    t.notOk(stored.some((bytes) => bytes.includes(secret)))
  }
  t.ok(stored.some((bytes) => bytes.includes('ann')))
})
