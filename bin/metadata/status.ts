/**
 * `dfs-metadata status`: the role of the server of a directory and how its standby follows; at the
 * metadata server itself also the chunkservers, and how far the repair of chunks is.
 */
import type {
  ClusterStatusResponse,
  RepairStatusResponse,
} from '../../schema/generated/metadata.ts'
import type { ReplicationStatusResponse } from '../../schema/generated/replication.ts'
import { methods } from '../../schema/methods.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { formatSize } from '../runtime/size.ts'
import { withServer } from './operator.ts'

/** Inode numbers printed as text; JSON has all that the server names. */
const PRINTED_INODES_MAX = 20

type Replication = Omit<ReplicationStatusResponse, 'epochProof'>

/** Only the server that serves knows of chunks. */
interface Chunks {
  readonly cluster: ClusterStatusResponse
  readonly repair: RepairStatusResponse
}

/** Prints it, as text or as JSON. */
export async function status(dir: string, json: boolean): Promise<void> {
  const { state, chunks, refusal } = await withServer(dir, async (peer) => {
    const request = { epoch: 0, epochProof: new Uint8Array(0) }
    const { epochProof: _, ...replication } = await peer.call(methods.replicationStatus, request)
    if (replication.role !== 'primary') return { state: replication }
    try {
      const cluster = await peer.call(methods.clusterStatus, {})
      const repair = await peer.call(methods.repairStatus, {})
      return { state: replication, chunks: { cluster, repair } }
    } catch (error) {
      // It waits for its standby, or has just been replaced; what is known is shown.
      if (!(error instanceof DfsError)) throw error
      return { state: replication, refusal: error.message }
    }
  })
  const text = json ? asJson(state, chunks) : asText(state, chunks, refusal)
  process.stdout.write(`${text}\n`)
}

function asJson(state: Replication, chunks: Chunks | undefined): string {
  return JSON.stringify({ ...state, ...(chunks && chunksAsJson(chunks)) }, null, 2)
}

function chunksAsJson({ cluster, repair }: Chunks): object {
  return {
    ...cluster,
    cluster: Buffer.from(cluster.cluster).toString('hex'),
    started: new Date(Number(cluster.started / 1_000_000n)).toISOString(),
    repair,
  }
}

function asText(
  state: Replication,
  chunks: Chunks | undefined,
  refusal: string | undefined,
): string {
  const lines = replicationLines(state)
  if (chunks !== undefined) lines.push(...chunkLines(chunks))
  if (refusal !== undefined) lines.push(`chunks\tnot known now: ${refusal}`)
  return lines.join('\n')
}

function replicationLines(state: Replication): string[] {
  const { role, epoch, number, addresses, connected, primaryNumber, standbyNumber, lagMs } = state
  const batches = primaryNumber - standbyNumber
  const lag = `${batches} batches, ${(lagMs / 1_000).toFixed(1)} s behind`
  const all = [`role\t${role}`, `epoch\t${epoch}`, `log\t${number}`]
  if (role === 'standby' || role === 'copying') {
    all.push(`of\t${addresses.join(' ')}`, `follows\t${connected ? lag : 'no'}`)
    return all
  }
  if (addresses.length === 0) return [...all, 'standby\tnone']
  all.push(`standby\t${addresses.join(' ')}`, `follows\t${connected ? lag : `no, ${lag}`}`)
  return [...all, `mode\t${mode(state)}`]
}

function mode({ sync, waits, fallbackMs }: Replication): string {
  if (!sync) return 'asynchronous'
  if (!waits) return 'synchronous, but going on without the standby now'
  return fallbackMs === 0 ? 'synchronous' : `synchronous, without it after ${fallbackMs / 1_000} s`
}

function chunkLines({ cluster, repair }: Chunks): string[] {
  const states = new Map<string, number>()
  for (const { state } of cluster.servers) states.set(state, (states.get(state) ?? 0) + 1)
  const servers = [...states].map(([state, count]) => `${count} ${state}`).join(', ')
  const lines = [
    `chunkservers: ${servers || 'none'}`,
    `${cluster.inodes} inodes, ${cluster.chunks} chunks, ${cluster.replicas} replicas wanted of each`,
    ...waitingLines(cluster, repair),
  ]
  const { copied, copiedBytes, failed, lookingThrough } = repair
  if (copied + failed > 0) {
    lines.push(
      `${copied} replicas made since the start (${formatSize(copiedBytes)}), ${failed} failures`,
    )
  }
  if (lookingThrough.length > 0) {
    lines.push(`looking through the chunks of ${lookingThrough.join(', ')}`)
  }
  return [...lines, ...lostLines(cluster, repair)]
}

function waitingLines(
  { underReplicated }: ClusterStatusResponse,
  { waiting, copying }: RepairStatusResponse,
): string[] {
  if (underReplicated === 0) return ['every chunk has its replicas']
  const levels = waiting.flatMap((chunks, left) =>
    chunks === 0 || left === 0 ? [] : [`${chunks} with ${left} left`],
  )
  const by = levels.length === 0 ? '' : ` (${levels.join(', ')})`
  return [`${underReplicated} chunks lack replicas${by}, ${copying} copies being made`]
}

function lostLines(
  { lostChunks }: ClusterStatusResponse,
  { lostInodes, moreLostInodes }: RepairStatusResponse,
): string[] {
  if (lostChunks === 0) return []
  const files = `${moreLostInodes ? 'more than ' : ''}${lostInodes.length} files`
  const printed = lostInodes.slice(0, PRINTED_INODES_MAX)
  const more = lostInodes.length > printed.length || moreLostInodes ? ', ...' : ''
  return [
    `LOST: ${lostChunks} chunks of ${files} have no replica that can be read now.`,
    `Bring back a chunkserver that has them. Inodes: ${printed.join(', ')}${more}`,
    'The owner finds a name with: find MOUNTPOINT -inum NUMBER',
  ]
}
