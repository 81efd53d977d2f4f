/**
 * How many connections a listener takes, in all and from one address, and that room is given again.
 */
import t from 'tap'
import { echo, pair, until } from '../support/transport.ts'

const hello = Buffer.from('hello')

t.test('connections beyond the caps are refused with the reason', async (t) => {
  const transport = { connectionsMax: 3, connectionsPerAddressMax: 2 }
  const { listener, another } = await pair(t, { listen: { address: '[::]:0', transport } })
  const port = listener.address.split(':').at(-1)
  const four = (): ReturnType<typeof another> => another({ addresses: [`127.0.0.1:${port}`] })
  const six = (): ReturnType<typeof another> => another({ addresses: [`[::1]:${port}`] })
  const first = four()
  await first.call(echo, hello)
  await four().call(echo, hello)
  const third = four()
  await t.rejects(third.call(echo, hello), {
    code: 'connectionRefused',
    message: /2 connections from your address already/u,
  })
  t.equal(listener.stats().connections, 2, 'it takes no place')
  await six().call(echo, hello)
  const fifth = six()
  await t.rejects(fifth.call(echo, hello), {
    code: 'connectionRefused',
    message: /3 connections are open already/u,
  })
  t.ok(listener.stats().connectionsRefused >= 2, 'and counted')
  await first.close()
  t.ok(await until(() => listener.stats().connections === 2))
  t.same(Buffer.from(await third.call(echo, hello)), hello, 'a place that is free again is given')
  t.equal(listener.stats().connections, 3)
})
