#!/usr/bin/env node
/**
 * `dfs`: a cluster for a first try, the account, and the store without a mount.
 */
import { acceptRollbackCommand } from './commands/accept-rollback.ts'
import { givenArguments } from './commands/arguments.ts'
import { loginCommand, registerCommand } from './commands/account.ts'
import { devicesCommand, logoutCommand } from './commands/devices.ts'
import { lsCommand } from './commands/ls.ts'
import { passwdCommand, recoverCommand, recoveryCommand } from './commands/password.ts'
import { getCommand, putCommand } from './commands/put-get.ts'
import { mkdirCommand, rmCommand } from './commands/remove.ts'
import { revealCommand } from './commands/reveal.ts'
import { statusCommand } from './commands/status.ts'
import { downCommand, upCommand } from './commands/up.ts'
import { commandLine } from './runtime/command-line.ts'
import { runMain } from './runtime/exit.ts'

await runMain('dfs', async () => {
  await commandLine('dfs', givenArguments())
    .usage('$0 <command>\n\nAn encrypted, distributed file store.')
    .command(upCommand)
    .command(downCommand)
    .command(registerCommand)
    .command(loginCommand)
    .command(logoutCommand)
    .command(passwdCommand)
    .command(recoveryCommand)
    .command(recoverCommand)
    .command(devicesCommand)
    .command(lsCommand)
    .command(putCommand)
    .command(getCommand)
    .command(mkdirCommand)
    .command(rmCommand)
    .command(statusCommand)
    .command(revealCommand)
    .command(acceptRollbackCommand)
    .completion('completion', 'Print a script for shell completion: dfs completion >> ~/.bashrc')
    .demandCommand(1, 'say which command')
    .example('$0 up', 'start a cluster here and mount it at ./mnt')
    .example('$0 put -r ~/mail /mail', 'copy a folder into the store')
    .parseAsync()
})
