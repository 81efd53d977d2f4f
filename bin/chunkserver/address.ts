/**
 * Addresses on the command line.
 */
import { DfsError } from '../../schema/wire/status.ts'

/** The text, if it is host:port; `option` names it in errors. Throws `invalidArgument`. */
export function requireAddress(option: string, text: string): string {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]\s]+):(\d{1,5})$/.exec(text)
  if (match !== null && Number(match[2]) <= 65_535) return text
  throw new DfsError('invalidArgument', `--${option} ${text}: write HOST:PORT`)
}
