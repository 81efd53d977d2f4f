#!/usr/bin/env node
/**
 * `dfs-metadata`: makes a cluster, runs its metadata server, and the operator's commands.
 */
import type { Argv } from 'yargs'
import { initCluster } from '../server/metadata/cluster-files.ts'
import { addUser, card, joinToken, listUsers } from './metadata/operator.ts'
import { serve, serveOptions } from './metadata/serve.ts'
import { commandLine } from './runtime/command-line.ts'
import { runMain } from './runtime/exit.ts'

const DEFAULT_REPLICAS = 2
const dir = {
  type: 'string',
  demandOption: true,
  describe: 'Folder of the metadata server',
} as const
const tokenOptions = {
  dir,
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

function userCommands(command: Argv): Argv {
  return command
    .command({
      command: 'add <name>',
      describe: 'Add a user and print the invitation to register with',
      builder: (add) =>
        add
          .positional('name', { type: 'string', demandOption: true })
          .options({ dir, quota: { type: 'string', describe: 'Bytes, such as 500G' } })
          .example('$0 user add ann --quota 500G --dir /srv/meta', 'then: dfs login'),
      handler: ({ dir: folder, name, quota }) => addUser(folder, name, quota),
    })
    .command({
      command: 'list',
      describe: 'List users and what they use',
      builder: (all) => all.options({ dir, json: { type: 'boolean', default: false } }),
      handler: ({ dir: folder, json }) => listUsers(folder, json),
    })
    .demandCommand(1, 'say add or list')
}

await runMain('dfs-metadata', async () => {
  await commandLine('dfs-metadata')
    .usage('$0 <command>\n\nKeeps the tree of a dfs cluster: who owns what, and where it is.')
    .command({
      command: 'init',
      describe: 'Make a new cluster',
      builder: (command) =>
        command
          .options(initOptions)
          .example('$0 init --dir /srv/meta --replicas 3', 'a new cluster'),
      handler: ({ dir: folder, replicas, writeQuorum }) =>
        initCluster({
          dir: folder,
          replicas,
          writeQuorum: writeQuorum ?? Math.min(DEFAULT_REPLICAS, replicas),
        }),
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
      describe: 'Add and list users',
      builder: userCommands,
      handler: () => undefined,
    })
    .command({
      command: 'join-token',
      describe: 'Make and print a token with which a chunkserver joins, once',
      builder: (command) =>
        command
          .options(tokenOptions)
          .example(
            '$0 join-token --dir /srv/meta > token',
            'for dfs-chunkserver serve --token-file',
          ),
      handler: ({ dir: folder, valid }) => joinToken(folder, valid),
    })
    .command({
      command: 'card',
      describe: 'Print what a login on a further machine needs beside the password',
      builder: (command) => command.options({ dir }),
      handler: ({ dir: folder }) => card(folder),
    })
    .demandCommand(1, 'say which command')
    .parseAsync()
})
