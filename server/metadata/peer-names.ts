/**
 * The DNS names in the cluster's certificates: they say who a peer is.
 */
export const METADATA_NAME = 'metadata.dfs'
export const ADMIN_NAME = 'admin.dfs'

export const chunkserverName = (server: number): string => `chunkserver-${server}.dfs`

/** The chunkserver that a name means, undefined when it means none. */
export function chunkserverOf(name: string | undefined): number | undefined {
  const digits = /^chunkserver-([1-9]\d{0,8})\.dfs$/u.exec(name ?? '')?.[1]
  return digits === undefined ? undefined : Number(digits)
}
