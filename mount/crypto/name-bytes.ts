/**
 * Names as bytes, and as the strings that everything inside works with; also targets of symbolic links
 * and names of extended attributes. Pure.
 *
 * A name is any bytes, mostly UTF-8. A byte that is not part of valid UTF-8 becomes the lone surrogate
 * U+DC00 + byte (U+DC80 to U+DCFF): Python's `surrogateescape`, PEP 383. No text has those, so each name
 * has a string of its own. Only strings that some bytes decode to are taken, so each string has bytes
 * of its own, too: two names never become one.
 */
import { isUtf8 } from 'node:buffer'
import { DfsError } from '../../schema/wire/status.ts'

const ESCAPE = 0xdc00
/** What Buffer puts where bytes are no UTF-8. */
const REPLACEMENT = '\uFFFD'

/** Characters beyond ASCII as well-formed UTF-8 (Unicode, table 3-7), else one byte; each unit is a byte. */
const BEYOND_ASCII =
  /((?:[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})+)|[\x80-\xff]/g
/** Runs of escapes, and of what is none. With `u` the half of a pair is not taken for one. */
const RUNS = /([\udc80-\udcff]+)|[^\udc80-\udcff]+/gu

/** The string that stands for the bytes from `start` to before `end`. */
export function decodeName(bytes: Buffer, start = 0, end = bytes.length): string {
  const text = bytes.toString('utf8', start, end)
  // Nearly every name ends here.
  if (!text.includes(REPLACEMENT)) return text
  const own = bytes.subarray(start, end)
  return isUtf8(own) ? text : decodeEscaping(own)
}

/** The bytes that decode to `name`. Throws `invalidArgument` when there are none. */
export function encodeName(name: string): Buffer {
  return name.isWellFormed() ? Buffer.from(name) : encodeEscaped(name)
}

function decodeEscaping(bytes: Buffer): string {
  const units = bytes.toString('latin1')
  return units.replace(BEYOND_ASCII, (part, characters: string | undefined) =>
    characters === undefined
      ? String.fromCharCode(ESCAPE + part.charCodeAt(0))
      : Buffer.from(characters, 'latin1').toString(),
  )
}

function encodeEscaped(name: string): Buffer {
  const runs: Buffer[] = []
  for (const [run, escapes] of name.matchAll(RUNS)) {
    // The low byte of each unit is the byte that it stands for.
    runs.push(escapes === undefined ? Buffer.from(run) : Buffer.from(run, 'latin1'))
  }
  const bytes = Buffer.concat(runs)
  // Other lone surrogates, and escapes that together are valid UTF-8, would take another name's bytes.
  if (decodeName(bytes) !== name) {
    throw new DfsError('invalidArgument', `${JSON.stringify(name)} stands for no bytes`)
  }
  return bytes
}
