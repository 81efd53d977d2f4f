/**
 * A device: what lets a profile open sessions without a password. An Ed25519 key proves who it is;
 * a wrapping key, which never leaves the profile, opens the master key that the server keeps for it.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { sessionProof } from '../../schema/wire/session-proof.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { generateKey, unwrapKey, wrapKey } from '../crypto/key-wrap.ts'
import type { WrapContext } from '../crypto/key-wrap.ts'

/** Bytes of a raw Ed25519 public key, which are the last ones of its SPKI DER form. */
const PUBLIC_KEY_BYTES = 32

export class Device {
  readonly #privateKey: KeyObject
  readonly #wrapping: Buffer

  private constructor(privateKey: KeyObject, wrapping: Buffer) {
    this.#privateKey = privateKey
    this.#wrapping = wrapping
  }

  static generate(): Device {
    return new Device(generateKeyPairSync('ed25519').privateKey, generateKey())
  }

  /** From the two texts in a profile. Throws `recordCorrupt`. */
  static fromProfile(keys: { devicePrivateKey: string; deviceWrapKey: string }): Device {
    let privateKey: KeyObject
    try {
      const der = Buffer.from(keys.devicePrivateKey, 'base64')
      privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
    } catch (cause) {
      throw new DfsError('recordCorrupt', 'the profile holds no device key: run dfs login', {
        cause,
      })
    }
    if (privateKey.asymmetricKeyType !== 'ed25519') {
      throw new DfsError('recordCorrupt', "the profile's device key is not Ed25519: run dfs login")
    }
    return new Device(privateKey, Buffer.from(keys.deviceWrapKey, 'base64'))
  }

  /** The two texts for a profile. */
  toProfile(): { devicePrivateKey: string; deviceWrapKey: string } {
    const der = this.#privateKey.export({ format: 'der', type: 'pkcs8' })
    return {
      devicePrivateKey: der.toString('base64'),
      deviceWrapKey: this.#wrapping.toString('base64'),
    }
  }

  /** Raw Ed25519 public key, 32 bytes. */
  get publicKey(): Buffer {
    const der = createPublicKey(this.#privateKey).export({ format: 'der', type: 'spki' })
    return der.subarray(der.length - PUBLIC_KEY_BYTES)
  }

  /** Answers a server's challenge (schema/wire/session-proof.ts). */
  prove(challenge: { cluster: Uint8Array; nonce: Uint8Array; device: number }): Buffer {
    const { cluster, nonce, device } = challenge
    return sign(null, sessionProof(cluster, nonce, device), this.#privateKey)
  }

  wrapMasterKey(user: string, masterKey: Uint8Array): Buffer {
    return wrapKey(this.#wrapping, this.#context(user), masterKey)
  }

  /** Throws `notAuthentic` when the server gave what was not wrapped for this user and device. */
  unwrapMasterKey(user: string, wrapped: Uint8Array): Buffer {
    return unwrapKey(this.#wrapping, this.#context(user), wrapped)
  }

  #context(user: string): WrapContext {
    return { purpose: 'master by device', owner: `${user}\0${this.publicKey.toString('hex')}` }
  }
}
