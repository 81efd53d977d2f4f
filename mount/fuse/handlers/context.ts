/**
 * What every handler needs, and the checks that come before all of them.
 */
import { DfsError } from '../../../schema/wire/status.ts'
import type { FileSystem, Owner, Target } from '../../vfs/api.ts'
import type { OperationName, Request, Signal, Signals } from '../binding.ts'
import type { HiddenFiles } from '../hidden-files.ts'
import { isHidden } from '../hidden-files.ts'
import type { KernelCache } from '../kernel-cache.ts'
import type { Requests } from '../reply.ts'

export interface HandlerContext {
  readonly fs: FileSystem
  readonly signals: Signals
  readonly requests: Requests
  readonly hidden: HiddenFiles
  readonly cache: KernelCache
  /** Whose program made the request, who will own what it makes; to be asked before it is answered. */
  ownerOf(request: Request): Owner
  /** The flags of open(2) behind a request to create, as far as they are known; to be asked as above. */
  openFlagsOf(request: Request): number
}

/** Joins the halves of a 64-bit number. */
export function wide(low: number, high: number): number {
  return high * 4_294_967_296 + low
}

/**
 * Refuses a path with a name that is not UTF-8: it reaches us with U+FFFD in place of what it was, so
 * that two names would become one.
 */
export function checkName(path: string): void {
  if (path.includes('\uFFFD')) {
    throw new DfsError('invalidArgument', `${path}: a name must be valid UTF-8, without U+FFFD`)
  }
}

/** As `checkName`, for a path where something is to be made. */
export function checkNewName(path: string): void {
  checkName(path)
  if (isHidden(path)) {
    throw new DfsError('notPermitted', `${path}: this name is libfuse's; choose another`)
  }
}

/** The file that a request about attributes means: a removed one that is open has its handle only. */
export async function targetOf({ hidden }: HandlerContext, path: string): Promise<Target> {
  checkName(path)
  if (isHidden(path)) return hidden.handleOf(path)
  await hidden.settled(path)
  return path
}

/** Runs an operation that has no result. */
export function perform(
  context: HandlerContext,
  operation: OperationName,
  subject: string,
  request: Request,
  signal: Signal,
  work: () => Promise<void>,
): void {
  context.requests.run(operation, subject, work, (code) => signal(request, code))
}
