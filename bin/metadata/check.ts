/**
 * `dfs-metadata check`: verifies, and repairs, a metadata directory on which no server runs.
 */
import { DfsError } from '../../schema/wire/status.ts'
import {
  checkStore,
  type CheckProgress,
  type CheckResult,
  type Finding,
} from '../../server/metadata/check/check.ts'
import { openClusterStore } from '../../server/metadata/cluster-store.ts'
import { ExitCode } from '../runtime/exit.ts'

export const checkOptions = {
  dir: { type: 'string', demandOption: true, describe: 'Folder of the metadata server' },
  repair: { type: 'boolean', default: false, describe: 'Set right what is known' },
  json: { type: 'boolean', default: false, describe: 'Print one JSON object' },
  scratch: {
    type: 'string',
    describe: 'Folder for temporary files, some tens of bytes a file [default: the folder itself]',
  },
} as const

export interface CheckArguments {
  readonly dir: string
  readonly repair: boolean
  readonly json: boolean
  readonly scratch: string | undefined
}

/** Prints what is wrong; exit code 0 when nothing is (any more), 65 when something is. */
export async function check({ dir, repair, json, scratch }: CheckArguments): Promise<void> {
  const store = await openClusterStore(dir)
  let result: CheckResult
  try {
    result = await checkStore({ store, scratch: scratch ?? dir, repair, onProgress: progress() })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    const detail = `there is no folder ${scratch ?? dir} for temporary files`
    throw new DfsError('notFound', detail, { cause: error })
  } finally {
    await store.close()
    if (process.stderr.isTTY) process.stderr.write(CLEAR_LINE)
  }
  if (json) console.log(JSON.stringify(result))
  else print(result)
  if (leftOver(result) > 0) process.exitCode = ExitCode.dataWrong
}

/** What is wrong and was not set right. */
function leftOver({ counts }: CheckResult): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0)
}

function print(result: CheckResult): void {
  const { records, findings, repaired, repairs } = result
  for (const { kind, detail } of repaired) console.log(`repaired ${kind}: ${detail}`)
  more(repairs, repaired)
  for (const { kind, detail } of findings) console.log(`${kind}: ${detail}`)
  const left = leftOver(result)
  more(left, findings)
  const verdict = left === 0 ? 'all good' : `${left} findings`
  const done = repairs === 0 ? '' : `, ${repairs} repaired`
  console.log(`${records} records read: ${verdict}${done}`)
}

function more(total: number, shown: readonly Finding[]): void {
  if (total > shown.length) console.log(`… and ${total - shown.length} more`)
}

const CLEAR_LINE = '\r\u001B[K'
/** Milliseconds between two looks at a terminal. */
const SHOW_MS = 200

/** A line on a terminal that says how far it is; nothing without one. */
function progress(): (progress: CheckProgress) => void {
  let shownMs = 0
  return ({ round, part, records }) => {
    const nowMs = Date.now()
    if (!process.stderr.isTTY || nowMs - shownMs < SHOW_MS) return
    shownMs = nowMs
    const again = round > 1 ? ` (round ${round})` : ''
    process.stderr.write(`${CLEAR_LINE}checking ${part}${again}: ${records} records`)
  }
}
