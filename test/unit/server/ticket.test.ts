/** Tickets: good for one chunk, one right, one time; nothing forged passes. */
import { createSecretKey, randomBytes } from 'node:crypto'
import t from 'tap'
import { issueTicket, Rights, TICKET_BYTES, verifyTicket } from '../../../server/ticket.ts'

const key = createSecretKey(randomBytes(32))
const keyOf = (id: number) => (id === 1 ? key : undefined)
const claims = { rights: Rights.read, keyId: 1, user: 7, chunk: 2 ** 41 + 5, expiresMs: 1_000 }
const wanted = { chunk: claims.chunk, rights: Rights.read }

t.test('says what was claimed until it expires', async (t) => {
  t.same(verifyTicket(issueTicket(claims, key), wanted, keyOf, 1_000), claims)
})

t.test('no flipped bit goes unnoticed', async (t) => {
  const ticket = issueTicket(claims, key)
  for (let bit = 0; bit < TICKET_BYTES * 8; bit++) {
    const forged = ticket.map((byte, at) => (at === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte))
    t.throws(() => verifyTicket(forged, wanted, keyOf, 0), { code: 'ticketInvalid' }, `bit ${bit}`)
  }
})

const foreign = createSecretKey(randomBytes(32))
const refusals = [
  { why: 'an expired one', ticket: issueTicket(claims, key), now: 1_001, code: 'ticketExpired' },
  { why: 'a foreign key', ticket: issueTicket(claims, foreign), now: 0, code: 'ticketInvalid' },
  {
    why: 'an unknown key',
    ticket: issueTicket({ ...claims, keyId: 2 }, key),
    now: 0,
    code: 'ticketInvalid',
  },
  {
    why: 'another chunk',
    ticket: issueTicket({ ...claims, chunk: 5 }, key),
    now: 0,
    code: 'ticketInvalid',
  },
  {
    why: 'another right',
    ticket: issueTicket({ ...claims, rights: Rights.write }, key),
    now: 0,
    code: 'ticketInvalid',
  },
  { why: 'a short one', ticket: new Uint8Array(10), now: 0, code: 'ticketInvalid' },
] as const
for (const { why, ticket, now, code } of refusals) {
  t.test(`refuses ${why}`, async (t) => {
    t.throws(() => verifyTicket(ticket, wanted, keyOf, now), { code })
  })
}
