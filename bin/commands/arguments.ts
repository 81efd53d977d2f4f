/** What `dfs` was called with, in any bytes: paths may be names that are no UTF-8. */
import { readFileSync } from 'node:fs'
import { hideBin } from 'yargs/helpers'
import { decodeName } from '../../mount/crypto/name-bytes.ts'

/** What Node puts where an argument is no UTF-8. */
const REPLACEMENT = '\uFFFD'

/** The arguments behind the executable's name. */
export function givenArguments(): string[] {
  const given = hideBin(process.argv)
  if (!given.some((argument) => argument.includes(REPLACEMENT))) return given
  // The kernel has them as they were, behind Node's own.
  const all = readFileSync('/proc/self/cmdline').toString('latin1').split('\0').slice(0, -1)
  return all.slice(-given.length).map((argument) => decodeName(Buffer.from(argument, 'latin1')))
}
