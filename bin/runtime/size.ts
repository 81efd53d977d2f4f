/**
 * Sizes as people write and read them: `256M`, `1.5 GiB`. Powers of 1024 throughout.
 */
import { DfsError } from '../../schema/wire/status.ts'

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const
const pattern = /^(\d+(?:\.\d+)?)\s*([KMGTP]?)(?:i?B)?$/i

/**
 * Bytes from a text such as `4096`, `64K`, `256M`, `1.5G` or `2TiB`; rounded down to whole bytes.
 * Throws DfsError `invalidArgument`.
 */
export function parseSize(text: string): number {
  const match = pattern.exec(text.trim())
  const digits = match?.[1]
  const letter = match?.[2]?.toUpperCase() ?? ''
  const power = letter === '' ? 0 : ' KMGTP'.indexOf(letter)
  const bytes = digits === undefined ? Number.NaN : Math.floor(Number(digits) * 1024 ** power)
  if (!Number.isSafeInteger(bytes)) {
    throw new DfsError('invalidArgument', `"${text}" is not a size; write 4096, 64K, 256M or 1.5G`)
  }
  return bytes
}

/** `bytes` in the largest unit that leaves a whole part, with at most one decimal: `1.5 GiB`. */
export function formatSize(bytes: number): string {
  let value = bytes
  let power = 0
  // What would be rounded to 1024 is one of the next unit.
  while (value >= 1023.95 && power < units.length - 1) {
    value /= 1024
    power++
  }
  const shown = power === 0 ? String(value) : value.toFixed(1).replace(/\.0$/, '')
  return `${shown} ${units[power] ?? ''}`
}
