/**
 * The metadata service: method → who may call it → checks → operation → answer.
 *
 * Who a peer is: a chunkserver or the operator by certificate, a user by the session that was opened
 * on the connection. Logged operations go through the session's reply log, so that a repeated one
 * has its effect once.
 */
import type { Operation as OperationId } from '../../schema/generated/common.ts'
import { methods } from '../../schema/methods.ts'
import type { Connection, Method, ServerCall, Service } from '../../schema/rpc/api.ts'
import { invariant } from '../../schema/wire/invariant.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { addDevice } from './operations/add-device.ts'
import { addUser, createJoinToken, listUsers } from './operations/administration.ts'
import { backup } from './operations/backup.ts'
import { birth } from './operations/birth.ts'
import { changeNames } from './operations/change-names.ts'
import { clusterStatus } from './operations/cluster-status.ts'
import { commit } from './operations/commit.ts'
import { create } from './operations/create.ts'
import { drainServer, removeServer } from './operations/decommission.ts'
import { listDevices, revokeDevice } from './operations/devices.ts'
import { getInode } from './operations/get-inode.ts'
import { heartbeat } from './operations/heartbeat.ts'
import { inodeNumbers } from './operations/inode-numbers.ts'
import { join } from './operations/join.ts'
import { joinStandby } from './operations/join-standby.ts'
import { link } from './operations/link.ts'
import { list } from './operations/list.ts'
import { loginFinish, loginStart } from './operations/login.ts'
import { challenge, openSession } from './operations/open-session.ts'
import type { Mutation, Query } from './operations/operation.ts'
import { passwordStart, setPassword } from './operations/password.ts'
import { plan } from './operations/plan.ts'
import { readManifest } from './operations/read-manifest.ts'
import { readWindows } from './operations/read-windows.ts'
import { readXattrs } from './operations/read-xattrs.ts'
import { recover, setRecovery } from './operations/recovery.ts'
import { registerServer } from './operations/register-server.ts'
import { registerFinish, registerStart } from './operations/register-user.ts'
import { release } from './operations/release.ts'
import { reveal } from './operations/reveal.ts'
import { revokeServer } from './operations/revoke-server.ts'
import { rename } from './operations/rename.ts'
import { releaseUnknown } from './operations/release-unknown.ts'
import { repairStatus } from './operations/repair-status.ts'
import { reportChunk } from './operations/report-chunk.ts'
import { resolve } from './operations/resolve.ts'
import { setAttributes } from './operations/set-attributes.ts'
import { statfs } from './operations/statfs.ts'
import { readTreeState, writeTreeState } from './operations/tree-state.ts'
import { unlink } from './operations/unlink.ts'
import { deleteUser, disableUser, setQuota } from './operations/user-administration.ts'
import { ADMIN_NAME, chunkserverOf } from './peer-names.ts'
import { replay } from './replay.ts'
import type { RequestTimes } from './request-times.ts'
import { gated } from './standby/gate.ts'
import { stateOf, type Caller, type Services } from './services.ts'

const EMPTY = {}
/** A mutation as so many small reads: it is encoded, logged and written. */
const MUTATION_COST = 2
/** As many as a manifest of some thousand windows. */
const MANIFEST_COST = 8

/** Registers everything that the metadata server serves. */
export function serveMetadata(service: Service, services: Services): void {
  services.primary.serve(service)
  serveGated(gated(service, services.database.log), services)
}

function serveGated(service: Service, services: Services): void {
  serveAnybody(service, services)
  serveOwners(service, services)
  serveUsers(service, services)
  serveChunkservers(service, services)
  serveOperator(service, services)
}

function serveAnybody(service: Service, services: Services): void {
  service.handle(methods.ping, () => EMPTY)
  service.handle(methods.registerStart, (q, { connection }) =>
    registerStart(q, connection, services),
  )
  service.handle(methods.registerFinish, (q, { connection }) =>
    registerFinish(q, connection, services),
  )
  service.handle(methods.loginStart, (q, { connection }) => loginStart(q, connection, services))
  service.handle(methods.loginFinish, (q, { connection }) => loginFinish(q, connection, services))
  service.handle(methods.challenge, (_q, { connection }) => challenge(connection, services))
  service.handle(methods.openSession, (q, { connection }) => openSession(q, connection, services))
  service.handle(methods.join, (q, { connection }) => join(q, connection, services))
  service.handle(methods.joinStandby, (q, { connection }) => joinStandby(q, connection, services))
}

