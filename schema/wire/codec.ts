/**
 * What a generated message codec is: plain objects in and out, every length and offset of a
 * received FlatBuffer checked before it is used.
 *
 * `ulong` fields are ids, counts and byte positions, at most 2^53 - 1, and are numbers in memory;
 * `long` fields are nanoseconds since 1970 and are bigints. Byte vectors decode to copies, so a
 * decoded message never keeps a receive buffer alive.
 */
export interface Codec<T> {
  /** The table's name in the schema, for error messages. */
  readonly name: string
  /** Bytes that are never reused, in memory shared with others: who keeps them for long copies them. */
  encode(value: T): Uint8Array
  /** Throws DfsError `frameMalformed` for anything that is not a well-formed message. */
  decode(bytes: Uint8Array): T
}
