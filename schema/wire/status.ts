/**
 * Every way a request can fail, in one table: its number on the wire, the errno an application
 * sees, and what may help against it.
 *
 * Numbers are the wire format: add, never renumber. Ranges name the layer: 1000 transport and
 * frames, 2000 tree, 3000 chunks, 4000 accounts and rights, 5000 the cluster.
 */

/**
 * What a caller may do: `never` repeat it, repeat it `later` (to the same server), try `elsewhere`
 * (another replica or a new plan), or `refresh` what it knows (attributes, ticket) and then repeat.
 */
export type Retry = 'never' | 'later' | 'elsewhere' | 'refresh'

interface StatusRow {
  readonly wire: number
  readonly errno: string
  readonly retry: Retry
}

export const STATUS = {
  // Transport and frames. For `connectionLost` the request may or may not have been carried out.
  frameMalformed: { wire: 1000, errno: 'EPROTO', retry: 'never' },
  frameTooLarge: { wire: 1001, errno: 'EMSGSIZE', retry: 'never' },
  methodUnknown: { wire: 1002, errno: 'ENOSYS', retry: 'never' },
  tooManyRequests: { wire: 1003, errno: 'EAGAIN', retry: 'later' },
  deadlineExceeded: { wire: 1004, errno: 'ETIMEDOUT', retry: 'elsewhere' },
  cancelled: { wire: 1005, errno: 'EINTR', retry: 'never' },
  connectionLost: { wire: 1006, errno: 'EIO', retry: 'elsewhere' },
  connectionRefused: { wire: 1007, errno: 'EHOSTUNREACH', retry: 'elsewhere' },
  serverUntrusted: { wire: 1008, errno: 'EACCES', retry: 'never' },
  versionMismatch: { wire: 1009, errno: 'EPROTONOSUPPORT', retry: 'never' },
  shuttingDown: { wire: 1010, errno: 'EAGAIN', retry: 'later' },
  internal: { wire: 1011, errno: 'EIO', retry: 'never' },
  // Tree.
  notFound: { wire: 2000, errno: 'ENOENT', retry: 'never' },
  exists: { wire: 2001, errno: 'EEXIST', retry: 'never' },
  notDirectory: { wire: 2002, errno: 'ENOTDIR', retry: 'never' },
  isDirectory: { wire: 2003, errno: 'EISDIR', retry: 'never' },
  notEmpty: { wire: 2004, errno: 'ENOTEMPTY', retry: 'never' },
  wouldLoop: { wire: 2005, errno: 'EINVAL', retry: 'never' },
  invalidArgument: { wire: 2006, errno: 'EINVAL', retry: 'never' },
  nameTooLong: { wire: 2007, errno: 'ENAMETOOLONG', retry: 'never' },
  fileTooLarge: { wire: 2008, errno: 'EFBIG', retry: 'never' },
  tooManyLinks: { wire: 2009, errno: 'EMLINK', retry: 'never' },
  notPermitted: { wire: 2010, errno: 'EPERM', retry: 'never' },
  staleInode: { wire: 2011, errno: 'ESTALE', retry: 'never' },
  /** The inode changed since the version the request names: read it again, then repeat. */
  versionConflict: { wire: 2012, errno: 'ESTALE', retry: 'refresh' },
  badHandle: { wire: 2013, errno: 'EBADF', retry: 'never' },
  readOnly: { wire: 2014, errno: 'EROFS', retry: 'never' },
  notSupported: { wire: 2015, errno: 'ENOTSUP', retry: 'never' },
  noAttribute: { wire: 2016, errno: 'ENODATA', retry: 'never' },
  recordCorrupt: { wire: 2017, errno: 'EIO', retry: 'never' },
  /** Made under a lease that was taken away before it was sent: others may have acted since. */
  staleLease: { wire: 2018, errno: 'EIO', retry: 'never' },
  /** The tree is not the one this device saw last, nor one that came of it: older, or forked. */
  rolledBack: { wire: 2030, errno: 'EIO', retry: 'never' },
  // Chunks.
  chunkMissing: { wire: 3000, errno: 'EIO', retry: 'elsewhere' },
  chunkCorrupt: { wire: 3001, errno: 'EIO', retry: 'elsewhere' },
  chunkExists: { wire: 3002, errno: 'EEXIST', retry: 'elsewhere' },
  chunkTruncated: { wire: 3003, errno: 'EIO', retry: 'elsewhere' },
  diskFull: { wire: 3004, errno: 'ENOSPC', retry: 'elsewhere' },
  diskFailed: { wire: 3005, errno: 'EIO', retry: 'elsewhere' },
  chainBroken: { wire: 3006, errno: 'EIO', retry: 'elsewhere' },
  /** What the servers gave does not verify under the owner's key: tampering or damage. */
  notAuthentic: { wire: 3007, errno: 'EIO', retry: 'elsewhere' },
  planExpired: { wire: 3008, errno: 'EIO', retry: 'elsewhere' },
  // Accounts and rights.
  loginRefused: { wire: 4000, errno: 'EACCES', retry: 'never' },
  notLoggedIn: { wire: 4001, errno: 'EACCES', retry: 'refresh' },
  forbidden: { wire: 4002, errno: 'EACCES', retry: 'never' },
  ticketInvalid: { wire: 4003, errno: 'EACCES', retry: 'refresh' },
  ticketExpired: { wire: 4004, errno: 'EACCES', retry: 'refresh' },
  quotaExceeded: { wire: 4005, errno: 'EDQUOT', retry: 'never' },
  tokenInvalid: { wire: 4006, errno: 'EACCES', retry: 'never' },
  tooManyLogins: { wire: 4007, errno: 'EAGAIN', retry: 'later' },
  /** Would leave an account's owner with nothing but a password that may be forgotten. */
  lastWayIn: { wire: 4008, errno: 'EPERM', retry: 'never' },
  // The cluster.
  noSpace: { wire: 5000, errno: 'ENOSPC', retry: 'never' },
  tooFewServers: { wire: 5001, errno: 'EAGAIN', retry: 'later' },
  serverUnknown: { wire: 5002, errno: 'EIO', retry: 'refresh' },
  /** A daemon's directory that another process works on. */
  directoryInUse: { wire: 5003, errno: 'EBUSY', retry: 'never' },
  /** A standby, or a metadata server that another one has replaced: ask the other one. */
  notPrimary: { wire: 5004, errno: 'EAGAIN', retry: 'elsewhere' },
  /** The synchronous standby is away, and no change may be acknowledged without it. */
  standbyAway: { wire: 5005, errno: 'EAGAIN', retry: 'later' },
} as const satisfies Record<string, StatusRow>

export type StatusName = keyof typeof STATUS

const byWire = new Map<number, StatusName>()
for (const name of Object.keys(STATUS) as StatusName[]) byWire.set(STATUS[name].wire, name)

/** The status for a number from a peer; an unknown number is `internal`. */
export function statusFromWire(wire: number): StatusName {
  return byWire.get(wire) ?? 'internal'
}

/**
 * An expected failure. Callers and tests match on `code`; messages say what failed, on what, and
 * what to do next, and may change in any release.
 */
export class DfsError extends Error {
  override readonly name = 'DfsError'
  readonly code: StatusName

  constructor(code: StatusName, detail: string, options?: ErrorOptions) {
    super(detail, options)
    this.code = code
  }

  get errno(): string {
    return STATUS[this.code].errno
  }

  get retry(): Retry {
    return STATUS[this.code].retry
  }
}
