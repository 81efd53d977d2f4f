/** `dfs status`: the servers and what is stored, as the metadata server knows it. */
import Table from 'cli-table3'
import type { CommandModule } from 'yargs'
import { openClient } from '../../mount/client/open.ts'
import { readProfile } from '../../mount/client/profile.ts'
import type { ClusterStatusResponse, StatfsResponse } from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'
import { formatSize } from '../runtime/size.ts'
import { commandLog, defaultProfile, jsonOption, profileOption } from './options.ts'

interface StatusArguments {
  profile: string | undefined
  json: boolean
}

export const statusCommand: CommandModule<object, StatusArguments> = {
  command: 'status',
  describe: 'Show the servers and what is stored',
  builder: (parser) => parser.options({ ...profileOption, ...jsonOption }),
  handler: async ({ profile: dir, json }) => {
    const profile = await readProfile(dir ?? defaultProfile())
    const client = await openClient({ profile, log: commandLog() })
    try {
      const cluster = await client.session.read(methods.clusterStatus, {})
      const store = await client.session.read(methods.statfs, {})
      console.log(json ? asJson(cluster, store) : asText(profile.user, cluster, store))
    } finally {
      await client.close()
    }
  },
}

function asJson(cluster: ClusterStatusResponse, store: StatfsResponse): string {
  const { started } = cluster
  return JSON.stringify(
    {
      ...cluster,
      cluster: Buffer.from(cluster.cluster).toString('hex'),
      started: new Date(Number(started / 1_000_000n)).toISOString(),
      store,
    },
    null,
    2,
  )
}

function asText(user: string, cluster: ClusterStatusResponse, store: StatfsResponse): string {
  const table = new Table({
    head: ['server', 'rack', 'address', 'state', 'used', 'free', 'chunks', 'to delete'],
    style: { head: [], border: [] },
  })
  for (const server of cluster.servers) {
    const age = server.heartbeatAgeMs / 1_000
    table.push([
      `chunkserver-${server.id}`,
      server.rack,
      server.addresses.join(' '),
      AWAY.has(server.state) ? `${server.state} for ${age.toFixed(0)} s` : server.state,
      formatSize(server.usedBytes),
      formatSize(server.freeBytes),
      server.chunks,
      server.deletesQueued,
    ])
  }
  const quota = store.quotaBytes === 0 ? '' : ` of ${formatSize(store.quotaBytes)} allowed`
  return [
    `cluster ${Buffer.from(cluster.cluster).toString('hex')}, dfs ${cluster.version}, up since ${new Date(Number(cluster.started / 1_000_000n)).toISOString()}`,
    `${cluster.replicas} replicas of each chunk; a write needs ${cluster.writeQuorum}`,
    ...repairLines(cluster),
    `${cluster.inodes} inodes, ${cluster.chunks} chunks, ${cluster.users} users`,
    `${user}: ${formatSize(store.usedBytes)}${quota}; ${formatSize(store.freeBytes)} free`,
    table.toString(),
  ].join('\n')
}

const AWAY: ReadonlySet<string> = new Set(['silent', 'lost'])

function repairLines({ underReplicated, lostChunks, copying }: ClusterStatusResponse): string[] {
  const lines: string[] = []
  if (underReplicated > 0) {
    lines.push(`${underReplicated} chunks lack replicas; ${copying} copies are being made`)
  }
  if (lostChunks > 0) {
    lines.push(`${lostChunks} chunks cannot be read: no chunkserver that has them is there`)
  }
  return lines
}
