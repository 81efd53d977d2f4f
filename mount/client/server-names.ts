/**
 * How the client recognises and addresses servers, and the log of who wants none.
 */
import type { Log } from '../../schema/rpc/api.ts'

/** The DNS name in the metadata server's certificate. */
export const metadataServerName = 'metadata.dfs'

/** The DNS name in a chunkserver's certificate. */
export function chunkserverName(id: number): string {
  return `chunkserver-${id}.dfs`
}

const ignore = (): void => undefined

/** Drops every line: for calls whose errors all reach the caller. */
export const silentLog: Log = { debug: ignore, info: ignore, warn: ignore, error: ignore }
