/**
 * The recovery code: 256 random bits that open an account whose password is forgotten.
 *
 * On paper it is 56 letters and digits in groups, in Crockford's base 32 (no I, L, O or U), the last 24
 * bits of which are a checksum, so that a slip of the pen is noticed before a server is asked. From
 * the bits come two things by HKDF: a key that wraps the master key, and an Ed25519 key that proves
 * the code to the server, which knows only the public half.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  hkdfSync,
  randomBytes,
  sign,
} from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { DfsError } from '../../schema/wire/status.ts'
import { KEY_BYTES, unwrapKey, wrapKey, type WrapContext } from './key-wrap.ts'

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
/** What is easily read for something else. */
const READ_AS: Readonly<Record<string, string>> = { I: '1', L: '1', O: '0' }
const CODE_BYTES = 32
const CHECKSUM_BYTES = 3
/** Characters of a group, of which there are eight. */
const GROUP = 7
const CHARACTERS = ((CODE_BYTES + CHECKSUM_BYTES) * 8) / 5
const CHECKSUM_DOMAIN = Buffer.from('dfs recovery checksum v1\0')
/** The fixed start of an Ed25519 private key in PKCS#8 DER. */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex')
/** Bytes of a raw Ed25519 public key, which are the last ones of its SPKI DER form. */
const PUBLIC_KEY_BYTES = 32
const NO_SALT = Buffer.alloc(0)

export class RecoveryCode {
  readonly #code: Buffer
  readonly #privateKey: KeyObject

  private constructor(code: Buffer) {
    this.#code = code
    const seed = Buffer.from(hkdfSync('sha256', code, NO_SALT, 'dfs v1 recovery proof', KEY_BYTES))
    const key = Buffer.concat([PKCS8_HEAD, seed])
    this.#privateKey = createPrivateKey({ key, format: 'der', type: 'pkcs8' })
    seed.fill(0)
    key.fill(0)
  }

  static generate(): RecoveryCode {
    return new RecoveryCode(randomBytes(CODE_BYTES))
  }

  /** From what a person typed. Throws `invalidArgument` when it cannot be a code as it was shown. */
  static parse(text: string): RecoveryCode {
    const letters = text.toUpperCase().replace(/[\s-]/gu, '')
    if (letters.length !== CHARACTERS) {
      throw refused(`it has ${letters.length} letters and digits, not ${CHARACTERS}`)
    }
    const bytes = Buffer.alloc(CODE_BYTES + CHECKSUM_BYTES)
    let bits = 0
    let kept = 0
    let at = 0
    for (const letter of letters) {
      const value = ALPHABET.indexOf(READ_AS[letter] ?? letter)
      if (value < 0) throw refused(`"${letter}" does not occur in one`)
      bits = (bits << 5) | value
      kept += 5
      if (kept < 8) continue
      kept -= 8
      bytes[at++] = bits >> kept
      bits &= (1 << kept) - 1
    }
    const code = bytes.subarray(0, CODE_BYTES)
    if (!checksum(code).equals(bytes.subarray(CODE_BYTES))) {
      bytes.fill(0)
      throw refused('its checksum is wrong, so some letter of it is')
    }
    return new RecoveryCode(code)
  }

  /** The text to show, once. */
  toText(): string {
    let text = ''
    let bits = 0
    let kept = 0
    for (const byte of Buffer.concat([this.#code, checksum(this.#code)])) {
      bits = (bits << 8) | byte
      kept += 8
      while (kept >= 5) {
        kept -= 5
        text += ALPHABET.charAt(bits >> kept)
        bits &= (1 << kept) - 1
      }
    }
    return (text.match(new RegExp(`.{${GROUP}}`, 'gu')) ?? []).join('-')
  }

  /** Raw Ed25519 public key, 32 bytes: what the server checks a proof with. */
  get publicKey(): Buffer {
    const der = createPublicKey(this.#privateKey).export({ format: 'der', type: 'spki' })
    return der.subarray(der.length - PUBLIC_KEY_BYTES)
  }

  /** Signs a message of schema/wire/session-proof.ts. */
  sign(message: Uint8Array): Buffer {
    return sign(null, message, this.#privateKey)
  }

  wrapMasterKey(user: string, masterKey: Uint8Array): Buffer {
    return wrapKey(this.#code, byRecovery(user), masterKey)
  }

  /** Throws `notAuthentic` when the server gave what was not wrapped for this user by this code. */
  unwrapMasterKey(user: string, wrapped: Uint8Array): Buffer {
    return unwrapKey(this.#code, byRecovery(user), wrapped)
  }

  /** Zeroes the code; it wraps and opens nothing any more. */
  erase(): void {
    this.#code.fill(0)
  }
}

const byRecovery = (user: string): WrapContext => ({ purpose: 'master by recovery', owner: user })

function checksum(code: Uint8Array): Buffer {
  const digest = createHash('sha256').update(CHECKSUM_DOMAIN).update(code).digest()
  return digest.subarray(0, CHECKSUM_BYTES)
}

function refused(why: string): DfsError {
  return new DfsError('invalidArgument', `this is no recovery code: ${why}`)
}
