/**
 * The metadata service over real QUIC, in this process: who may call what, joining, logging in.
 */
import { join } from 'node:path'
import * as opaque from '@serenity-kit/opaque'
import t, { type Test } from 'tap'
import { methods } from '../../schema/methods.ts'
import { Dialer } from '../../schema/quic/dialer.ts'
import type { Peer } from '../../schema/quic/api.ts'
import type { TlsIdentity } from '../../schema/rpc/api.ts'
import { createKeyPair, createRequest } from '../../server/identity/certificates.ts'
import { clusterPaths, initCluster, readIdentity } from '../../server/metadata/cluster-files.ts'
import { METADATA_NAME } from '../../server/metadata/peer-names.ts'
import { startMetadataServer } from '../../server/metadata/start.ts'
import { attributes } from '../support/metadata.ts'
import { silent } from '../support/transport.ts'

const dir = join(t.testdir(), 'metadata')
await initCluster({ dir, replicas: 2, writeQuorum: 2 })
const server = await startMetadataServer({
  dir,
  listen: '127.0.0.1:0',
  log: silent,
  onFailure(error) {
    throw error
  },
})
const { certificatePem: caPem } = await readIdentity(clusterPaths(dir).authority)
const admin = await readIdentity(clusterPaths(dir).admin)
const dialer = new Dialer({ log: silent })
t.teardown(async () => {
  await dialer.close()
  await server.stop()
})

function peer(t: Test, identity?: TlsIdentity): Peer {
  const made = dialer.peer({
    addresses: [server.address],
    serverName: METADATA_NAME,
    caPem,
    ...(identity === undefined ? {} : { identity }),
    log: silent,
  })
  t.teardown(() => made.close())
  return made
}

const KEY_STRETCHING = {
  'argon2id-custom': { iterations: 1, memory: 65_536, parallelism: 1 },
} as const
const NO_BYTES = new Uint8Array(0)

async function register(t: Test, user: string, password: string): Promise<Uint8Array> {
  const { invitation } = await peer(t, admin).call(methods.addUser, {
    user,
    quotaBytes: 0,
    validSeconds: 0,
  })
  const anybody = peer(t)
  const { clientRegistrationState, registrationRequest } = opaque.client.startRegistration({
    password,
  })
  const { opaqueResponse } = await anybody.call(methods.registerStart, {
    invitation,
    user,
    opaqueRequest: registrationRequest,
  })
  const { registrationRecord } = opaque.client.finishRegistration({
    password,
    registrationResponse: opaqueResponse,
    clientRegistrationState,
    keyStretching: KEY_STRETCHING,
  })
  const request = {
    invitation,
    user,
    opaqueRecord: registrationRecord,
    wrappedMasterKey: Buffer.from('wrapped master'),
    wrappedRootKey: Buffer.from('wrapped root'),
    root: attributes(2),
    recoveryKey: Buffer.of(),
    recoveryMasterKey: Buffer.of(),
  }
  const first = await anybody.call(methods.registerFinish, request)
  t.same(await anybody.call(methods.registerFinish, request), first, 'may be repeated')
  await t.rejects(
    anybody.call(methods.registerFinish, { ...request, opaqueRecord: 'another' }),
    { code: 'tokenInvalid' },
    'but the invitation is used up',
  )
  return invitation
}

async function logIn(link: Peer, user: string, password: string): Promise<string> {
  const { clientLoginState, startLoginRequest } = opaque.client.startLogin({ password })
  const { opaqueResponse } = await link.call(methods.loginStart, {
    user,
    opaqueRequest: startLoginRequest,
  })
  const finished = opaque.client.finishLogin({
    clientLoginState,
    loginResponse: opaqueResponse,
    password,
    keyStretching: KEY_STRETCHING,
  })
  if (finished === undefined) return 'the client sees that the password is wrong'
  const account = await link.call(methods.loginFinish, {
    opaqueFinish: finished.finishLoginRequest,
  })
  return Buffer.from(account.wrappedMasterKey).toString()
}

t.test('a user registers once and logs in with the password only', async (t) => {
  await register(t, 'ann', 'right')
  t.equal(await logIn(peer(t), 'ann', 'right'), 'wrapped master')
  const wrong = await logIn(peer(t), 'ann', 'wrong')
  t.equal(await logIn(peer(t), 'nobody', 'right'), wrong, 'an unknown user looks the same')
  await t.rejects(peer(t).call(methods.loginFinish, { opaqueFinish: 'x' }), {
    code: 'invalidArgument',
  })
  const link = peer(t)
  const { startLoginRequest } = opaque.client.startLogin({ password: 'right' })
  await link.call(methods.loginStart, { user: 'ann', opaqueRequest: startLoginRequest })
  await t.rejects(link.call(methods.loginFinish, { opaqueFinish: 'AAAA' }), {
    code: 'loginRefused',
  })
  await t.rejects(
    link.call(methods.loginStart, { user: 'ann', opaqueRequest: 'no OPAQUE' }),
    { code: 'invalidArgument' },
    'a malformed message is refused and ends nothing',
  )
})

