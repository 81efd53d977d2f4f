/**
 * Logging in: with the right password on a further device, and the clear refusals of everything else.
 */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { formatCredential, parseCredential } from '../../schema/wire/credential.ts'
import { noMounts, runDfs, startCluster, type Ended } from '../support/cluster.ts'

// A file run by itself would end after tap's 30 s.
t.setTimeout(290_000)

const reason = noMounts()
const options = reason === undefined ? {} : { skip: reason }
const NO_PERMISSION = 77

t.test('accounts', options, async (t) => {
  const cluster = startCluster(t, '--chunkservers', '1')
  const metadata = join(cluster.dir, 'metadata')
  const card = runDfs('dfs-metadata', ['card', '--dir', metadata]).stdout
  const password = readFileSync(join(cluster.dir, 'password'), 'utf8')

  const login = (user: string, secret: string, clusterText: string, profile: string): Ended => {
    const file = join(cluster.dir, 'card')
    writeFileSync(file, clusterText)
    const args = ['--user', user, '--cluster', file, '--password-file', '-', '--profile', profile]
    return runDfs('dfs', ['login', ...args], secret)
  }

  t.test('the right password makes a profile that sees the same files', async (t) => {
    const profile = join(cluster.dir, 'second-device')
    writeFileSync(join(cluster.mount, 'hello'), 'over there')
    t.match(login('me', password, card, profile), { status: 0 })
    t.equal(statSync(join(profile, 'profile.json')).mode & 0o777, 0o600)
    t.match(runDfs('dfs', ['ls', '--profile', profile]), { status: 0, stdout: /^hello$/m })
  })

  t.test('a wrong password and an unknown user are refused alike', async (t) => {
    const profile = join(cluster.dir, 'none')
    const wrong = login('me', 'not the password', card, profile)
    const unknown = login('nobody-here', password, card, profile)
    t.match(wrong, { status: NO_PERMISSION, stderr: /password/ })
    t.equal(unknown.status, NO_PERMISSION)
    t.equal(unknown.stderr, wrong.stderr, 'one answer for both')
    t.notOk(existsSync(join(profile, 'profile.json')))
    t.notMatch(wrong.stderr, /\n\s+at /, 'no stack trace')
  })

  t.test(
    'a server with a foreign certificate is refused before the password is used',
    async (t) => {
      const foreign = join(cluster.dir, 'foreign')
      t.match(runDfs('dfs-metadata', ['init', '--dir', foreign]), { status: 0 })
      const { addresses } = parseCredential(card, 'cluster')
      const caPem = readFileSync(join(foreign, 'ca', 'certificate.pem'), 'utf8')
      const forged = formatCredential({
        kind: 'cluster',
        addresses,
        secret: new Uint8Array(0),
        caPem,
      })
      const refused = login('me', password, forged, join(cluster.dir, 'none'))
      t.match(refused, { status: NO_PERMISSION, stderr: /certificate/ })
    },
  )

  t.test('an invitation opens one account, once', async (t) => {
    const added = runDfs('dfs-metadata', ['user', 'add', 'ann', '--dir', metadata])
    t.equal(added.status, 0, added.stderr)
    const profile = join(cluster.dir, 'ann')
    const register = (): Ended => {
      const args = ['--user', 'ann', '--invitation', '-', '--profile', profile]
      const secret = join(cluster.dir, 'ann-password')
      writeFileSync(secret, 'a long enough password')
      return runDfs('dfs', ['register', ...args, '--password-file', secret], added.stdout)
    }
    t.match(register(), { status: 0 })
    t.match(runDfs('dfs', ['ls', '--profile', profile]), { status: 0, stdout: '' })
    t.match(register(), { status: NO_PERMISSION }, 'the second time it is refused')
  })

  t.test('a login without a terminal and without a password file says what to do', async (t) => {
    const args = ['login', '--user', 'me', '--cluster', card.trim()]
    t.match(runDfs('dfs', args, ''), { status: 64, stderr: /--password-file/ })
  })

  t.test('a wrong call is answered with exit code 64 and where help is', async (t) => {
    t.match(runDfs('dfs', ['frobnicate']), { status: 64, stderr: /dfs --help/ })
    t.match(runDfs('dfs', ['up', '--replicas', 'many']), { status: 64 })
  })
})
