/** Many large datagrams are given back without marking the whole heap. */
import { PerformanceObserver, constants } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { datagramReceived } from '../../../../schema/quic/receive-memory.ts'

const BUFFER_BYTES = 65_536
const DATAGRAMS = 16_384

async function markings(each: () => void): Promise<number> {
  let count = 0
  const observer = new PerformanceObserver((list) => {
    for (const { detail } of list.getEntries() as { detail?: { kind?: number } }[]) {
      if (detail?.kind === constants.NODE_PERFORMANCE_GC_MAJOR) count++
    }
  })
  observer.observe({ entryTypes: ['gc'] })
  for (let received = 0; received < DATAGRAMS; received++) {
    Buffer.allocUnsafeSlow(BUFFER_BYTES)
    each()
    if (received % 64 === 0) await sleep(0)
  }
  await sleep(50)
  observer.disconnect()
  return count
}

t.test('a gibibyte of datagram buffers has the heap marked less often', async (t) => {
  const without = await markings(() => undefined)
  const marked = await markings(datagramReceived)
  t.ok(marked < without, `${marked} markings, ${without} when nobody collects`)
})
