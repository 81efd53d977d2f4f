/** `dfs up` and `dfs down`: a cluster on this machine, for a first try and for tests. */
import { existsSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import type { CommandModule } from 'yargs'
import { DfsError } from '../../schema/wire/status.ts'
import { executable } from '../cluster/daemon.ts'
import { down } from '../cluster/down.ts'
import { up, type RunningCluster } from '../cluster/up.ts'
import { commandLog } from './options.ts'

const DEFAULT_DIR = '.dfs'
/** How often a cluster in the foreground looks whether its daemons are alive. */
const WATCH_MS = 1_000

const dirOption = {
  dir: {
    type: 'string',
    default: DEFAULT_DIR,
    requiresArg: true,
    describe: "The cluster's folder: state, logs, profile",
  },
} as const

interface UpArguments {
  dir: string
  mount: string | undefined
  chunkservers: number | undefined
  racks: number | undefined
  replicas: number | undefined
  detach: boolean
}

export const upCommand: CommandModule<object, UpArguments> = {
  command: 'up',
  describe: 'Start a whole cluster on this machine and mount it',
  builder: (parser) =>
    parser
      .options({
        ...dirOption,
        mount: { type: 'string', requiresArg: true, describe: 'Mount point [default: ./mnt]' },
        chunkservers: { type: 'number', requiresArg: true, describe: 'How many [default: 3]' },
        racks: { type: 'number', requiresArg: true, describe: 'Racks they stand in [default: 2]' },
        replicas: { type: 'number', requiresArg: true, describe: 'Of each chunk [default: 2]' },
        detach: { type: 'boolean', default: false, describe: 'Return once the mount answers' },
      })
      .check(({ chunkservers, racks, replicas }) => {
        for (const [name, value] of Object.entries({ chunkservers, racks, replicas })) {
          if (value === undefined) continue
          if (!Number.isInteger(value) || value < 1 || value > 100) {
            throw new DfsError('invalidArgument', `--${name} takes a whole number from 1 to 100`)
          }
        }
        return true
      })
      .example('$0 up', 'one metadata server, three chunkservers in two racks, a mount at ./mnt')
      .example('$0 up --dir /srv/dfs --mount /mnt/dfs --detach', 'the same in the background'),
  handler: async (argv) => {
    const say = (text: string): void => console.error(`dfs: ${text}`)
    const stop = stopRequested()
    const cluster = await up({
      dir: resolve(argv.dir),
      mount: argv.mount === undefined ? undefined : resolve(argv.mount),
      chunkservers: argv.chunkservers,
      racks: argv.racks,
      replicas: argv.replicas,
      log: commandLog(),
      say,
    })
    console.log(welcome(cluster, argv.detach))
    if (argv.detach) return
    const watch = watchDaemons(cluster, say)
    await stop
    clearInterval(watch)
    await down(cluster.paths.dir, say)
  },
}

export const downCommand: CommandModule<object, { dir: string }> = {
  command: 'down',
  describe: 'Unmount and stop the cluster of this machine',
  builder: (parser) =>
    parser.options(dirOption).example('$0 down --dir /srv/dfs', 'exit 0 when nothing is left'),
  handler: async ({ dir }) => down(resolve(dir), (text) => console.error(`dfs: ${text}`)),
}

/** Resolves at Ctrl-C, a polite kill, or when the terminal goes away. */
async function stopRequested(): Promise<void> {
  return new Promise((resolvePromise) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => resolvePromise())
    }
  })
}

/** Says it once when a daemon is gone; `dfs up` again brings it back. */
function watchDaemons(cluster: RunningCluster, say: (text: string) => void): NodeJS.Timeout {
  const gone = new Set<string>()
  return setInterval(() => {
    for (const daemon of cluster.daemons) {
      const alive = daemon.pid !== undefined
      if (alive) gone.delete(daemon.name)
      if (alive || gone.has(daemon.name)) continue
      gone.add(daemon.name)
      say(`${daemon.name} has ended; see ${daemon.logFile}; "dfs up" again brings it back`)
    }
  }, WATCH_MS)
}

function welcome({ paths, state }: RunningCluster, detached: boolean): string {
  const { replicas, chunkservers, racks, mount } = state
  const aliases = ['dfs', 'dfs-mount']
    .filter((name) => !isOnPath(name))
    .map((name) => `  alias ${name}="node ${executable(name)}"\n`)
    .join('')
  return `
dfs is mounted at ${mount}
  ${replicas} replicas of each chunk, on ${chunkservers} chunkservers in ${racks} racks

try:
  cp -r /usr/share/doc ${mount}/ && ls ${mount}
${aliases}  export DFS_PROFILE=${paths.profile}
  dfs status                    the servers, and what is stored
  dfs ls -l /                   the same files without the mount
  dfs-mount /another/folder     the same files on a second mount

  account "${state.user}", password in ${paths.password}; logs in ${paths.logs}
${detached ? `stop it with: dfs down --dir ${paths.dir}` : 'Ctrl-C unmounts and stops everything; your files stay.'}`
}

/** Whether a shell finds the command by its name, as after `npm install -g`. */
function isOnPath(name: string): boolean {
  return (process.env['PATH'] ?? '')
    .split(delimiter)
    .some((dir) => !dir.includes('node_modules') && existsSync(join(dir, name)))
}
