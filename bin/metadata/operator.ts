/**
 * The operator's commands of `dfs-metadata`: they ask the running server, with the admin certificate
 * in its directory.
 */
import { Dialer } from '../../schema/quic/dialer.ts'
import type { Method } from '../../schema/rpc/api.ts'
import { methods } from '../../schema/methods.ts'
import { formatCredential, type CredentialKind } from '../../schema/wire/credential.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { clusterPaths, readAddresses, readIdentity } from '../../server/metadata/cluster-files.ts'
import { METADATA_NAME } from '../../server/metadata/peer-names.ts'
import { createLog } from '../runtime/log.ts'
import { formatSize, parseSize } from '../runtime/size.ts'

/** Adds a user; prints the invitation. */
export async function addUser(dir: string, user: string, quota: string | undefined): Promise<void> {
  const quotaBytes = quota === undefined ? 0 : parseSize(quota)
  const { invitation } = await ask(dir, methods.addUser, { user, quotaBytes })
  await printCredential(dir, 'invitation', invitation)
}

/** Lists the users, as a table or as JSON. */
export async function listUsers(dir: string, json: boolean): Promise<void> {
  const { users } = await ask(dir, methods.listUsers, {})
  if (json) {
    process.stdout.write(`${JSON.stringify(users, null, 2)}\n`)
    return
  }
  for (const { userId, user, registered, usedBytes, inodes, quotaBytes } of users) {
    const quota = quotaBytes === 0 ? 'no quota' : `of ${formatSize(quotaBytes)}`
    const state = registered ? `${formatSize(usedBytes)} ${quota}, ${inodes} inodes` : 'invited'
    process.stdout.write(`${userId}\t${user}\t${state}\n`)
  }
}

/** Makes a join token; prints it. `valid` such as 90s, 30m, 1h, 7d. */
export async function joinToken(dir: string, valid: string): Promise<void> {
  const { secret } = await ask(dir, methods.createJoinToken, { validSeconds: seconds(valid) })
  await printCredential(dir, 'join', secret)
}

/** Prints the cluster's card: what a login on a further machine needs beside the password. */
export async function card(dir: string): Promise<void> {
  await printCredential(dir, 'cluster', new Uint8Array(0))
}

async function printCredential(
  dir: string,
  kind: CredentialKind,
  secret: Uint8Array,
): Promise<void> {
  const { certificatePem: caPem } = await readIdentity(clusterPaths(dir).authority)
  const addresses = await readAddresses(dir)
  process.stdout.write(`${formatCredential({ kind, addresses, secret, caPem })}\n`)
}

async function ask<Q, R>(dir: string, method: Method<Q, R>, request: Q): Promise<R> {
  const paths = clusterPaths(dir)
  const { certificatePem: caPem } = await readIdentity(paths.authority)
  const log = createLog('dfs-metadata', { level: 'error' })
  const dialer = new Dialer({ log })
  const peer = dialer.peer({
    addresses: await readAddresses(dir),
    serverName: METADATA_NAME,
    caPem,
    identity: await readIdentity(paths.admin),
    log,
  })
  try {
    return await peer.call(method, request)
  } finally {
    await peer.close()
    await dialer.close()
  }
}

const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 }

function seconds(text: string): number {
  const match = /^(\d+)([smhd])$/u.exec(text)
  const unit = UNIT_SECONDS[match?.[2] ?? '']
  if (match === null || unit === undefined) {
    throw new DfsError('invalidArgument', `"${text}" is not a time; write 90s, 30m, 1h or 7d`)
  }
  return Number(match[1]) * unit
}
