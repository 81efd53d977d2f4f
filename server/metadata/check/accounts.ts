/**
 * What a check looks at beside the files: users with their names, devices, sessions and logged
 * answers, chunkservers, counters, the next ids, the records of the store itself, and keys that belong
 * to nothing. What grows with users and chunkservers is held in memory, as the server does.
 */
import { DfsError } from '../../../schema/wire/status.ts'
import { prefixEnd } from '../../store/ordered-store.ts'
import { counterNames } from '../store/counters.ts'
import { keys, parts } from '../store/keys.ts'
import { layout, STORE_LETTER, storeRecords } from '../store/layout.ts'
import { tables } from '../store/tables.ts'
import type { Context } from './context.ts'

/** Reads users and chunkservers, which all other parts compare with. */
export async function readAccounts(context: Context): Promise<void> {
  const { findings, users, servers, highest } = context
  const userCursor = await context.walk(layout.users)
  for (let found = await userCursor.next(); found; found = await userCursor.next()) {
    const id = found.key.readUInt32BE(1)
    highest.see('users', id)
    if (found.value === undefined) continue
    users.set(id, found.value)
    if (found.value.userId !== id) {
      await findings.add('conflict', `the record of user ${id} is that of ${found.value.userId}`)
    }
    if (found.value.opaqueRecord !== '') context.counters.add(counterNames.users)
  }
  const serverCursor = await context.walk(layout.servers)
  for (let found = await serverCursor.next(); found; found = await serverCursor.next()) {
    const id = found.key.readUInt32BE(1)
    highest.see('servers', id)
    servers.add(id)
  }
  await context.endWalks()
}

export async function checkAccounts(context: Context): Promise<void> {
  await checkRoots(context)
  await checkUserNames(context)
  const devices = await checkDevices(context)
  await checkSessions(context, devices)
  await checkTreeStates(context)
  const tokens = await context.walk(layout.joinTokens)
  while (tokens.current !== undefined) await tokens.advance()
  await context.endWalks()
}

async function checkRoots({ users, store, findings }: Context): Promise<void> {
  for (const { userId, user, rootInode, opaqueRecord, deleting } of users.values()) {
    if (opaqueRecord === '' || deleting) continue
    // A damaged record is there, and was reported.
    const root = await store.get(keys.inode(rootInode)).catch((error: unknown) => {
      if (error instanceof DfsError && error.code === 'recordCorrupt') return error
      throw error
    })
    if (root === undefined) {
      await findings.add('missing', `user ${userId} (${user}) has no root directory`)
    }
  }
}

async function checkUserNames(context: Context): Promise<void> {
  const { findings, users } = context
  const named = new Set<number>()
  const names = await context.walk(layout.userNames)
  for (let found = await names.next(); found; found = await names.next()) {
    if (found.value === undefined) continue
    const { key } = found
    const name = key.toString('utf8', 1)
    const user = users.get(found.value.value)
    if (user?.user === name) {
      named.add(user.userId)
    } else {
      const changes = (): [{ key: Buffer; value: undefined }] => [{ key, value: undefined }]
      await findings.add('garbage', `the name ${name} leads to no user of that name`, { changes })
    }
  }
  for (const { userId, user } of users.values()) {
    if (named.has(userId)) continue
    const value = tables.numbers.encode({ value: userId })
    const changes = (): [{ key: Buffer; value: Uint8Array }] => [
      { key: keys.userName(user), value },
    ]
    await findings.add('index', `no name leads to user ${userId} (${user})`, { changes })
  }
}

/** What is in the pages only clients can tell; here, whose they are, and how many bytes. */
async function checkTreeStates(context: Context): Promise<void> {
  const { findings, users, counters } = context
  const states = new Set<number>()
  const stateCursor = await context.walk(layout.treeStates)
  for (let found = await stateCursor.next(); found; found = await stateCursor.next()) {
    const user = found.key.readUInt32BE(1)
    states.add(user)
    if (users.has(user)) continue
    await findings.add('missing', `a state is kept of the tree of user ${user}, who has no record`)
  }
  const pages = await context.walk(layout.treePages)
  for (let found = await pages.next(); found; found = await pages.next()) {
    const user = found.key.readUInt32BE(1)
    counters.add(counterNames.treeBytes(user), found.value?.bytes.length ?? 0)
    if (states.has(user) || context.leaving(user)) continue
    await findings.add(
      'missing',
      `a page is kept of the version table of user ${user}, and no state`,
    )
    states.add(user)
  }
}

/** Returns the users of devices. */
async function checkDevices(context: Context): Promise<Map<number, number>> {
  const { findings, users, highest } = context
  const owners = new Map<number, number>()
  const devices = await context.walk(layout.devices)
  for (let found = await devices.next(); found; found = await devices.next()) {
    const id = found.key.readUInt32BE(1)
    highest.see('devices', id)
    owners.set(id, found.value?.userId ?? 0)
    if (found.value === undefined) continue
    const { userId } = found.value
    if (users.get(userId)?.devices.includes(id) !== true) {
      // Not taken away: it is how somebody opens his account.
      await findings.add('conflict', `device ${id} is not among those of its user ${userId}`)
    }
  }
  for (const { userId, devices: listed } of users.values()) {
    for (const id of listed) {
      if (owners.has(id)) continue
      await findings.add('missing', `device ${id} of user ${userId} has no record`)
    }
  }
  return owners
}

