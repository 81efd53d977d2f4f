/**
 * Sizes as people write and read them.
 */
import { assert, integer, property } from 'fast-check'
import t from 'tap'
import { formatSize, parseSize } from '../../../../bin/runtime/size.ts'

t.test('sizes are read with and without units', async (t) => {
  for (const [text, bytes] of [
    ['0', 0],
    ['4096', 4_096],
    ['64K', 65_536],
    ['64k', 65_536],
    ['256M', 268_435_456],
    ['256 MiB', 268_435_456],
    ['1.5G', 1_610_612_736],
    ['2TB', 2_199_023_255_552],
    [' 7B ', 7],
  ] as const) {
    t.equal(parseSize(text), bytes, text)
  }
})

t.test('what is no size is refused and named', async (t) => {
  for (const text of ['', 'M', '-1', '1e3', '5X', '1..5M', '9999999P', '1M extra']) {
    t.throws(() => parseSize(text), { code: 'invalidArgument', message: `"${text}"` })
  }
})

t.test('sizes are shown in the unit that suits them', async (t) => {
  for (const [bytes, text] of [
    [0, '0 B'],
    [1_023, '1023 B'],
    [1_024, '1 KiB'],
    [1_536, '1.5 KiB'],
    [1_048_575, '1 MiB'],
    [268_435_456, '256 MiB'],
    [640e12, '582.1 TiB'],
    [2 ** 63, '8192 PiB'],
  ] as const) {
    t.equal(formatSize(bytes), text)
  }
})

t.test('a size survives being shown and read, but for rounding', async (t) => {
  assert(
    property(integer({ min: 0, max: 2 ** 52 }), (bytes) => {
      return Math.abs(parseSize(formatSize(bytes)) - bytes) <= bytes * 0.06
    }),
  )
  t.pass()
})
