/**
 * The DNS names in the cluster's certificates: they say who a peer is.
 */
export const METADATA_NAME = 'metadata.dfs'
export const ADMIN_NAME = 'admin.dfs'

export const chunkserverName = (server: number): string => `chunkserver-${server}.dfs`
export const standbyName = (standby: number): string => `standby-${standby}.dfs`

/** Whether a name is that of a metadata server, or of a standby, which may have become one. */
export function isMetadataServer(name: string | undefined): name is string {
  return name === METADATA_NAME || /^standby-[1-9]\d{0,8}\.dfs$/u.test(name ?? '')
}

/** The chunkserver that a name means, undefined when it means none. */
export function chunkserverOf(name: string | undefined): number | undefined {
  const digits = /^chunkserver-([1-9]\d{0,8})\.dfs$/u.exec(name ?? '')?.[1]
  return digits === undefined ? undefined : Number(digits)
}
