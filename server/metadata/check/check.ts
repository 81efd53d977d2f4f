/**
 * Checks a whole metadata store that nobody else has open: everything that is kept twice against
 * itself, every record against its checksum, every key against the layout; and repairs what is known.
 *
 * Tables are read in order and joined as they come; what must be compared in another order is sorted
 * on disk. Memory does not grow with files: some hundreds of MiB, 128 KiB for each chunkserver and 20
 * bytes for each directory. The scratch folder takes about 24 bytes for each name, 32 for each file with
 * chunks and 24 for each chunk that a window names.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { OrderedStore } from '../../store/ordered-store.ts'
import { breakHistory } from '../standby/history.ts'
import { checkAccounts, checkSums, readAccounts } from './accounts.ts'
import { checkChunks } from './chunks.ts'
import { checkContents } from './contents.ts'
import { Context } from './context.ts'
import { Findings, type Finding, type RepairLevel } from './findings.ts'
import { checkInodes } from './inodes.ts'
import { checkNames } from './names.ts'

export type { Finding } from './findings.ts'

/** Rounds of repair: what one sets right may show what the next has to. */
const ROUNDS_MAX = 5

export interface CheckOptions {
  readonly store: OrderedStore
  /** An existing folder on a disk with room, see above; left as it was. */
  readonly scratch: string
  /** Sets right what is known, until nothing is left that can be. */
  readonly repair?: boolean
  readonly onProgress?: (progress: CheckProgress) => void
}

export interface CheckProgress {
  /** From 1; a check without repair has one. */
  readonly round: number
  readonly part: string
  /** Records read in this round. */
  readonly records: number
}

export interface CheckResult {
  /** Records read in one round. */
  readonly records: number
  /** What is wrong now, by kind. */
  readonly counts: Readonly<Record<string, number>>
  /** The first thousand of it. */
  readonly findings: readonly Finding[]
  /** What was set right, the first thousand of it. */
  readonly repaired: readonly Finding[]
  /** How much was set right. */
  readonly repairs: number
}

/** Checks; see {@link CheckResult} for what comes out. Throws `diskFailed` when it cannot read. */
export async function checkStore(options: CheckOptions): Promise<CheckResult> {
  let level: RepairLevel = 'nothing'
  const repaired: Finding[] = []
  let repairs = 0
  for (let round = 1; ; round++) {
    const { findings, records } = await checkOnce(options, round, level)
    repaired.push(...findings.list.filter((finding) => finding.repaired))
    repairs += findings.repairs
    const goOn = round === 1 ? findings.total > 0 : findings.repairs > 0
    if (options.repair !== true || !goOn || round > ROUNDS_MAX) {
      // Repairs are written unsynced; this one is synced and takes them along.
      if (repairs > 0) await breakHistory(options.store)
      const left = findings.list.filter((finding) => !finding.repaired)
      const counts = Object.fromEntries(findings.counts)
      return { records, counts, findings: left, repaired, repairs }
    }
    level = findings.losses ? 'always' : 'known'
  }
}

async function checkOnce(
  { store, scratch, onProgress }: CheckOptions,
  round: number,
  level: RepairLevel,
): Promise<{ findings: Findings; records: number }> {
  const folder = await mkdtemp(join(scratch, 'check-'))
  const findings = new Findings(store, level)
  let records = 0
  let part = 'accounts'
  const onRecords = (count: number): void => {
    records += count
    onProgress?.({ round, part, records })
  }
  const context = new Context({ store, findings, scratch: folder, onRecords })
  try {
    await readAccounts(context)
    await checkAccounts(context)
    part = 'inodes'
    const facts = await checkInodes(context)
    part = 'names'
    await checkNames(context, facts)
    part = 'contents'
    const references = await checkContents(context, facts)
    part = 'chunks'
    await checkChunks(context, references)
    part = 'sums'
    await checkSums(context)
    return { findings, records }
  } finally {
    await context.close()
    await rm(folder, { recursive: true, force: true })
  }
}