async function checkSessions(
  context: Context,
  devices: ReadonlyMap<number, number>,
): Promise<void> {
  const { findings, users, highest } = context
  const sessions = await context.walk(layout.sessions)
  const replies = await context.walk(layout.replies)
  for (;;) {
    const id = Math.min(sessions.id, replies.id)
    if (id === Infinity) return
    highest.see('sessions', id)
    const session = await sessions.take(id)
    let answers = 0
    for (; replies.id === id; await replies.advance()) {
      answers++
      const { key } = replies.current ?? {}
      if (session !== undefined || key === undefined) continue
      await findings.add('garbage', `an answer is kept for session ${id}, which is over`, {
        changes: () => [{ key, value: undefined }],
      })
    }
    if (session?.value === undefined) continue
    const { userId, device, inodeNumbers } = session.value
    for (const end of inodeNumbers) highest.see('inodes', end - 1)
    const user = users.get(userId)
    // Sessions of those who leave, and of devices that were revoked, end a moment later.
    if (user === undefined) {
      await findings.add('missing', `session ${id} belongs to user ${userId}, who has no record`)
    } else if (!user.deleting && (devices.get(device) ?? userId) !== userId) {
      await findings.add('conflict', `session ${id} of user ${userId} is on another's device`)
    }
  }
}

/** The last part: sums and next ids, which the others have gathered, and what is left. */
export async function checkSums(context: Context): Promise<void> {
  const { counters, findings, highest } = context
  const stored = new Map<string, number | undefined>()
  const cursor = await context.walk(layout.counters, { again: true })
  for (let found = await cursor.next(); found; found = await cursor.next()) {
    stored.set(parts.counterName(found.key), found.value?.value)
  }
  for (const name of new Set([...stored.keys(), ...counters.names()])) {
    const [is, should] = [stored.has(name) ? stored.get(name) : 0, counters.get(name)]
    if (is === should) continue
    const value = tables.numbers.encode({ value: should })
    await findings.add('count', `counter ${name} is ${is ?? 'damaged'} and should be ${should}`, {
      changes: () => [{ key: keys.counter(name), value }],
    })
  }
  const next = new Map<string, number>()
  const sequences = await context.walk(layout.sequences)
  for (let found = await sequences.next(); found; found = await sequences.next()) {
    next.set(found.key.toString('utf8', 1), found.value?.value ?? Infinity)
  }
  for (const [name, id] of highest.entries()) {
    if ((next.get(name) ?? 1) > id) continue
    const value = tables.numbers.encode({ value: id + 1 })
    await findings.add(
      'count',
      `${name} up to ${id} are in use, and the next is ${next.get(name)}`,
      {
        always: true,
        changes: () => [{ key: keys.sequence(name), value }],
      },
    )
  }
  await context.endWalks()
  await checkStoreRecords(context)
  await checkStrangers(context)
}

async function checkStoreRecords({ store, findings }: Context): Promise<void> {
  const from = Buffer.from(STORE_LETTER)
  const known: ReadonlyMap<string, { decode(bytes: Uint8Array): unknown }> = new Map(
    Object.entries(storeRecords),
  )
  const seen = new Set<string>()
  const scan = store.scan({ from, to: prefixEnd(from) })
  try {
    for (let page = await scan.next(); page.length > 0; page = await scan.next()) {
      for (const { key, value } of page) {
        const name = key.toString('utf8', 1)
        seen.add(name)
        const codec = known.get(name)
        if (codec === undefined) {
          await findings.add('unknown', `the store's own record ${name} is of no known kind`)
        } else if (value === undefined || !decodes(codec, value)) {
          await findings.add('damaged', `the store's own record ${name} is damaged`)
        }
      }
    }
  } finally {
    await scan.close()
  }
  if (!seen.has('cluster')) await findings.add('missing', "the store's own record is missing")
}

function decodes(codec: { decode(bytes: Uint8Array): unknown }, value: Uint8Array): boolean {
  try {
    codec.decode(value)
    return true
  } catch {
    return false
  }
}

/** Keys that no row of the layout claims: those between the kinds. */
async function checkStrangers({ store, findings }: Context): Promise<void> {
  const letters = [...Object.values(layout).map(({ letter }) => letter), STORE_LETTER]
  let from: Buffer = Buffer.of(0)
  for (const letter of [...letters.sort(), undefined]) {
    const to = letter === undefined ? END : Buffer.from(letter)
    const scan = store.scan({ from, to })
    try {
      for (let page = await scan.next(); page.length > 0; page = await scan.next()) {
        for (const { key } of page) {
          await findings.add('unknown', `key ${key.toString('hex')} belongs to no table`)
        }
      }
    } finally {
      await scan.close()
    }
    if (letter !== undefined) from = prefixEnd(to)
  }
}

/** Behind every key that anybody would make. */
const END = Buffer.alloc(64, 255)
