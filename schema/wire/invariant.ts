/**
 * Assertions: a broken assumption of ours is a bug, never an answer to a peer.
 *
 * `InvariantError` is caught nowhere below `bin/`; expected failures are a `DfsError`.
 */
export class InvariantError extends Error {
  override readonly name = 'InvariantError'
}

/** Throws {@link InvariantError} unless `condition` holds. */
export function invariant(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(message)
}
