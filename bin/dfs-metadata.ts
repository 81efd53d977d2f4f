#!/usr/bin/env node
/**
 * `dfs-metadata`: makes a cluster, runs its metadata server, and the operator's commands.
 */
import type { Argv } from 'yargs'
import { initCluster } from '../server/metadata/cluster-files.ts'
import { backup, releaseUnknown, restore } from './metadata/backup.ts'
import { check, checkOptions } from './metadata/check.ts'
import {
  addUser,
  card,
  deleteUser,
  disableUser,
  drainServer,
  joinToken,
  listServers,
  listUsers,
  removeServer,
  revokeServer,
  setQuota,
} from './metadata/operator.ts'
import { forgetStandby, promote } from './metadata/replication.ts'
import { serve, serveOptions } from './metadata/serve.ts'
import { standby, standbyOptions } from './metadata/standby.ts'
import { status } from './metadata/status.ts'
import { commandLine } from './runtime/command-line.ts'
import { runMain } from './runtime/exit.ts'
import { growHeap } from './runtime/heap.ts'

// Marking stops every user: often and for less garbage each time rather than seldom and for long.
growHeap(100)

const DEFAULT_REPLICAS = 2
const dir = {
  type: 'string',
  demandOption: true,
  describe: 'Folder of the metadata server',
} as const
const tokenOptions = {
  dir,
  standby: { type: 'boolean', default: false, describe: 'For a standby of this server' },
  valid: { type: 'string', default: '1h', describe: 'Such as 30m or 7d' },
} as const
const initOptions = {
  dir: { ...dir, describe: 'New or empty folder' },
  replicas: { type: 'number', default: DEFAULT_REPLICAS, describe: 'Replicas of each chunk' },
  'write-quorum': {
    type: 'number',
    describe: 'Replicas durable before a write is [default: 2, or 1 with one replica]',
  },
} as const

const name = { type: 'string', demandOption: true, describe: 'Name of the user' } as const
const serverId = { type: 'number', demandOption: true, describe: 'Number in the list' } as const
const json = { type: 'boolean', default: false } as const

function userCommands(command: Argv): Argv {
  return command
    .command({
      command: 'add <name>',
      describe: 'Add a user and print the invitation to register with',
      builder: (add) =>
        add
          .positional('name', name)
          .options({
            dir,
            quota: { type: 'string', describe: 'Bytes, such as 500G' },
            valid: { type: 'string', default: '7d', describe: 'How long the invitation is good' },
          })
          .example('$0 user add ann --quota 500G --dir /srv/meta', 'then: dfs register'),
      handler: ({ dir: folder, name: user, ...more }) => addUser(folder, user, more),
    })
    .command({
      command: 'list',
      describe: 'List users and what they use',
      builder: (all) => all.options({ dir, json }),
      handler: (argv) => listUsers(argv.dir, argv.json),
    })
    .command({
      command: 'disable <name>',
      describe: 'End the sessions of a user and refuse new ones; nothing is deleted',
      builder: (one) => one.positional('name', name).options({ dir }),
      handler: (argv) => disableUser(argv.dir, argv.name, true),
    })
    .command({
      command: 'enable <name>',
      describe: 'Undo disable',
      builder: (one) => one.positional('name', name).options({ dir }),
      handler: (argv) => disableUser(argv.dir, argv.name, false),
    })
    .command({
      command: 'quota <name> <size>',
      describe: 'Set what a user may store, such as 500G, or none',
      builder: (one) =>
        one
          .positional('name', name)
          .positional('size', { type: 'string', demandOption: true })
          .options({ dir }),
      handler: (argv) => setQuota(argv.dir, argv.name, argv.size),
    })
    .command({
      command: 'delete <name>',
      describe: 'Delete a user and every file of his',
      builder: (one) =>
        one.positional('name', name).options({ dir, yes: { ...json, describe: 'Really' } }),
      handler: (argv) => deleteUser(argv.dir, argv.name, argv.yes),
    })
    .demandCommand(1, 'say add, list, disable, enable, quota or delete')
}

function serverCommands(command: Argv): Argv {
  return command
    .command({
      command: 'list',
      describe: 'List the chunkservers',
      builder: (all) => all.options({ dir, json }),
      handler: (argv) => listServers(argv.dir, argv.json),
    })
    .command({
      command: 'revoke <id>',
      describe: 'Refuse a chunkserver from now on, for good',
      builder: (one) =>
        one.positional('id', serverId).options({
          dir,
          force: { ...json, describe: 'Also with the only replica of something' },
        }),
      handler: (argv) => revokeServer(argv.dir, argv.id, argv.force),
    })
    .command({
      command: 'drain <id>',
      describe: 'Copy everything away from a chunkserver that is to leave',
      builder: (one) =>
        one.positional('id', serverId).options({
          dir,
          undo: { ...json, describe: 'Let it stay' },
        }),
      handler: (argv) => drainServer(argv.dir, argv.id, !argv.undo),
    })
    .command({
      command: 'remove <id>',
      describe: 'Forget a chunkserver that is drained, or revoked and replaced',
      builder: (one) => one.positional('id', serverId).options({ dir }),
      handler: (argv) => removeServer(argv.dir, argv.id),
    })
    .demandCommand(1, 'say list, drain, remove or revoke')
}

