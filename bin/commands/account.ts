/**
 * `dfs register` and `dfs login`: a profile from an invitation, or on a further device. The recovery
 * code is the one thing on standard output.
 */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { text } from 'node:stream/consumers'
import type { CommandModule } from 'yargs'
import { clusterFromCard, loginAccount, registerAccount } from '../../mount/client/account.ts'
import { writeProfile } from '../../mount/client/profile.ts'
import { RecoveryCode } from '../../mount/crypto/recovery-code.ts'
import { readNewPassword, readPassword } from '../runtime/password.ts'
import { defaultProfile, profileOption } from './options.ts'

export const accountOptions = {
  ...profileOption,
  user: { type: 'string', demandOption: true, requiresArg: true, describe: 'Account name' },
  'password-file': {
    type: 'string',
    requiresArg: true,
    describe: 'File with the password; - for standard input [default: ask]',
  },
} as const

export const clusterOption = {
  cluster: {
    type: 'string',
    demandOption: true,
    requiresArg: true,
    describe: "The cluster's card (dfs-cluster-v1…), a file with it, or - for standard input",
  },
} as const

interface AccountArguments {
  profile: string | undefined
  user: string
  'password-file': string | undefined
}

export const registerCommand: CommandModule<object, AccountArguments & { invitation: string }> = {
  command: 'register',
  describe: 'Open an account with an invitation, and make a profile',
  builder: (parser) =>
    parser
      .options({
        ...accountOptions,
        invitation: {
          type: 'string',
          demandOption: true,
          requiresArg: true,
          describe: 'The invitation (dfs-invitation-v1…), a file with it, or - for standard input',
        },
      })
      .example('$0 register --user ann --invitation invitation.txt', 'asks for a new password'),
  handler: async (argv) => {
    const recovery = RecoveryCode.generate()
    const profile = await registerAccount({
      invitation: await textOrFile(argv.invitation, 'dfs-invitation-'),
      user: argv.user,
      password: await readNewPassword(argv['password-file']),
      deviceName: hostname(),
      recovery,
    })
    const dir = argv.profile ?? defaultProfile()
    await writeProfile(dir, profile)
    console.error(`registered ${argv.user}; the profile is in ${dir}`)
    showRecovery(recovery)
  },
}

export const loginCommand: CommandModule<object, AccountArguments & { cluster: string }> = {
  command: 'login',
  describe: 'Log in on this machine, and make a profile',
  builder: (parser) =>
    parser
      .options({ ...accountOptions, ...clusterOption })
      .example('$0 login --user ann --cluster card.txt', '"dfs-metadata card" prints the card'),
  handler: async (argv) => {
    const profile = await loginAccount({
      cluster: clusterFromCard(await textOrFile(argv.cluster, 'dfs-cluster-')),
      user: argv.user,
      password: await readPassword(`Password of ${argv.user}: `, argv['password-file']),
      deviceName: hostname(),
    })
    const dir = argv.profile ?? defaultProfile()
    await writeProfile(dir, profile)
    console.error(`logged in as ${argv.user}; the profile is in ${dir}`)
  },
}

/** Shows a new code, for the only time. */
export function showRecovery(code: RecoveryCode): void {
  console.error(
    'This recovery code opens the account when the password is forgotten ("dfs recover").\n' +
      'It is not shown again, and whoever has it has the account: keep it on paper, apart from here.',
  )
  console.log(code.toText())
  code.erase()
}

/** A credential as given: the text itself, a file with it, or standard input for `-`. */
export async function textOrFile(given: string, start: string): Promise<string> {
  if (given === '-') return text(process.stdin)
  if (given.startsWith(start) && !existsSync(given)) return given
  return readFile(given, 'utf8')
}
