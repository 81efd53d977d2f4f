/**
 * inodeNumbers: numbers for files that the client makes and holds back. They are given out once, and
 * remembered with the session, also across a restart, for as long as it may still use them.
 */
import type { InodeNumbersResponse } from '../../../schema/generated/metadata.ts'
import type { Caller, Services } from '../services.ts'

/** Numbers given at once. */
const COUNT = 4_096

export async function inodeNumbers(
  { session }: Caller,
  { inodeIds, sessions }: Services,
): Promise<InodeNumbersResponse> {
  const first = await inodeIds.takeRange(COUNT)
  await sessions.giveNumbers(session, first, COUNT)
  return { first, count: COUNT }
}
