/**
 * The worked examples of docs/format.md are what the code does.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  blocksOf,
  CHUNK_HEADER_BYTES,
  sealedBytesOf,
} from '../../../../mount/crypto/chunk-cipher.ts'
import { InodeKey } from '../../../../mount/crypto/inode-key.ts'
import { wrapKey } from '../../../../mount/crypto/key-wrap.ts'
import { limits } from '../../../../schema/wire/limits.ts'
import { encodeTrailer } from '../../../../server/chunkserver/chunk-format.ts'
import { repository } from '../../../support/cluster.ts'

const text = readFileSync(join(repository, 'docs/format.md'), 'utf8')
const key = InodeKey.generate()
const number = (value: number): string => value.toLocaleString('en-US')

/** Bytes of a chunk's file on a chunkserver. */
function fileBytes(length: number): number {
  const sealedBytes = sealedBytesOf(length)
  const crcs = new Uint32Array(blocksOf(length))
  const header = Buffer.alloc(CHUNK_HEADER_BYTES)
  return sealedBytes + encodeTrailer({ chunk: 1, writtenMs: 1, sealedBytes, header, crcs }).length
}

const LARGE = 70_000_000
const second = LARGE - limits.chunkBytesMax

const claims: readonly (readonly [string, string])[] = [
  ['a box of 31 bytes', String(key.sealInline(Buffer.alloc(1)).length)],
  ['an entry of 97 bytes', String(key.sealEntry('a.txt', { kind: 1, key }).entry.length)],
  ['one of 321', String(key.sealEntry('x'.repeat(255), { kind: 1, key }).entry.length)],
  [
    '62 bytes in all',
    String(wrapKey(key.secret, { purpose: 'root by master', owner: 'x' }, key.secret).length),
  ],
  ['5,040 bytes (2 count', number(key.sealPatch(0, Buffer.alloc(2 + 8 + 5_000)).length)],
  ['| block 0            | 20016 ', String(sealedBytesOf(20_000))],
  ['| plaintext         | 67,108,864        | 2,891,136 ', number(second)],
  ['| blocks            | 1,024             | 45 ', String(blocksOf(second))],
  ['| last block, plain | 65,536            | 7,552 ', number(second % limits.blockBytes)],
  ['| sealed blocks     | 67,125,248        | 2,891,856 ', number(sealedBytesOf(second))],
  ['67,125,248', number(sealedBytesOf(limits.chunkBytesMax))],
  ['67,129,424', number(fileBytes(limits.chunkBytesMax))],
  ['2,892,116', number(fileBytes(second))],
  [
    'adds 17,104 bytes',
    number(sealedBytesOf(limits.chunkBytesMax) + sealedBytesOf(second) - LARGE),
  ],
]

t.test('the numbers in the examples are those of the code', async (t) => {
  const plainText = text.replace(/ +/g, ' ')
  for (const [claim, computed] of claims) {
    t.ok(plainText.includes(claim.replace(/ +/g, ' ')), `says "${claim}"`)
    t.ok(claim.includes(computed), `and it is ${computed}`)
  }
})
