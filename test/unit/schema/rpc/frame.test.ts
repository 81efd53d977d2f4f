/** The frame that opens each direction of a stream. */
import * as fc from 'fast-check'
import t from 'tap'
import {
  announceSpareByte,
  decodeError,
  DETAIL_BYTES_MAX,
  encodeErrorFrame,
  encodeFrame,
  FRAME_HEADER_BYTES,
  parseFrameHeader,
} from '../../../../schema/rpc/frame.ts'

t.test('a known answer keeps the format fixed', async (t) => {
  const frame = encodeFrame(0x1234, 60_000, Buffer.from('abc'))
  t.equal(
    Buffer.from(frame).toString('hex'),
    ['03000000', '3412', '0000', '60ea0000', '616263'].join(''),
  )
})

t.test('what was encoded is parsed', async () => {
  fc.assert(
    fc.property(
      fc.nat(0xffff),
      fc.nat(0xffff_ffff),
      fc.uint8Array({ maxLength: 300 }),
      (code, deadlineMs, message) => {
        const frame = encodeFrame(code, deadlineMs, message)
        const header = parseFrameHeader(frame)
        return (
          header.code === code &&
          header.deadlineMs === deadlineMs &&
          header.messageBytes === message.length &&
          Buffer.compare(frame.subarray(FRAME_HEADER_BYTES), message) === 0
        )
      },
    ),
  )
})

t.test('a parser answers every header with a value or frameMalformed', async (t) => {
  const length = { minLength: FRAME_HEADER_BYTES, maxLength: FRAME_HEADER_BYTES }
  fc.assert(
    fc.property(fc.uint8Array(length), (bytes) => {
      try {
        return parseFrameHeader(bytes).messageBytes >= 0
      } catch (error) {
        return (error as { code?: string }).code === 'frameMalformed'
      }
    }),
  )
  t.throws(() => parseFrameHeader(Buffer.from('000000000000020000000000', 'hex')), {
    code: 'frameMalformed',
  })
  t.throws(() => parseFrameHeader(Buffer.from('000000000000010100000000', 'hex')), {
    code: 'frameMalformed',
  })
})

t.test('a spare byte is announced by a flag', async (t) => {
  const frame = encodeFrame(7, 0, Buffer.from('abc'))
  t.equal(parseFrameHeader(frame).spareByte, false)
  announceSpareByte(frame)
  t.equal(parseFrameHeader(frame).spareByte, true)
})

t.test('an error travels with its status and its detail, cut to its limit', async (t) => {
  const frame = encodeErrorFrame('quotaExceeded', 'ä'.repeat(2_000))
  const header = parseFrameHeader(frame)
  t.equal(header.messageBytes, DETAIL_BYTES_MAX)
  const error = decodeError(header, frame.subarray(FRAME_HEADER_BYTES))
  t.equal(error.code, 'quotaExceeded')
  t.match(error.message, /^ä+/u)
})

t.test('a status that only a newer peer knows is internal', async (t) => {
  t.equal(
    decodeError({ code: 65_000, deadlineMs: 0, messageBytes: 0, spareByte: false }, Buffer.of())
      .code,
    'internal',
  )
})
