/**
 * addUser, listUsers, createJoinToken: for the operator, who shows the admin certificate.
 *
 * Of an invitation or a join token only a hash is kept; the secret itself is in the answer, once.
 */
import { randomBytes } from 'node:crypto'
import type {
  AddUserRequest,
  AddUserResponse,
  CreateJoinTokenRequest,
  CreateJoinTokenResponse,
  ListUsersResponse,
  UserStatus,
} from '../../../schema/generated/metadata.ts'
import type { UserRecord } from '../../../schema/generated/records.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { refuse } from '../input.ts'
import type { Services } from '../services.ts'
import { counterNames } from '../store/counters.ts'
import { keys, ranges } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import { checkUserName, sha256, userByName } from './accounts.ts'
import { nextSmallId } from './small-ids.ts'

const SECRET_BYTES = 32
/** Seconds that an invitation is good for unless told otherwise. */
const INVITATION_SECONDS = 7 * 86_400
/** Seconds that an invitation or a join token may be good for: a month. */
const SECONDS_MAX = 31 * 86_400
/** Users in one answer. */
const USERS_MAX = 50_000
const PAGE = 1_000

/** Adds a user, or gives one who has not registered yet a new invitation. */
export async function addUser(
  { user, quotaBytes, validSeconds }: AddUserRequest,
  { database, clock, log }: Services,
): Promise<AddUserResponse> {
  checkUserName(user)
  if (validSeconds > SECONDS_MAX)
    refuse(`an invitation for ${validSeconds} s; ${SECONDS_MAX} at most`)
  const invitation = randomBytes(SECRET_BYTES)
  const seconds = validSeconds === 0 ? INVITATION_SECONDS : validSeconds
  const expires = clock.nowNs() + BigInt(seconds) * 1_000_000_000n
  const id = await database.write({}, async (txn) => {
    const known = await userByName(txn, user)
    if (known?.deleting === true) {
      throw new DfsError('exists', `the user ${user} is being deleted; try again in a moment`)
    }
    if (known !== undefined && known.opaqueRecord !== '') {
      throw new DfsError('exists', `the user ${user} is registered already`)
    }
    const userId = known?.userId ?? (await nextSmallId(txn, 'users'))
    const record: UserRecord = {
      userId,
      user,
      quotaBytes,
      invitationHash: sha256(invitation),
      invitationExpires: expires,
      opaqueRecord: '',
      wrappedMasterKey: NO_BYTES,
      wrappedRootKey: NO_BYTES,
      rootInode: 0,
      devices: [],
      recoveryKey: NO_BYTES,
      recoveryMasterKey: NO_BYTES,
      disabled: false,
      deleting: false,
    }
    txn.put(tables.users, keys.user(userId), record)
    txn.put(tables.numbers, keys.userName(user), { value: userId })
    return userId
  })
  log.info({ user, userId: id }, 'user invited')
  return { invitation, expires }
}

const NO_BYTES = new Uint8Array(0)

export async function listUsers({ database }: Services): Promise<ListUsersResponse> {
  const users: UserStatus[] = []
  let after: Buffer | undefined
  for (;;) {
    const page = await database.durablePage(ranges.users, PAGE, after)
    for (const { value } of page.entries) {
      const record = tables.users.decode(value)
      const { userId, user, opaqueRecord, quotaBytes, disabled, deleting } = record
      users.push({
        userId,
        user,
        registered: opaqueRecord !== '',
        usedBytes: database.counters.get(counterNames.userBytes(userId)),
        inodes: database.counters.get(counterNames.userInodes(userId)),
        quotaBytes,
        disabled,
        deleting,
      })
    }
    after = page.last
    if (after === undefined || !page.more || users.length >= USERS_MAX) return { users }
  }
}

export async function createJoinToken(
  { validSeconds, standby }: CreateJoinTokenRequest,
  { database, clock }: Services,
): Promise<CreateJoinTokenResponse> {
  if (validSeconds === 0 || validSeconds > SECONDS_MAX) {
    refuse(`a join token for ${validSeconds} s; 1 to ${SECONDS_MAX}`)
  }
  const secret = randomBytes(SECRET_BYTES)
  const expires = clock.nowNs() + BigInt(validSeconds) * 1_000_000_000n
  await database.write({}, (txn) => {
    txn.put(tables.joinTokens, keys.joinToken(sha256(secret)), {
      expires,
      server: 0,
      requestHash: NO_BYTES,
      certificatePem: '',
      standby,
    })
  })
  return { secret, expires }
}
