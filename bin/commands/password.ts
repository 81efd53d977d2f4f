/**
 * `dfs passwd`, `dfs recovery` and `dfs recover`: a new password with the old one, a new recovery code,
 * and a new password with the code. The files stay as they are: one key is wrapped anew.
 */
import { hostname } from 'node:os'
import type { CommandModule } from 'yargs'
import { clusterFromCard, loginAccount } from '../../mount/client/account.ts'
import { changePassword, recoverAccount, renewRecovery } from '../../mount/client/account-keys.ts'
import { readProfile, writeProfile } from '../../mount/client/profile.ts'
import { RecoveryCode } from '../../mount/crypto/recovery-code.ts'
import type { SetPasswordResponse } from '../../schema/generated/metadata.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { readNewPassword, readPassword, readSecret } from '../runtime/password.ts'
import { accountOptions, clusterOption, showRecovery, textOrFile } from './account.ts'
import { commandLog, defaultProfile, forceOption, profileOption } from './options.ts'

const passwordFile = {
  type: 'string',
  requiresArg: true,
  describe: 'File with the password; - for standard input [default: ask]',
} as const
const revokeOption = {
  'revoke-devices': {
    type: 'boolean',
    default: false,
    describe: 'All other devices must log in again',
  },
} as const

interface PasswdArguments {
  profile: string | undefined
  'password-file': string | undefined
  'new-password-file': string | undefined
  'revoke-devices': boolean
  force: boolean
}

export const passwdCommand: CommandModule<object, PasswdArguments> = {
  command: 'passwd',
  describe: 'Change the password; other sessions end, devices stay',
  builder: (parser) =>
    parser
      .options({
        ...profileOption,
        'password-file': passwordFile,
        'new-password-file': { ...passwordFile, describe: 'The same for the new password' },
        ...revokeOption,
        ...forceOption,
      })
      .example('$0 passwd --revoke-devices', 'when a machine was lost'),
  handler: async (argv) => {
    const { user, device, ...cluster } = await readProfile(argv.profile ?? defaultProfile())
    const { 'password-file': oldFile, 'new-password-file': newFile } = argv
    refuseTwice(oldFile, newFile)
    const answer = await changePassword({
      cluster,
      user,
      password: await readPassword(`Password of ${user}: `, oldFile),
      newPassword: await readNewPassword(newFile),
      keepDevice: device,
      revokeDevices: argv['revoke-devices'],
      force: argv.force,
      log: commandLog(),
    })
    tell(`changed the password of ${user}`, answer)
  },
}

interface RecoveryArguments {
  profile: string | undefined
  'password-file': string | undefined
}

export const recoveryCommand: CommandModule<object, RecoveryArguments> = {
  command: 'recovery',
  describe: 'Make a new recovery code; an older one is good no more',
  builder: (parser) => parser.options({ ...profileOption, 'password-file': passwordFile }),
  handler: async (argv) => {
    const { user, ...cluster } = await readProfile(argv.profile ?? defaultProfile())
    const password = await readPassword(`Password of ${user}: `, argv['password-file'])
    showRecovery(await renewRecovery({ cluster, user, password, log: commandLog() }))
  },
}

interface RecoverArguments {
  profile: string | undefined
  user: string
  cluster: string
  'code-file': string | undefined
  'password-file': string | undefined
  'revoke-devices': boolean
}

export const recoverCommand: CommandModule<object, RecoverArguments> = {
  command: 'recover',
  describe: 'Set a new password with the recovery code, and log in',
  builder: (parser) =>
    parser
      .options({
        ...accountOptions,
        ...clusterOption,
        'code-file': { ...passwordFile, describe: 'The same for the recovery code' },
        ...revokeOption,
      })
      .example('$0 recover --user ann --cluster card.txt', 'asks for the code and a new password'),
  handler: async (argv) => {
    const { user, 'code-file': codeFile, 'password-file': file } = argv
    refuseTwice(argv.cluster, codeFile, file)
    const cluster = clusterFromCard(await textOrFile(argv.cluster, 'dfs-cluster-'))
    const code = RecoveryCode.parse(await readSecret('Recovery code: ', codeFile))
    const password = await readNewPassword(file)
    // The code itself stays a way in, and this machine becomes a device.
    const options = { keepDevice: 0, revokeDevices: argv['revoke-devices'], force: false }
    const given = { cluster, user, code, newPassword: password, log: commandLog() }
    tell(`set a new password for ${user}`, await recoverAccount({ ...given, ...options }))
    code.erase()
    const login = { cluster, user, password, deviceName: hostname(), log: commandLog() }
    const dir = argv.profile ?? defaultProfile()
    await writeProfile(dir, await loginAccount(login))
    console.error(`logged in as ${user}; the profile is in ${dir}`)
  },
}

function tell(done: string, { sessionsEnded, devicesRevoked }: SetPasswordResponse): void {
  console.error(`${done}; ${sessionsEnded} other sessions ended, ${devicesRevoked} devices revoked`)
}

/** Standard input can be read once. */
function refuseTwice(...sources: (string | undefined)[]): void {
  if (sources.filter((source) => source === '-').length > 1) {
    throw new DfsError('invalidArgument', 'only one thing can come from standard input')
  }
}