/** What keeps and brings back the directory itself. */
function directoryCommands(line: Argv): Argv {
  return line
    .command({
      command: 'backup',
      describe: 'Write a backup, of a running or a stopped server',
      builder: (command) =>
        command
          .options({
            dir,
            to: { ...dir, describe: 'New file; it holds every secret of the server' },
          })
          .example('$0 backup --dir /srv/meta --to /backup/monday', 'while it serves'),
      handler: (argv) => backup(argv.dir, argv.to),
    })
    .command({
      command: 'restore',
      describe: 'Make a directory from a backup',
      builder: (command) =>
        command
          .options({
            dir: { ...dir, describe: 'New or empty folder' },
            from: { ...dir, describe: 'A backup' },
          })
          .example('$0 restore --from /backup/monday --dir /srv/meta', 'then: serve'),
      handler: (argv) => restore(argv.from, argv.dir),
    })
    .command({
      command: 'release-unknown',
      describe: 'Let go of chunks that are kept since a restore though no file names them',
      builder: (command) => command.options({ dir }),
      handler: (argv) => releaseUnknown(argv.dir),
    })
    .command({
      command: 'check',
      describe: 'Check the directory of a stopped server, and repair it',
      builder: (command) =>
        command
          .options(checkOptions)
          .example('$0 check --dir /srv/meta --repair', 'exit code 65 when something is left'),
      handler: (options) => check({ ...options, scratch: options.scratch }),
    })
}

function replicationCommands(command: Argv): Argv {
  return command
    .command({
      command: 'standby',
      describe: 'Follow a metadata server, to take its place when told to',
      builder: (one) =>
        one
          .options(standbyOptions)
          .example('$0 standby --dir /srv/meta --of meta.example:7400 --sync', 'as a daemon'),
      handler: (options) =>
        standby({
          ...options,
          advertise: options.advertise,
          of: options.of,
          fallback: options.fallback,
          tokenFile: options.tokenFile,
        }),
    })
    .command({
      command: 'promote',
      describe: 'Make a standby the metadata server',
      builder: (one) => one.options({ dir: { ...dir, describe: 'Folder of the standby' } }),
      handler: (argv) => promote(argv.dir),
    })
    .command({
      command: 'status',
      describe: 'Show the role, how the standby follows, and whether every chunk has its replicas',
      builder: (one) => one.options({ dir, json }),
      handler: (argv) => status(argv.dir, argv.json),
    })
    .command({
      command: 'forget-standby',
      describe: 'Give up a standby that does not come back',
      builder: (one) => one.options({ dir }),
      handler: (argv) => forgetStandby(argv.dir),
    })
}

await runMain('dfs-metadata', async () => {
  const line = commandLine('dfs-metadata')
    .usage('$0 <command>\n\nKeeps the tree of a dfs cluster: who owns what, and where it is.')
    .command({
      command: 'init',
      describe: 'Make a new cluster',
      builder: (command) =>
        command
          .options(initOptions)
          .example('$0 init --dir /srv/meta --replicas 3', 'a new cluster'),
      handler: ({ dir: folder, replicas, writeQuorum }) =>
        initCluster({ dir: folder, replicas, writeQuorum }),
    })
    .command({
      command: 'serve',
      describe: 'Run the metadata server',
      builder: (command) =>
        command
          .options(serveOptions)
          .example('$0 serve --dir /srv/meta --advertise meta.example:7400', 'as a daemon'),
      handler: (options) => serve({ ...options, advertise: options.advertise }),
    })
    .command({
      command: 'user',
      describe: 'Add, list, disable and delete users',
      builder: userCommands,
      handler: () => undefined,
    })
    .command({
      command: 'server',
      describe: 'List, drain, remove and revoke chunkservers',
      builder: serverCommands,
      handler: () => undefined,
    })
    .command({
      command: 'join-token',
      describe: 'Make and print a token with which a chunkserver or a standby joins, once',
      builder: (command) =>
        command
          .options(tokenOptions)
          .example(
            '$0 join-token --dir /srv/meta > token',
            'for dfs-chunkserver serve --token-file',
          ),
      handler: ({ dir: folder, valid, standby: forStandby }) =>
        joinToken(folder, valid, forStandby),
    })
    .command({
      command: 'card',
      describe: 'Print what a login on a further machine needs beside the password',
      builder: (command) => command.options({ dir }),
      handler: ({ dir: folder }) => card(folder),
    })
  await replicationCommands(directoryCommands(line))
    .demandCommand(1, 'say which command')
    .parseAsync()
})
