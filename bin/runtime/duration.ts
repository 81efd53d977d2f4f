/**
 * Lengths of time as people write them: 90s, 30m, 1h, 7d.
 */
import { DfsError } from '../../schema/wire/status.ts'

const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 }

/** Seconds of such a text. Throws `invalidArgument`. */
export function parseSeconds(text: string): number {
  const match = /^(\d+)([smhd])$/u.exec(text)
  const unit = UNIT_SECONDS[match?.[2] ?? '']
  if (match === null || unit === undefined) {
    throw new DfsError('invalidArgument', `"${text}" is not a time; write 90s, 30m, 1h or 7d`)
  }
  return Number(match[1]) * unit
}
