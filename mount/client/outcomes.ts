/**
 * What a failed request to the metadata server says: whether to repeat it, and whether it tells what
 * became of the operation.
 */
import { DfsError } from '../../schema/wire/status.ts'

/** Whether the same request may succeed a moment later, at the same server or at the one that took its place. */
export function mayPass(error: DfsError): boolean {
  switch (error.code) {
    case 'connectionLost':
    case 'connectionRefused':
    case 'tooManyRequests':
    case 'shuttingDown':
    case 'notPrimary':
    case 'standbyAway':
      return true
    default:
      return false
  }
}

/**
 * Whether an error is what the operation itself came to, so that earlier attempts do not matter: not
 * when the request did not get as far as being carried out or looked up.
 */
export function isAnswer(error: DfsError): boolean {
  switch (error.code) {
    case 'cancelled':
    case 'serverUntrusted':
    case 'versionMismatch':
    case 'notAuthentic':
    case 'loginRefused':
    case 'notLoggedIn':
    case 'internal':
    case 'frameMalformed':
    case 'frameTooLarge':
      return false
    default:
      return !mayPass(error)
  }
}

/** What the caller of a mutation gets that may or may not have taken effect. */
export function outcomeUnknown(name: string, cause: unknown): DfsError {
  const why = cause instanceof Error ? cause.message : String(cause)
  const detail = `${name}: it is not known whether it took effect: ${why}`
  return new DfsError('connectionLost', detail, { cause })
}
