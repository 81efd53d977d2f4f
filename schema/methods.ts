/**
 * The protocol's methods, one row each: what goes in and out, its bounds and its deadline.
 *
 * A new method is a new row, its tables in schema/fbs, and the handler at the server; the transport
 * learns of it from here. Ids are the wire format: add, never renumber. 1-99 metadata service for
 * clients, 100-199 cluster (chunkservers and standbys to metadata server), 200-299 chunk service,
 * 300-399 administration.
 */
import type { Codec } from './wire/codec.ts'
import type { Method } from './rpc/api.ts'
import { limits } from './wire/limits.ts'
import * as chunk from './generated/chunk.ts'
import * as cluster from './generated/cluster.ts'
import * as meta from './generated/metadata.ts'
import * as replication from './generated/replication.ts'

/** Bytes of a message that holds no list. */
const SMALL = 16_384
const LARGE = limits.messageBytesMax
/** One that carries a window's patch as well. */
const WITH_PATCH = SMALL + limits.sealedPatchBytesMax
/** A full chunk as it travels: each of its blocks with its tag. */
const SEALED_CHUNK = limits.chunkBlocksMax * limits.sealedBlockBytes
/** The digests of every window of the largest file: 36 bytes each. */
const MANIFEST = (limits.fileBytesMax / limits.chunkBytesMax) * 36
/** All records of a store: a few hundred bytes a file. */
const BACKUP_BYTES_MAX = 2 ** 42

/** Log records that travel together: the longest one and what frames it. */
const LOG_PAYLOAD = 64 * LARGE

const DEADLINE_MS = 10_000
/** A chunk over a slow line: 64 MiB at 1 MB/s, and its sync. */
const CHUNK_DEADLINE_MS = 90_000
/** A chunk that is copied at a bounded rate: two of 64 MiB at once at 1 MiB/s, with some to spare. */
const COPY_DEADLINE_MS = 300_000

type Bounds = Partial<Omit<Method<unknown, unknown>, 'id' | 'name' | 'request' | 'response'>>

function method<Q, R>(
  id: number,
  name: string,
  request: Codec<Q>,
  response: Codec<R>,
  bounds: Bounds = {},
): Method<Q, R> {
  return {
    id,
    name,
    request,
    response,
    requestBytesMax: SMALL,
    responseBytesMax: SMALL,
    uploadBytesMax: 0,
    downloadBytesMax: 0,
    deadlineMs: DEADLINE_MS,
    urgency: 'control',
    replay: 'harmless',
    ...bounds,
  }
}

const logged = { replay: 'logged' } as const