/** Each of these asks what the connection has proven, or whose session it carries. */
function serveOwners(service: Service, services: Services): void {
  service.handle(methods.addDevice, (q, { connection }) => addDevice(q, connection, services))
  service.handle(methods.passwordStart, (q, { connection }) =>
    passwordStart(q, connection, services),
  )
  service.handle(methods.setPassword, (q, { connection }) => setPassword(q, connection, services))
  service.handle(methods.recover, (q, { connection }) => recover(q, connection, services))
  service.handle(methods.setRecovery, async (q, { connection }) => {
    await setRecovery(q, connection, services)
    return EMPTY
  })
  service.handle(methods.listDevices, (_q, { connection }) => listDevices(connection, services))
  service.handle(methods.revokeDevice, async (q, { connection }) => {
    await revokeDevice(q, connection, services)
    return EMPTY
  })
}

function serveUsers(service: Service, services: Services): void {
  for (const mutation of [
    create,
    birth,
    link,
    unlink,
    rename,
    changeNames,
    setAttributes,
    commit,
  ]) {
    serveMutation(service, mutation as Mutation<{ operation: OperationId }, unknown>, services)
  }
  for (const query of [resolve, getInode, list, readWindows, readXattrs, readTreeState, reveal]) {
    serveTreeQuery(service, query as Query<unknown, unknown>, services)
  }
  for (const query of [release, plan, reportChunk, statfs]) {
    serveQuery(service, query as Query<unknown, unknown>, services)
  }
  service.handle(methods.inodeNumbers, (_q, call) =>
    admitted(call, { method: methods.inodeNumbers, cost: 1 }, services, (caller) =>
      inodeNumbers(caller, services),
    ),
  )
  service.handle(methods.writeTreeState, (q, call) => {
    const kind = { method: methods.writeTreeState, cost: MUTATION_COST }
    return leaseAdmitted(call, kind, services, (caller, times) =>
      writeTreeState(q, caller, services, times),
    )
  })
  service.handle(methods.endSession, async (_q, { connection }) => {
    await services.sessions.end(callerOf(connection).session)
    return EMPTY
  })
  service.handle(methods.clusterStatus, (_q, { connection }) => {
    if (connection.peer.name !== ADMIN_NAME) callerOf(connection)
    return clusterStatus(services)
  })
  service.handle(methods.readManifest, async (q, call) => {
    const kind = { method: methods.readManifest, cost: MANIFEST_COST }
    const { inode, windowCount, bytes } = await leaseAdmitted(call, kind, services, (caller) =>
      readManifest(q, caller, services),
    )
    call.respond({ inode, windowCount })
    await call.write(bytes)
    return undefined
  })
}

function serveQuery<Q, R>(service: Service, query: Query<Q, R>, services: Services): void {
  service.handle(query.method, (request, call) => {
    callerOf(call.connection)
    query.check?.(request)
    const kind = { method: query.method, cost: query.cost?.(request) ?? 1 }
    return admitted(call, kind, services, (caller, times) =>
      services.database.read((txn) => query.run(txn, request, caller, services), times),
    )
  })
}

/** A query that looks at the user's tree: it waits until no other session holds the tree's lease. */
function serveTreeQuery<Q, R>(service: Service, query: Query<Q, R>, services: Services): void {
  service.handle(query.method, (request, call) => {
    query.check?.(request)
    const kind = { method: query.method, cost: query.cost?.(request) ?? 1 }
    return leaseAdmitted(call, kind, services, (caller, times) =>
      services.database.read((txn) => query.run(txn, request, caller, services), times),
    )
  })
}

function serveMutation<Q extends { operation: OperationId }, R>(
  service: Service,
  mutation: Mutation<Q, R>,
  services: Services,
): void {
  const method: Method<Q, R> = mutation.method
  invariant(method.replay === 'logged', `${method.name} changes the store and is not logged`)
  service.handle(method, (request, call) => {
    mutation.check?.(request)
    const kind = { method, cost: mutation.cost?.(request) ?? MUTATION_COST }
    return leaseAdmitted(call, kind, services, (caller, times) =>
      replay(mutation, request, caller, services, times),
    )
  })
}

