/**
 * Runs a logged operation once, however often it is asked for: a repeated request waits for the one
 * under way, or gets the logged answer; only what was never done, or was refused, is run.
 */
import type { Operation as OperationId } from '../../schema/generated/common.ts'
import { invariant } from '../../schema/wire/invariant.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { Mutation } from './operations/operation.ts'
import { RequestTimes } from './request-times.ts'
import type { Caller, Services } from './services.ts'
import { whileOpen } from './sessions.ts'
import { keys } from './store/keys.ts'
import { tables } from './store/tables.ts'
import type { Transaction } from './store/transaction.ts'

/** Runs `mutation`, or answers from the log; `times` are filled in. */
export async function replay<Q extends { operation: OperationId }, R>(
  mutation: Mutation<Q, R>,
  request: Q,
  caller: Caller,
  services: Services,
  times = new RequestTimes(),
): Promise<R> {
  const { replies } = caller.session
  invariant(replies !== undefined, 'a session on a connection has its reply log')
  const { id } = request.operation
  const running = replies.running(id)
  if (running !== undefined) {
    return holdAgain(mutation, request, (await running) as R, caller, services)
  }
  if (replies.isLogged(id)) {
    const answer = await logged(mutation, id, caller, services)
    return holdAgain(mutation, request, answer, caller, services)
  }
  replies.check(request.operation)
  const answer = run(mutation, request, caller, services, times)
  replies.start(id, answer)
  return answer
}

function run<Q extends { operation: OperationId }, R>(
  mutation: Mutation<Q, R>,
  request: Q,
  caller: Caller,
  services: Services,
  times: RequestTimes,
): Promise<R> {
  const { session } = caller
  const queues = mutation.queues(request, caller)
  const options = {
    queues,
    warm: mutation.warm(request),
    warmUp: async (txn: Transaction) => mutation.warmUp?.(txn, request),
    times,
  }
  return services.database.write(options, async (txn) => {
    const response = await mutation.run(txn, request, caller, services)
    const { method } = mutation
    session.replies?.record(request.operation, method.id, method.response.encode(response), txn)
    const held = mutation.held?.(request, response) ?? []
    txn.afterDecision(() => {
      if (held.length > 0) session.holdOperations.set(request.operation.id, session.takenUp)
      for (const operation of session.holdOperations.keys()) {
        if (operation < request.operation.answeredBelow) session.holdOperations.delete(operation)
      }
    })
    whileOpen(txn, session)
    return response
  })
}

async function logged<Q extends { operation: OperationId }, R>(
  { method }: Mutation<Q, R>,
  id: number,
  { session }: Caller,
  { database }: Services,
): Promise<R> {
  const key = keys.reply(session.record.session, id)
  const record = await database.read((txn) => txn.get(tables.replies, key))
  if (record === undefined) {
    throw new DfsError('invalidArgument', `operation ${id} was answered, and the answer received`)
  }
  if (record.method !== method.id) {
    throw new DfsError('invalidArgument', `operation ${id} was another method; ids are used once`)
  }
  return method.response.decode(record.answer)
}

/**
 * A client that did not get the answer did not announce the hold when it came back; so the hold that
 * the first run counted is gone, and the repeated request counts it anew, once for each time that the
 * session was taken up.
 */
function holdAgain<Q extends { operation: OperationId }, R>(
  mutation: Mutation<Q, R>,
  request: Q,
  response: R,
  { session }: Caller,
  { holds }: Services,
): R {
  const held = mutation.held?.(request, response) ?? []
  const { id } = request.operation
  if (held.length > 0 && session.holdOperations.get(id) !== session.takenUp) {
    session.holdOperations.set(id, session.takenUp)
    for (const inode of held) holds.add(session.record.session, inode)
  }
  return response
}