export const methods = {
  registerStart: method(1, 'registerStart', meta.RegisterStartRequest, meta.RegisterStartResponse),
  registerFinish: method(
    2,
    'registerFinish',
    meta.RegisterFinishRequest,
    meta.RegisterFinishResponse,
  ),
  loginStart: method(3, 'loginStart', meta.LoginStartRequest, meta.LoginStartResponse),
  loginFinish: method(4, 'loginFinish', meta.LoginFinishRequest, meta.Account),
  addDevice: method(5, 'addDevice', meta.AddDeviceRequest, meta.AddDeviceResponse),
  challenge: method(6, 'challenge', meta.ChallengeRequest, meta.ChallengeResponse),
  openSession: method(7, 'openSession', meta.OpenSessionRequest, meta.OpenSessionResponse, {
    requestBytesMax: LARGE,
  }),
  /** Asks any server whether it is there: any answer says so, also that it does not serve this. */
  ping: method(8, 'ping', meta.Empty, meta.Empty, { deadlineMs: 4_000 }),

  passwordStart: method(9, 'passwordStart', meta.PasswordStartRequest, meta.PasswordStartResponse),
  setPassword: method(10, 'setPassword', meta.SetPasswordRequest, meta.SetPasswordResponse),
  recover: method(11, 'recover', meta.RecoverRequest, meta.Account),
  setRecovery: method(12, 'setRecovery', meta.SetRecoveryRequest, meta.Empty),
  listDevices: method(13, 'listDevices', meta.ListDevicesRequest, meta.ListDevicesResponse, {
    responseBytesMax: 131_072,
  }),
  revokeDevice: method(14, 'revokeDevice', meta.RevokeDeviceRequest, meta.Empty),

  resolve: method(20, 'resolve', meta.ResolveRequest, meta.ResolveResponse, {
    requestBytesMax: 131_072,
    responseBytesMax: 4 * LARGE,
  }),
  getInode: method(21, 'getInode', meta.GetInodeRequest, meta.InodeResponse),
  release: method(22, 'release', meta.ReleaseRequest, meta.Empty),
  list: method(23, 'list', meta.ListRequest, meta.ListResponse, { responseBytesMax: 8 * LARGE }),
  create: method(24, 'create', meta.CreateRequest, meta.InodeResponse, logged),
  link: method(25, 'link', meta.LinkRequest, meta.InodeResponse, logged),
  unlink: method(26, 'unlink', meta.UnlinkRequest, meta.UnlinkResponse, logged),
  rename: method(27, 'rename', meta.RenameRequest, meta.RenameResponse, logged),
  setAttributes: method(28, 'setAttributes', meta.SetAttributesRequest, meta.InodeResponse, {
    ...logged,
    requestBytesMax: SMALL + limits.sealedXattrsBytesMax,
  }),
  readXattrs: method(29, 'readXattrs', meta.ReadXattrsRequest, meta.ReadXattrsResponse, {
    responseBytesMax: SMALL + limits.sealedXattrsBytesMax,
  }),

  commit: method(40, 'commit', meta.CommitRequest, meta.InodeResponse, {
    ...logged,
    requestBytesMax: 4 * LARGE,
    deadlineMs: 30_000,
  }),
  plan: method(41, 'plan', meta.PlanRequest, meta.PlanResponse, { responseBytesMax: LARGE }),
  readWindows: method(42, 'readWindows', meta.ReadWindowsRequest, meta.ReadWindowsResponse, {
    responseBytesMax: 16 * LARGE,
  }),
  readManifest: method(43, 'readManifest', meta.ReadManifestRequest, meta.ReadManifestResponse, {
    downloadBytesMax: MANIFEST,
  }),
  reportChunk: method(44, 'reportChunk', meta.ReportChunkRequest, meta.Empty),
  statfs: method(45, 'statfs', meta.StatfsRequest, meta.StatfsResponse),
  clusterStatus: method(
    46,
    'clusterStatus',
    meta.ClusterStatusRequest,
    meta.ClusterStatusResponse,
    {
      responseBytesMax: LARGE,
    },
  ),

  reveal: method(47, 'reveal', meta.RevealRequest, meta.RevealResponse, {
    responseBytesMax: 16 * LARGE,
  }),

  /** Served by clients. */
  recallLease: method(80, 'recallLease', meta.RecallLeaseRequest, meta.Empty),
  grantLease: method(81, 'grantLease', meta.GrantLeaseRequest, meta.Empty),
  inodeNumbers: method(82, 'inodeNumbers', meta.InodeNumbersRequest, meta.InodeNumbersResponse),
  birth: method(83, 'birth', meta.BirthRequest, meta.InodeResponse, {
    ...logged,
    requestBytesMax: WITH_PATCH,
  }),
  changeNames: method(86, 'changeNames', meta.ChangeNamesRequest, meta.ChangeNamesResponse, {
    ...logged,
    requestBytesMax: LARGE,
    responseBytesMax: LARGE,
  }),
  /** The session is over; its holds, its answers and its lease go. */
  endSession: method(84, 'endSession', meta.Empty, meta.Empty),

  /** Served by clients. */
  metadataServers: method(85, 'metadataServers', replication.MetadataServersRequest, meta.Empty),

  readTreeState: method(
    90,
    'readTreeState',
    meta.ReadTreeStateRequest,
    meta.ReadTreeStateResponse,
    { responseBytesMax: 12 * LARGE },
  ),
  /** Compares and swaps: who repeats it finds its own state there. */
  writeTreeState: method(91, 'writeTreeState', meta.WriteTreeStateRequest, meta.Empty, {
    requestBytesMax: 12 * LARGE,
  }),

  join: method(100, 'join', cluster.JoinRequest, cluster.JoinResponse),
  register: method(101, 'register', cluster.RegisterRequest, cluster.RegisterResponse),
  heartbeat: method(102, 'heartbeat', cluster.HeartbeatRequest, cluster.HeartbeatResponse, {
    requestBytesMax: LARGE,
    responseBytesMax: LARGE,
  }),

  joinStandby: method(
    110,
    'joinStandby',
    replication.JoinStandbyRequest,
    replication.JoinStandbyResponse,
  ),
  follow: method(111, 'follow', replication.FollowRequest, replication.FollowResponse),
  /** Served by standbys. */
  appendLog: method(112, 'appendLog', replication.AppendLogRequest, replication.AppendLogResponse, {
    uploadBytesMax: LOG_PAYLOAD,
  }),
  copyPage: method(113, 'copyPage', replication.CopyPageRequest, replication.CopyPageResponse, {
    responseBytesMax: 16 * LARGE,
    deadlineMs: 30_000,
  }),
  copyLog: method(114, 'copyLog', replication.CopyLogRequest, replication.CopyLogResponse, {
    responseBytesMax: LOG_PAYLOAD,
    deadlineMs: 30_000,
  }),
  /** Between metadata servers, and from the operator. */
  replicationStatus: method(
    115,
    'replicationStatus',
    replication.ReplicationStatusRequest,
    replication.ReplicationStatusResponse,
    { deadlineMs: 3_000 },
  ),

  /** Served by chunkservers, to the metadata server. Their deadlines are for slow disks and lines. */
  copyChunk: method(120, 'copyChunk', cluster.CopyChunkRequest, cluster.CopyChunkResponse, {
    deadlineMs: COPY_DEADLINE_MS,
  }),
  checkChunks: method(121, 'checkChunks', cluster.CheckChunksRequest, cluster.CheckChunksResponse, {
    deadlineMs: COPY_DEADLINE_MS,
  }),

  writeChunk: method(200, 'writeChunk', chunk.WriteChunkRequest, chunk.WriteChunkResponse, {
    uploadBytesMax: SEALED_CHUNK,
    deadlineMs: CHUNK_DEADLINE_MS,
    urgency: 'bulk',
  }),
  readChunk: method(201, 'readChunk', chunk.ReadChunkRequest, chunk.ReadChunkResponse, {
    downloadBytesMax: SEALED_CHUNK,
    deadlineMs: CHUNK_DEADLINE_MS,
    urgency: 'bulk',
  }),

  /** Served by chunkservers, to chunkservers. */
  fetchChunk: method(202, 'fetchChunk', chunk.FetchChunkRequest, chunk.FetchChunkResponse, {
    downloadBytesMax: SEALED_CHUNK,
    deadlineMs: COPY_DEADLINE_MS,
    urgency: 'bulk',
  }),

  addUser: method(300, 'addUser', meta.AddUserRequest, meta.AddUserResponse),
  listUsers: method(301, 'listUsers', meta.ListUsersRequest, meta.ListUsersResponse, {
    responseBytesMax: 8 * LARGE,
  }),
  createJoinToken: method(
    302,
    'createJoinToken',
    meta.CreateJoinTokenRequest,
    meta.CreateJoinTokenResponse,
  ),
  disableUser: method(303, 'disableUser', meta.DisableUserRequest, meta.Empty),
  deleteUser: method(304, 'deleteUser', meta.DeleteUserRequest, meta.Empty),
  setQuota: method(305, 'setQuota', meta.SetQuotaRequest, meta.Empty),
  /** Looks at every chunk of the server. */
  revokeServer: method(306, 'revokeServer', meta.RevokeServerRequest, meta.RevokeServerResponse, {
    deadlineMs: 300_000,
  }),
  promote: method(307, 'promote', replication.PromoteRequest, replication.PromoteResponse),
  forgetStandby: method(308, 'forgetStandby', replication.ForgetStandbyRequest, meta.Empty),
  backup: method(310, 'backup', meta.BackupRequest, meta.BackupResponse, {
    downloadBytesMax: BACKUP_BYTES_MAX,
    deadlineMs: 3_600_000,
    urgency: 'bulk',
  }),
  releaseUnknown: method(
    311,
    'releaseUnknown',
    meta.ReleaseUnknownRequest,
    meta.ReleaseUnknownResponse,
  ),
  repairStatus: method(320, 'repairStatus', meta.RepairStatusRequest, meta.RepairStatusResponse),
  drainServer: method(321, 'drainServer', meta.DrainServerRequest, meta.Empty),
  removeServer: method(322, 'removeServer', meta.RemoveServerRequest, meta.Empty, {
    deadlineMs: 300_000,
  }),
} as const
