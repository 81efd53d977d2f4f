/**
 * Copies of some bytes with one bit changed each: the negative space of a format.
 */
export function* flips(bytes: Uint8Array, step = 1): Generator<{ bit: number; bytes: Buffer }> {
  for (let bit = 0; bit < bytes.length * 8; bit += step) {
    const flipped = Buffer.from(bytes)
    flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
    yield { bit, bytes: flipped }
  }
}