function serveChunkservers(service: Service, services: Services): void {
  service.handle(methods.register, async (q, { connection }) => {
    const server = chunkserverOn(connection, services)
    const response = await registerServer(server, q, services)
    stateOf(connection).registered = server
    services.links.add(server, connection)
    return response
  })
  service.handle(methods.heartbeat, (q, { connection }) => {
    const server = chunkserverOn(connection, services)
    const lost = services.topology.get(server)?.record.lost === true
    if (stateOf(connection).registered === server && !lost) return heartbeat(server, q, services)
    return { deletes: [], confirmed: [], ticketKeys: [], register: true, metadata: [] }
  })
}

function serveOperator(service: Service, services: Services): void {
  const serve = <Q, R>(method: Method<Q, R>, run: (request: Q) => Promise<R>): void =>
    service.handle(method, (request, { connection }) => {
      requireOperator(connection)
      return run(request)
    })
  serve(methods.addUser, (q) => addUser(q, services))
  serve(methods.listUsers, () => listUsers(services))
  serve(methods.createJoinToken, (q) => createJoinToken(q, services))
  serve(methods.disableUser, async (q) => disableUser(q, services).then(() => EMPTY))
  serve(methods.deleteUser, async (q) => deleteUser(q, services).then(() => EMPTY))
  serve(methods.setQuota, async (q) => setQuota(q, services).then(() => EMPTY))
  serve(methods.revokeServer, (q) => revokeServer(q, services))
  serve(methods.drainServer, async (q) => drainServer(q, services).then(() => EMPTY))
  serve(methods.removeServer, async (q) => removeServer(q, services).then(() => EMPTY))
  serve(methods.repairStatus, () => repairStatus(services))
  serve(methods.releaseUnknown, () => releaseUnknown(services))
  service.handle(methods.backup, async (_q, call) => {
    requireOperator(call.connection)
    await backup(call, services)
    return undefined
  })
}

function requireOperator(connection: Connection): void {
  if (connection.peer.name === ADMIN_NAME) return
  throw new DfsError('forbidden', 'only the operator may ask this, with the admin certificate')
}

/** What is asked for, as the admission sees it. */
interface Kind {
  readonly method: { readonly name: string }
  /** How many times the work of a small read. */
  readonly cost: number
}

type Work<R> = (caller: Caller, times: RequestTimes) => Promise<R>

/** Runs `work` for the caller when it is the user's turn. */
function admitted<R>(
  call: ServerCall,
  { method, cost }: Kind,
  { admission }: Services,
  work: Work<R>,
): Promise<R> {
  const request = {
    user: callerOf(call.connection).user,
    method: method.name,
    cost,
    bytes: call.messageBytes,
    abandoned: () => call.signal.aborted,
  }
  // The caller's session may have ended while it waited.
  return admission.run(request, (times) => work(callerOf(call.connection), times))
}

/**
 * As {@link admitted}, once no other session of the user holds the lease of the tree. The lease comes
 * first: its holder must find a place to send what it held back.
 */
function leaseAdmitted<R>(
  call: ServerCall,
  kind: Kind,
  services: Services,
  work: Work<R>,
): Promise<R> {
  const recalled = services.leases.enter(callerOf(call.connection).session)
  return recalled === undefined
    ? admitted(call, kind, services, work)
    : recalled.then(() => admitted(call, kind, services, work))
}

/** The user of the session that this connection carries. */
function callerOf(connection: Connection): Caller {
  const { caller } = stateOf(connection)
  if (caller === undefined || caller.session.ended || caller.session.connection !== connection) {
    throw new DfsError('notLoggedIn', 'no session is open on this connection; open one')
  }
  return caller
}

function chunkserverOn(connection: Connection, { topology }: Services): number {
  const server = chunkserverOf(connection.peer.name)
  if (server === undefined) {
    throw new DfsError('forbidden', 'only a chunkserver of this cluster may ask this')
  }
  if (topology.get(server)?.record.revoked === true) {
    throw new DfsError('forbidden', `the certificate of chunkserver ${server} was revoked`)
  }
  return server
}
