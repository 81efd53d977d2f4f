/**
 * `dfs-chunkserver check`: verifies every chunk of a directory while no server runs on it.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DfsError } from '../../schema/wire/status.ts'
import { checkDirectory, type CheckResult } from '../../server/chunkserver/check.ts'
import { ExitCode } from '../runtime/exit.ts'
import { createLog } from '../runtime/log.ts'

export const checkOptions = {
  dir: { type: 'string', demandOption: true, describe: 'Folder of the chunkserver' },
  json: { type: 'boolean', default: false, describe: 'Print one JSON object' },
} as const

/** Prints what is wrong and sets the exit code: 0 when all is well, 1 when something is damaged. */
export async function check(options: { dir: string; json: boolean }): Promise<void> {
  if (!existsSync(join(options.dir, 'index'))) {
    throw new DfsError('notFound', `${options.dir} holds no chunk store`)
  }
  const log = createLog('dfs-chunkserver', { level: 'error' })
  const result = await checkDirectory(options.dir, log)
  if (options.json) console.log(JSON.stringify(result))
  else print(result)
  if (result.problems.length > 0) process.exitCode = ExitCode.failure
}

function print({ chunks, goodBytes, problems, unindexedFiles }: CheckResult): void {
  for (const { chunk, problem } of problems) {
    console.log(chunk === 0 ? problem : `chunk ${chunk}: ${problem}`)
  }
  if (unindexedFiles > 0) {
    console.log(`${unindexedFiles} files have no index record; the server takes them up again`)
  }
  const verdict = problems.length === 0 ? 'all good' : `${problems.length} damaged`
  console.log(`${chunks} chunks, ${goodBytes} bytes verified: ${verdict}`)
}
