/**
 * What a local cluster keeps in its directory, and where.
 *
 *   DIR/cluster.json            options of the first `up`, ports, mount point
 *   DIR/metadata                the metadata server's directory
 *   DIR/chunkserver-N           the chunkservers' directories
 *   DIR/profile                 a client profile; DIR/password the account's password (0600)
 *   DIR/recovery-code           the account's recovery code (0600)
 *   DIR/run/NAME.{pid,out}      process ids, and what the daemons print
 *   DIR/logs/NAME.log           their logs
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DfsError } from '../../schema/wire/status.ts'

const VERSION = 1

export interface ClusterState {
  version: number
  chunkservers: number
  racks: number
  replicas: number
  user: string
  /** Absolute path. */
  mount: string
  /** Ports that the daemons had last, by name, so that addresses stay what they were. */
  ports: Record<string, number>
}

export interface ClusterPaths {
  readonly dir: string
  readonly metadata: string
  readonly profile: string
  readonly password: string
  readonly recoveryCode: string
  readonly run: string
  readonly logs: string
  chunkserver(index: number): string
}

/** Paths inside a cluster's directory. */
export function clusterPaths(dir: string): ClusterPaths {
  return {
    dir,
    metadata: join(dir, 'metadata'),
    profile: join(dir, 'profile'),
    password: join(dir, 'password'),
    recoveryCode: join(dir, 'recovery-code'),
    run: join(dir, 'run'),
    logs: join(dir, 'logs'),
    chunkserver: (index) => join(dir, chunkserverName(index)),
  }
}

/** Name of the N-th chunkserver of a local cluster, from 1. */
export function chunkserverName(index: number): string {
  return `chunkserver-${index}`
}

/** The state in a cluster's directory, undefined where there is none. */
export function readState(dir: string): ClusterState | undefined {
  const path = join(dir, 'cluster.json')
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  const state = parse(text, path)
  if (state.version !== VERSION) {
    throw new DfsError('versionMismatch', `${path} is of version ${state.version}, not ${VERSION}`)
  }
  return state
}

function parse(text: string, path: string): ClusterState {
  try {
    return JSON.parse(text) as ClusterState
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new DfsError('recordCorrupt', `${path} is damaged: ${why}`, { cause: error })
  }
}

/** Replaces the state, whole or not at all. */
export function writeState(dir: string, state: Omit<ClusterState, 'version'>): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const path = join(dir, 'cluster.json')
  writeFileSync(`${path}.new`, `${JSON.stringify({ ...state, version: VERSION }, null, 2)}\n`)
  renameSync(`${path}.new`, path)
}
