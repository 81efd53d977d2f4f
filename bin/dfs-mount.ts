#!/usr/bin/env node
/**
 * `dfs-mount`: a user's store as a folder.
 */
import { mountInBackground } from './mount/background.ts'
import { mountInForeground } from './mount/foreground.ts'
import { mountOptions, parseMountOptions } from './mount/options.ts'
import { commandLine } from './runtime/command-line.ts'
import { runMain } from './runtime/exit.ts'
import { growHeap } from './runtime/heap.ts'

growHeap(300)

await runMain('dfs-mount', async () => {
  await commandLine('dfs-mount')
    .command(
      '$0 <directory>',
      'Mounts the store on an empty directory.\n\nReturns when the folder answers; unmount with: fusermount3 -u DIRECTORY',
      (command) =>
        command
          .positional('directory', { type: 'string', demandOption: true })
          .options(mountOptions)
          .example('$0 /mnt/dfs', 'the account that you logged in to last')
          .example('$0 ~/store --profile ~/.config/dfs-work', 'another account')
          .example(
            '$0 /mnt/dfs --cache-size 2G --read-only',
            'only for reading, with a large cache',
          ),
      async (options) => {
        const settings = parseMountOptions(options)
        await (options.foreground ? mountInForeground(settings) : mountInBackground(settings))
      },
    )
    .parseAsync()
})