t.test('a chunkserver joins with a token, once, and registers under its certificate', async (t) => {
  const wanted = { validSeconds: 60, standby: false }
  const { secret } = await peer(t, admin).call(methods.createJoinToken, wanted)
  const keys = await createKeyPair()
  const der = (pem: string): Buffer =>
    Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/gu, ''), 'base64')
  const request = {
    token: secret,
    certificateRequest: der(await createRequest(keys, 'admin.dfs')),
    rack: 'a',
  }
  const joined = await peer(t).call(methods.join, request)
  t.same(await peer(t).call(methods.join, request), joined, 'the same request gets the same')
  const foreign = der(await createRequest(await createKeyPair(), 'chunkserver-1.dfs'))
  await t.rejects(peer(t).call(methods.join, { ...request, certificateRequest: foreign }), {
    code: 'tokenInvalid',
  })
  await t.rejects(peer(t).call(methods.join, { ...request, token: Buffer.alloc(32) }), {
    code: 'tokenInvalid',
  })
  const identity = {
    certificatePem: joined.certificatePem,
    privateKeyPem: keys.privateKeyPem,
  }
  const link = peer(t, identity)
  const beat = {
    usedBytes: 0,
    freeBytes: 10,
    full: false,
    chunks: 0,
    load: 0,
    deleted: [],
    unconfirmed: [],
    damaged: [],
  }
  t.match(await link.call(methods.heartbeat, beat), { register: true })
  const registered = await link.call(methods.register, {
    rack: 'b',
    addresses: ['127.0.0.1:1'],
    totalBytes: 10,
    freeBytes: 10,
    chunks: 0,
    epoch: 0,
    epochProof: new Uint8Array(0),
    store: Buffer.from('a store'),
  })
  t.equal(registered.ticketKeys.length, 1)
  t.match(await link.call(methods.heartbeat, beat), { register: false })
  const { servers } = await peer(t, admin).call(methods.clusterStatus, {})
  t.match(servers, [{ id: joined.server, rack: 'b', state: 'alive' }])
  await t.rejects(
    link.call(methods.addUser, { user: 'eve', quotaBytes: 0, validSeconds: 0 }),
    { code: 'forbidden' },
    'the name it asked for in its request gives it nothing',
  )
  await peer(t, admin).call(methods.revokeServer, { server: joined.server, force: false })
  await t.rejects(link.call(methods.heartbeat, beat), { code: 'forbidden', message: /revoked/ })
  const epoch = { epoch: 0, epochProof: new Uint8Array(0) }
  const space = { totalBytes: 1, freeBytes: 1, chunks: 0, store: NO_BYTES }
  const place = { rack: 'b', addresses: ['127.0.0.1:1'], ...space, ...epoch }
  await t.rejects(peer(t, identity).call(methods.register, place), { code: 'forbidden' })
})

t.test('who has not shown who they are may do nothing', async (t) => {
  const anybody = peer(t)
  await anybody.call(methods.ping, {})
  const operator = peer(t, admin)
  const userCalls: (() => Promise<unknown>)[] = [
    () => anybody.call(methods.getInode, { inode: 1, hold: false }),
    () => operator.call(methods.getInode, { inode: 1, hold: false }),
    () => anybody.call(methods.statfs, {}),
    () => anybody.call(methods.clusterStatus, {}),
    () => anybody.call(methods.plan, { count: 1, exclude: [], chunk: 0, ticket: NO_BYTES }),
    () =>
      anybody.call(methods.addDevice, {
        name: 'x',
        publicKey: Buffer.alloc(32),
        wrappedMasterKey: Buffer.alloc(3),
      }),
  ]
  for (const call of userCalls) await t.rejects(call(), { code: 'notLoggedIn' })
  const others: (() => Promise<unknown>)[] = [
    () => anybody.call(methods.addUser, { user: 'eve', quotaBytes: 0, validSeconds: 0 }),
    () => anybody.call(methods.listUsers, {}),
    () => anybody.call(methods.disableUser, { user: 'ann', disabled: true }),
    () => anybody.call(methods.deleteUser, { user: 'ann' }),
    () => anybody.call(methods.setQuota, { user: 'ann', quotaBytes: 1 }),
    () => anybody.call(methods.revokeServer, { server: 1, force: true }),
    () => anybody.call(methods.createJoinToken, { validSeconds: 1, standby: false }),
    () =>
      operator.call(methods.register, {
        rack: 'a',
        addresses: ['x:1'],
        totalBytes: 1,
        freeBytes: 1,
        chunks: 0,
        epoch: 0,
        epochProof: new Uint8Array(0),
        store: NO_BYTES,
      }),
    () => anybody.call(methods.drainServer, { server: 1, drain: true }),
    () => anybody.call(methods.removeServer, { server: 1 }),
    () => anybody.call(methods.repairStatus, {}),
  ]
  for (const call of others) await t.rejects(call(), { code: 'forbidden' })
})

t.test('guessing is slowed down', async (t) => {
  let refused: unknown
  for (let i = 0; i < 40 && refused === undefined; i++) {
    refused = await logIn(peer(t), 'ann', `guess ${i}`).then(
      () => undefined,
      (error: unknown) => error,
    )
  }
  t.match(refused, { code: 'tooManyLogins' })
})
