/**
 * loginStart, loginFinish: OPAQUE's three messages. An unknown user is answered like a known one with
 * a wrong password, in content and in kind. A connection has one login under way at most.
 */
import * as opaque from '@serenity-kit/opaque'
import type { Connection } from '../../../schema/rpc/api.ts'
import type {
  Account,
  LoginFinishRequest,
  LoginStartRequest,
  LoginStartResponse,
} from '../../../schema/generated/metadata.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { stateOf, type Services } from '../services.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import {
  accountOf,
  checkUserName,
  loginRefused,
  opaqueStep,
  requireEnabled,
  userByName,
} from './accounts.ts'

export async function loginStart(
  { user, opaqueRequest }: LoginStartRequest,
  connection: Connection,
  { database, loginLimits, opaqueSetup }: Services,
): Promise<LoginStartResponse> {
  checkUserName(user)
  loginLimits.attempt(connection.peer.address, user)
  const record = await database.read((txn) => userByName(txn, user))
  const registered = record !== undefined && record.opaqueRecord !== ''
  const { serverLoginState, loginResponse } = opaqueStep(
    () =>
      opaque.server.startLogin({
        serverSetup: opaqueSetup,
        registrationRecord: registered ? record.opaqueRecord : null,
        startLoginRequest: opaqueRequest,
        userIdentifier: user,
      }),
    () => new DfsError('invalidArgument', 'the OPAQUE login request is malformed'),
  )
  stateOf(connection).login = {
    user: registered ? record.userId : NOBODY,
    name: user,
    record: registered ? record.opaqueRecord : '',
    serverState: serverLoginState,
  }
  return { opaqueResponse: loginResponse }
}

export async function loginFinish(
  { opaqueFinish }: LoginFinishRequest,
  connection: Connection,
  { database, loginLimits, log }: Services,
): Promise<Account> {
  const state = stateOf(connection)
  const { login } = state
  state.login = undefined
  if (login === undefined) {
    throw new DfsError('invalidArgument', 'loginFinish without loginStart on this connection')
  }
  try {
    opaque.server.finishLogin({
      serverLoginState: login.serverState,
      finishLoginRequest: opaqueFinish,
    })
  } catch (error) {
    log.warn({ user: login.name, from: connection.peer.address }, 'login refused')
    throw new DfsError('loginRefused', loginRefused().message, { cause: error })
  }
  if (login.user === NOBODY) throw loginRefused()
  loginLimits.succeeded(connection.peer.address, login.name)
  const user = await database.read((txn) => txn.get(tables.users, keys.user(login.user)))
  // Gone since the start of this login.
  if (user === undefined) throw loginRefused()
  requireEnabled(user)
  state.proof = { by: 'password', user: user.userId, record: login.record }
  log.info({ user: user.user, from: connection.peer.address }, 'logged in with the password')
  return accountOf(user, user.wrappedMasterKey)
}

/** The id of a user who does not exist. */
const NOBODY = 0
