/**
 * `dfs accept-rollback`: for when the operator had to restore a backup, and this device, which has seen a
 * newer tree, refuses the older one. Shows both, asks, and takes what there is.
 */
import { createInterface } from 'node:readline/promises'
import type { CommandModule } from 'yargs'
import { openClient } from '../../mount/client/open.ts'
import { readProfile } from '../../mount/client/profile.ts'
import { compareTrees, type Comparison } from '../../mount/freshness/accept.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { commandLog, defaultProfile, profileOption } from './options.ts'

interface AcceptArguments {
  profile: string | undefined
  yes: boolean
  'forget-versions': boolean
}

export const acceptRollbackCommand: CommandModule<object, AcceptArguments> = {
  command: 'accept-rollback',
  describe: 'Take an older tree, after the operator had to restore a backup',
  builder: (parser) =>
    parser
      .options({
        ...profileOption,
        'forget-versions': {
          type: 'boolean',
          default: false,
          describe: 'Also when the server has lost what was known of versions',
        },
        yes: { type: 'boolean', default: false, describe: 'Do not ask' },
      })
      .epilogue(
        'What was changed since that backup is lost. Ask the operator first: without a restored backup, a tree that went back means that the server hides changes.',
      ),
  handler: async ({ profile: dir, yes, 'forget-versions': forgetVersions }) => {
    const stateDir = dir ?? defaultProfile()
    const log = commandLog()
    const client = await openClient({ profile: await readProfile(stateDir), log })
    try {
      const comparison = await compareTrees(client.session, stateDir, log)
      console.error(asText(comparison))
      if (!comparison.refused && !forgetVersions) return
      if (!yes && !(await confirmed())) throw new DfsError('cancelled', 'nothing was changed')
      await comparison.accept(forgetVersions)
      console.error(
        'accepted; start mounts of this account anew, and run this on its other devices',
      )
    } finally {
      await client.close()
    }
  },
}

function asText({ refused, remembered, given }: Comparison): string {
  const known = remembered.length === 0 ? ['nothing'] : remembered
  return [
    ...known.map((state) => `this device has seen:        ${state}`),
    `the metadata server has now: ${given}`,
    refused
      ? 'The tree does not come of the one that this device has seen: changes since are missing.'
      : 'There is nothing to accept: the tree comes of the one that this device has seen.',
  ].join('\n')
}

async function confirmed(): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new DfsError('invalidArgument', 'there is no terminal to ask at; use --yes')
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return (await terminal.question('Accept it, and what it lost? (yes/no) ')).trim() === 'yes'
  } finally {
    terminal.close()
  }
}
