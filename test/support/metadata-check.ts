/**
 * The check of a whole metadata store, as `dfs-metadata check` does it, for tests that want nothing
 * but what is wrong; an empty list is a consistent store.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkStore as check } from '../../server/metadata/check/check.ts'
import type { OrderedStore } from '../../server/store/ordered-store.ts'

export async function checkStore(store: OrderedStore): Promise<string[]> {
  const scratch = mkdtempSync(join(tmpdir(), 'dfs-check-'))
  try {
    const { findings } = await check({ store, scratch })
    // The operations' tests seal nothing: what they call a file's digest is not that of its windows.
    return findings.filter(({ kind }) => kind !== 'content').map(({ detail }) => detail)
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}
