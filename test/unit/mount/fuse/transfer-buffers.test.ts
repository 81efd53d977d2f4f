/** The memory for transfers is bounded, and used again. */
import t from 'tap'
import { TRANSFER_BYTES } from '../../../../mount/fuse/protocol.ts'
import { TransferBuffers } from '../../../../mount/fuse/transfer-buffers.ts'
import { present } from '../../../support/present.ts'

t.test('the piece at hand stays the same until it is kept', async (t) => {
  const buffers = new TransferBuffers(2, () => t.fail('there was always one'))
  const first = present(buffers.current)
  t.ok(first.length > TRANSFER_BYTES, 'with room for headers')
  t.equal(buffers.current, first)
  buffers.keep()
  t.not(buffers.current, first)
  buffers.giveBack(first)
})

t.test('there are no more than the bound, and the first that comes back is told of', async (t) => {
  let told = 0
  const buffers = new TransferBuffers(2, () => told++)
  const first = present(buffers.current)
  buffers.keep()
  const second = present(buffers.current)
  buffers.keep()
  t.equal(buffers.current, undefined)
  buffers.giveBack(first)
  t.equal(told, 1)
  buffers.giveBack(second)
  t.equal(told, 1, 'the second is nothing new')
  t.equal(buffers.current, first, 'no new memory')
  buffers.keep()
  t.equal(buffers.current, second)
  buffers.keep()
  t.equal(buffers.current, undefined)
})
