/**
 * Passwords, by OPAQUE (RFC 9807): the password proves itself to the server, which learns nothing that
 * helps to guess it, and yields the export key, which wraps the master key.
 *
 * How hard a password is to guess for somebody who stole the server's records depends on Argon2id's
 * parameters, which are pinned here and which no server can weaken. Hashing blocks the event loop
 * for some tenths of a second.
 */
import { client as opaque } from '@serenity-kit/opaque'
import type { Account } from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'
import type { Peer } from '../../schema/quic/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { WrapContext } from '../crypto/key-wrap.ts'

/** Argon2id with 64 MiB and 3 passes (RFC 9106, second recommendation). */
const KEY_STRETCHING = 'memory-constrained'
/** The one text for a wrong password and an unknown user: which of the two is nobody's business. */
const REFUSED = 'the user name or the password is wrong'

export interface PasswordOf {
  readonly user: string
  readonly password: string
}

/**
 * Logs in on this connection. Throws `loginRefused` for a wrong password or an unknown user. The
 * export key is the caller's to erase.
 */
export async function provePassword(
  peer: Peer,
  { user, password: given }: PasswordOf,
): Promise<{ account: Account; exportKey: Buffer }> {
  const password = normalised(given)
  const started = opaque.startLogin({ password })
  const { opaqueResponse } = await peer.call(methods.loginStart, {
    user,
    opaqueRequest: started.startLoginRequest,
  })
  const finished = fromServer('login', () =>
    opaque.finishLogin({
      password,
      loginResponse: opaqueResponse,
      clientLoginState: started.clientLoginState,
      keyStretching: KEY_STRETCHING,
    }),
  )
  if (finished === undefined) throw new DfsError('loginRefused', REFUSED)
  const account = await peer
    .call(methods.loginFinish, { opaqueFinish: finished.finishLoginRequest })
    .catch(refusedAlike)
  return { account, exportKey: Buffer.from(finished.exportKey, 'base64url') }
}

/**
 * Makes the server's record of a new password; `ask` carries OPAQUE's request to the server and its
 * answer back. The export key is the caller's to erase.
 */
export async function newPassword(
  given: string,
  ask: (opaqueRequest: string) => Promise<string>,
): Promise<{ record: string; exportKey: Buffer }> {
  const password = normalised(given)
  const started = opaque.startRegistration({ password })
  const registrationResponse = await ask(started.registrationRequest)
  const finished = fromServer('registration', () =>
    opaque.finishRegistration({
      password,
      registrationResponse,
      clientRegistrationState: started.clientRegistrationState,
      keyStretching: KEY_STRETCHING,
    }),
  )
  const exportKey = Buffer.from(finished.exportKey, 'base64url')
  return { record: finished.registrationRecord, exportKey }
}

/** The context in which the export key wraps the master key. */
export const byPassword = (user: string): WrapContext => ({
  purpose: 'master by password',
  owner: user,
})

function refusedAlike(error: unknown): never {
  const refused = error instanceof DfsError && error.code === 'loginRefused'
  throw refused ? new DfsError('loginRefused', REFUSED, { cause: error }) : error
}

/** The same password typed on two systems must be the same bytes (RFC 8265 uses NFC too). */
const normalised = (password: string): string => password.normalize('NFC')

/** What the OPAQUE library throws is about the server's message: it is not even well-formed. */
function fromServer<T>(what: string, step: () => T): T {
  try {
    return step()
  } catch (cause) {
    throw new DfsError('frameMalformed', `the server's answer to the ${what} is malformed`, {
      cause,
    })
  }
}
