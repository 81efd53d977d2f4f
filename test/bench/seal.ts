/**
 * What sealing and opening blocks costs, per CPU-second, next to AES-256-GCM alone.
 *
 * The number to watch is the share of raw AES: what is lost to copying, nonces, associated data and
 * the tags kept beside the ciphertext. Also the small seals of a listing, per operation.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { SealedChunk } from '../../mount/client/sealed-chunk.ts'
import { ChunkOpener, ChunkSealer } from '../../mount/crypto/chunk-cipher.ts'
import { InodeKey } from '../../mount/crypto/inode-key.ts'
import { limits } from '../../schema/wire/limits.ts'
import { sealedAttributes } from '../support/inodes.ts'

const { blockBytes, sealedBlockBytes, chunkBytesMax, chunkBlocksMax } = limits
const MEGABYTE = 1e6
/** Chunks sealed for one figure, and operations for one small figure. */
const CHUNKS = 16
const OPERATIONS = 50_000

/** CPU seconds that `work` takes, in all threads. */
function cpuSeconds(work: () => void): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1e6
}

function bulk(name: string, raw: number | undefined, chunk: () => void): number {
  chunk()
  const seconds = cpuSeconds(() => {
    for (let i = 0; i < CHUNKS; i++) chunk()
  })
  const rate = (CHUNKS * chunkBytesMax) / MEGABYTE / seconds
  const share = raw === undefined ? '' : `\t${((100 * rate) / raw).toFixed(0)} % of raw`
  console.log(`${name}\t${rate.toFixed(0)} MB per CPU-second${share}`)
  return rate
}

function small(name: string, operation: (i: number) => void): void {
  for (let i = 0; i < 1_000; i++) operation(i)
  const seconds = cpuSeconds(() => {
    for (let i = 0; i < OPERATIONS; i++) operation(i)
  })
  console.log(`${name}\t${((seconds / OPERATIONS) * 1e6).toFixed(2)} µs`)
}

export async function run(): Promise<void> {
  const key = InodeKey.generate()
  const plain = randomBytes(blockBytes)
  const rawKey = randomBytes(32)
  const nonce = Buffer.alloc(12)

  const rawSeal = bulk('AES-256-GCM encrypt', undefined, () => {
    for (let index = 0; index < chunkBlocksMax; index++) {
      nonce.writeUInt32LE(index)
      const cipher = createCipheriv('aes-256-gcm', rawKey, nonce)
      cipher.update(plain)
      cipher.final()
      cipher.getAuthTag()
    }
  })
  const into = Buffer.alloc(sealedBlockBytes)
  bulk('seal blocks', rawSeal, () => {
    const sealer = new ChunkSealer(key, 1)
    for (let index = 0; index < chunkBlocksMax; index++) {
      sealer.seal(plain, index === chunkBlocksMax - 1, into, 0)
    }
  })
  const written = randomBytes(131_072)
  bulk('seal a chunk as the kernel writes it', rawSeal, () => {
    const chunk = new SealedChunk(key, 1)
    for (let at = 0; at < chunkBytesMax; at += written.length) chunk.append(written)
    chunk.end()
    chunk.drop(true)
  })

  const sealed = Buffer.alloc(chunkBlocksMax * sealedBlockBytes)
  const sealer = new ChunkSealer(key, 1)
  for (let index = 0, at = 0; index < chunkBlocksMax; index++) {
    at = sealer.seal(plain, index === chunkBlocksMax - 1, sealed, at)
  }
  const cipher = createCipheriv('aes-256-gcm', rawKey, nonce)
  const encrypted = cipher.update(plain)
  cipher.final()
  const tag = cipher.getAuthTag()
  const rawOpen = bulk('AES-256-GCM decrypt', undefined, () => {
    for (let index = 0; index < chunkBlocksMax; index++) {
      const decipher = createDecipheriv('aes-256-gcm', rawKey, nonce, { authTagLength: 16 })
      decipher.setAuthTag(tag)
      decipher.update(encrypted)
      decipher.final()
    }
  })
  bulk('open blocks', rawOpen, () => {
    const options = { chunk: 1, header: sealer.header, length: chunkBytesMax }
    const opener = new ChunkOpener(key, options)
    for (let index = 0; index < chunkBlocksMax; index++) {
      const at = index * sealedBlockBytes
      opener.open(index, sealed.subarray(at, at + sealedBlockBytes))
    }
  })
  smallSeals(key)
}

function smallSeals(key: InodeKey): void {
  const child = { kind: 1, key: InodeKey.generate() }
  const { token, entry } = key.sealEntry('a file name.txt', child)
  const inode = sealedAttributes(child.key, { size: 5 })
  small('token of a name', (i) => key.token(`file-${i}`))
  small('seal an entry', () => key.sealEntry('a file name.txt', child))
  small('open an entry', () => key.openEntry(token, entry))
  small('verify an inode, key at hand', () => child.key.verifyAttributes(inode))
  small('open an entry and verify its inode', () => {
    key.openEntry(token, entry).key.verifyAttributes(inode)
  })
}
