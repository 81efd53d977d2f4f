/**
 * The operator's commands of `dfs-metadata`: they ask the running server, with the admin certificate
 * in its directory.
 */
import { Dialer } from '../../schema/quic/dialer.ts'
import type { Peer } from '../../schema/quic/api.ts'
import type { AddUserRequest, CreateJoinTokenRequest } from '../../schema/generated/metadata.ts'
import type { Method } from '../../schema/rpc/api.ts'
import { methods } from '../../schema/methods.ts'
import { formatCredential, type CredentialKind } from '../../schema/wire/credential.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { clusterPaths, readAddresses, readIdentity } from '../../server/metadata/cluster-files.ts'
import { METADATA_NAME } from '../../server/metadata/peer-names.ts'
import { parseSeconds } from '../runtime/duration.ts'
import { createLog } from '../runtime/log.ts'
import { formatSize, parseSize } from '../runtime/size.ts'

/** Adds a user; prints the invitation. `valid` such as 90s, 30m, 1h, 7d. */
export async function addUser(
  dir: string,
  user: string,
  { quota, valid }: { quota: string | undefined; valid: string },
): Promise<void> {
  const quotaBytes = quota === undefined ? 0 : parseSize(quota)
  print(await invite(dir, { user, quotaBytes, validSeconds: parseSeconds(valid) }))
}

/** Adds a user; the invitation to register with. */
export async function invite(dir: string, request: AddUserRequest): Promise<string> {
  const { invitation } = await ask(dir, methods.addUser, request)
  return credentialOf(dir, 'invitation', invitation)
}

/** Lists the users, as a table or as JSON. */
export async function listUsers(dir: string, json: boolean): Promise<void> {
  const { users } = await ask(dir, methods.listUsers, {})
  if (json) {
    process.stdout.write(`${JSON.stringify(users, null, 2)}\n`)
    return
  }
  for (const { userId, user, registered, usedBytes, inodes, quotaBytes, ...is } of users) {
    const quota = quotaBytes === 0 ? 'no quota' : `of ${formatSize(quotaBytes)}`
    const state = registered ? `${formatSize(usedBytes)} ${quota}, ${inodes} inodes` : 'invited'
    const more = is.deleting ? ', being deleted' : is.disabled ? ', disabled' : ''
    process.stdout.write(`${userId}\t${user}\t${state}${more}\n`)
  }
}

/** Disables a user, whose sessions end at once, or enables him again. */
export async function disableUser(dir: string, user: string, disabled: boolean): Promise<void> {
  await ask(dir, methods.disableUser, { user, disabled })
}

/** Deletes a user and all that he stored. */
export async function deleteUser(dir: string, user: string, sure: boolean): Promise<void> {
  if (!sure) {
    const detail = `this deletes ${user} and every file of his, for good; repeat with --yes`
    throw new DfsError('invalidArgument', detail)
  }
  await ask(dir, methods.deleteUser, { user })
}

/** Sets what a user may store: a size such as 500G, or `none`. */
export async function setQuota(dir: string, user: string, quota: string): Promise<void> {
  const quotaBytes = quota === 'none' ? 0 : parseSize(quota)
  if (quotaBytes === 0 && quota !== 'none') {
    throw new DfsError('invalidArgument', 'a quota of nothing; write none for no quota')
  }
  await ask(dir, methods.setQuota, { user, quotaBytes })
}

/** Lists the chunkservers, as a table or as JSON. */
export async function listServers(dir: string, json: boolean): Promise<void> {
  const { servers } = await ask(dir, methods.clusterStatus, {})
  if (json) {
    process.stdout.write(`${JSON.stringify(servers, null, 2)}\n`)
    return
  }
  for (const { id, rack, state, addresses, chunks, usedBytes } of servers) {
    const holds = `${chunks} chunks, ${formatSize(usedBytes)}`
    process.stdout.write(`${id}\t${state}\t${rack}\t${addresses.join(' ')}\t${holds}\n`)
  }
}

/** Empties a chunkserver that is to leave, or lets it stay. */
export async function drainServer(dir: string, server: number, drain: boolean): Promise<void> {
  checkServer(server)
  await ask(dir, methods.drainServer, { server, drain })
}

/** Forgets a chunkserver that has nothing any more. */
export async function removeServer(dir: string, server: number): Promise<void> {
  checkServer(server)
  await ask(dir, methods.removeServer, { server })
}

/** Takes a chunkserver its standing, for good. */
export async function revokeServer(dir: string, server: number, force: boolean): Promise<void> {
  checkServer(server)
  const { lost } = await ask(dir, methods.revokeServer, { server, force })
  const more = lost === 0 ? '' : `; ${lost} chunks have no replica on a living server`
  process.stderr.write(`chunkserver ${server} is revoked${more}\n`)
}

function checkServer(server: number): void {
  if (Number.isInteger(server) && server > 0) return
  throw new DfsError('invalidArgument', 'a chunkserver is a number; see server list')
}

/** Makes a join token for a chunkserver or a standby; prints it. `valid` such as 90s, 30m, 1h, 7d. */
export async function joinToken(dir: string, valid: string, standby: boolean): Promise<void> {
  print(await makeJoinToken(dir, { validSeconds: parseSeconds(valid), standby }))
}

/** Makes a join token, as text. */
export async function makeJoinToken(dir: string, request: CreateJoinTokenRequest): Promise<string> {
  const { secret } = await ask(dir, methods.createJoinToken, request)
  return credentialOf(dir, 'join', secret)
}

/** Prints the cluster's card: what a login on a further machine needs beside the password. */
export async function card(dir: string): Promise<void> {
  print(await credentialOf(dir, 'cluster', new Uint8Array(0)))
}

const print = (text: string): boolean => process.stdout.write(`${text}\n`)

/** A credential as text: the secret, and how to find and to know the server of a directory. */
async function credentialOf(
  dir: string,
  kind: CredentialKind,
  secret: Uint8Array,
): Promise<string> {
  const { certificatePem: caPem } = await readIdentity(clusterPaths(dir).authority)
  const addresses = await readAddresses(dir)
  return formatCredential({ kind, addresses, secret, caPem })
}

/** Asks the running server of a directory. */
export function ask<Q, R>(dir: string, method: Method<Q, R>, request: Q): Promise<R> {
  return withServer(dir, (peer) => peer.call(method, request))
}

/** Does something with the running server of a directory, as its operator. */
export async function withServer<R>(dir: string, work: (peer: Peer) => Promise<R>): Promise<R> {
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
    return await work(peer)
  } finally {
    await peer.close()
    await dialer.close()
  }
}
