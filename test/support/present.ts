/** What a test knows to be there. */
import { invariant } from '../../schema/wire/invariant.ts'

export function present<T>(value: T | undefined): T {
  invariant(value !== undefined, 'the test expects a value')
  return value
}
