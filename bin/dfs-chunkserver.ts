#!/usr/bin/env node
/**
 * `dfs-chunkserver`: keeps sealed chunks, and checks a store that is not running.
 */
import { check, checkOptions } from './chunkserver/check.ts'
import { serve, serveOptions } from './chunkserver/serve.ts'
import { commandLine } from './runtime/command-line.ts'
import { runMain } from './runtime/exit.ts'
import { growHeap } from './runtime/heap.ts'

growHeap(400)

await runMain('dfs-chunkserver', async () => {
  await commandLine('dfs-chunkserver')
    .usage('$0 <command>\n\nKeeps sealed chunks of a dfs cluster.')
    .command({
      command: 'serve',
      describe: 'Serve chunks; join the cluster first if need be',
      builder: (command) =>
        command
          .options(serveOptions)
          .conflicts('token', 'token-file')
          .example(
            '$0 serve --dir /srv/dfs --metadata meta:7400 --rack a --advertise host:7500 --token-file t',
            'first start: joins with a token',
          )
          .example(
            '$0 serve --dir /srv/dfs --metadata meta:7400 --rack a --advertise host:7500',
            'every later start',
          ),
      handler: (options) =>
        serve({
          ...options,
          advertise: options.advertise,
          token: options.token,
          tokenFile: options.tokenFile,
          reserve: options.reserve,
        }),
    })
    .command({
      command: 'check',
      describe: 'Verify every chunk of a folder that no server runs on',
      builder: (command) =>
        command
          .options(checkOptions)
          .example('$0 check --dir /srv/dfs', 'exit code 1 when damaged'),
      handler: (options) => check(options),
    })
    .demandCommand(1, 'say which command')
    .parseAsync()
})
