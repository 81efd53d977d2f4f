/**
 * Keeps a profile up to date with the metadata servers that its client learns of, so that the next
 * program finds the one that serves.
 */
import type { Log } from '../../schema/rpc/api.ts'
import type { ServersKnown } from './known-servers.ts'
import { writeProfile, type Profile } from './profile.ts'

/** For `onServers` of openClient: writes DIR/profile.json, one write after the other. */
export function profileKeeper(
  dir: string,
  profile: Profile,
  log: Log,
): (known: ServersKnown) => void {
  let writing: Promise<void> = Promise.resolve()
  return ({ addresses, epoch, epochProof }) => {
    const text = Buffer.from(epochProof).toString('base64')
    writing = writing
      .then(async () => writeProfile(dir, { ...profile, addresses, epoch, epochProof: text }))
      .catch((error: unknown) => {
        // The old one still opens the store, by the other server's address.
        log.warn({ dir, err: error }, 'the profile could not be brought up to date')
      })
  }
}
