/**
 * A UDP socket that gives and takes datagrams in runs: several of one size, side by side in memory, to or
 * from one address, cross into the kernel and its stack as one (segmentation and receive offload, udp(7)).
 * On loopback they stay together all the way.
 *
 * What is received is valid only during the call that hands it over. Where the kernel or the interface
 * cannot cut runs, datagrams are sent one by one.
 */
import { addressOf, errno, lastError, systemError, watch, type Watch } from '../system/native.ts'
import type { HostPort } from './address.ts'
import { quicLimits } from './limits.ts'
import { decodeAddress, encodeAddress, SOCKET_ADDRESS_BYTES_MAX } from './socket-address.ts'
import { calls, linux } from './system-calls.ts'

/** Bytes that whatever one call receives fits into. */
const RECEIVED_BYTES_MAX = 65_536
/** Calls in a row that receive; then the connections have their turn. */
const RECEIVES_MAX = 64
/** Datagrams that they may bring. */
const RECEIVED_DATAGRAMS_MAX = 128
/** Addresses of others that are remembered as text. */
const ADDRESSES_MAX = 4_096

/** Of `struct msghdr`, and of the one control message that we ask for. */
const message = { name: 0, nameBytes: 8, parts: 16, partCount: 24, control: 32, controlBytes: 40 }
const control = { level: 8, type: 12, value: 16 }
const HEADER_BYTES = 56
const PART_BYTES = 16
const NAME_BYTES = 32
const CONTROL_BYTES = 64
const OPTION_BYTES = 4

export interface Receiver {
  /** A datagram came; the buffer is another's after this call. */
  received(datagram: Buffer, from: HostPort): void
  /** The kernel reports something: to a connected socket, that nobody is there. */
  failed(error: Error): void
  /** The kernel takes more again, after it did not. */
  writable(): void
}

/**
 * What receives, one for all sockets: a datagram is used up before the next is read. The kernel is told
 * where it is, so it must stay there: V8 moves small buffers, but not parts of a large one.
 */
const memory = Buffer.allocUnsafeSlow(
  RECEIVED_BYTES_MAX + HEADER_BYTES + PART_BYTES + NAME_BYTES + CONTROL_BYTES + OPTION_BYTES,
)
let cut = 0
const next = (bytes: number): Buffer => memory.subarray(cut, (cut += bytes))
// Each begins at a multiple of 8, as the kernel's structures must.
const inbox = next(RECEIVED_BYTES_MAX)
const header = next(HEADER_BYTES).fill(0)
const part = next(PART_BYTES)
const name = next(NAME_BYTES)
const controls = next(CONTROL_BYTES)
const option = next(OPTION_BYTES)
part.writeBigUInt64LE(addressOf(inbox), 0)
part.writeBigUInt64LE(BigInt(RECEIVED_BYTES_MAX), 8)
header.writeBigUInt64LE(addressOf(name), message.name)
header.writeBigUInt64LE(addressOf(part), message.parts)
header.writeUInt32LE(1, message.partCount)
header.writeBigUInt64LE(addressOf(controls), message.control)

export class UdpSocket {
  readonly local: HostPort
  readonly #socket: number
  readonly #remote: HostPort | undefined
  /** Addresses seen and sent to, by their bytes and by their text. */
  readonly #seen = new Map<string, HostPort>()
  readonly #encoded = new Map<string, Buffer>()
  #watch: Watch | undefined
  /** Into datagrams of how many bytes the kernel cuts what we send; 0 for not at all. */
  #segmentBytes = 0
  #cuts: boolean
  #closed = false

  private constructor(socket: number, remote: HostPort | undefined) {
    this.#socket = socket
    this.#remote = remote
    this.#cuts = this.#set(linux.SOL_UDP, linux.UDP_SEGMENT, 0) === 0
    // Where the kernel has no such thing each datagram comes by itself.
    this.#set(linux.SOL_UDP, linux.UDP_GRO, 1)
    this.#set(linux.SOL_SOCKET, linux.SO_RCVBUF, quicLimits.socketBufferBytes)
    this.#set(linux.SOL_SOCKET, linux.SO_SNDBUF, quicLimits.socketBufferBytes)
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(SOCKET_ADDRESS_BYTES_MAX)
    if (calls.getsockname(socket, name, bytes) < 0) throw systemError('getsockname', lastError())
    this.local = decodeAddress(name)
  }

  /** A socket that talks to one numeric address only. Throws system errors. */
  static connect(remote: HostPort): UdpSocket {
    const address = encodeAddress(remote)
    return open(address, (socket) => {
      if (calls.connect(socket, address, address.length) < 0) {
        throw systemError('connect', lastError())
      }
      return new UdpSocket(socket, remote)
    })
  }

  /** A socket at a numeric address; port 0 is any free one. Throws system errors. */
  static bind(local: HostPort): UdpSocket {
    const address = encodeAddress(local)
    return open(address, (socket) => {
      if (calls.bind(socket, address, address.length) < 0) throw systemError('bind', lastError())
      return new UdpSocket(socket, undefined)
    })
  }

  /** To be called once. */
  start(receiver: Receiver): void {
    this.#watch = watch(this.#socket, () => {
      try {
        this.#receive(receiver)
        if (!this.#closed) receiver.writable()
      } catch (error) {
        // What calls us is not JavaScript: it has nowhere to throw to.
        setImmediate(() => {
          throw error
        })
      }
    })
  }

  /**
   * Sends bytes as datagrams of `segmentBytes`, the last of which may be shorter. Returns 0, or the number
   * of the error, after which none of them was sent. `from` may be shorter: what is sent goes on behind it
   * in the same memory.
   */
  send(from: Buffer, bytes: number, segmentBytes: number, to: HostPort): number {
    // Its descriptor may be another's by now.
    if (this.#closed) return errno.EBADF
    const wanted = bytes > segmentBytes ? segmentBytes : 0
    // What is shorter than a segment is sent whole either way.
    if (wanted !== this.#segmentBytes && (wanted > 0 || bytes > this.#segmentBytes)) {
      if (wanted > 0 && !this.#cuts) return errno.EINVAL
      const failed = this.#set(linux.SOL_UDP, linux.UDP_SEGMENT, wanted)
      if (failed !== 0) return failed
      this.#segmentBytes = wanted
    }
    const address = this.#remote === undefined ? this.#addressOf(to) : null
    for (;;) {
      const sent = calls.sendto(
        this.#socket,
        from,
        bytes,
        linux.MSG_NOSIGNAL,
        address,
        address === null ? 0 : address.length,
      )
      if (sent >= 0) return 0
      const failed = lastError()
      // The interface cannot cut, and will not learn it.
      if (failed === errno.EIO && wanted > 0) this.#cuts = false
      if (failed !== errno.EINTR) return failed
    }
  }

  /** Also tells when the kernel takes more, until it does. */
  wantWritable(wanted: boolean): void {
    if (!this.#closed) this.#watch?.writable(wanted)
  }

  /** The process may end while the socket is open. */
  unref(): void {
    this.#watch?.unref()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#watch?.close()
    calls.close(this.#socket)
  }

  #receive(receiver: Receiver): void {
    let datagrams = 0
    for (let n = 0; n < RECEIVES_MAX && datagrams < RECEIVED_DATAGRAMS_MAX; n++) {
      header.writeUInt32LE(SOCKET_ADDRESS_BYTES_MAX, message.nameBytes)
      header.writeUInt32LE(CONTROL_BYTES, message.controlBytes)
      const bytes = calls.recvmsg(this.#socket, header, 0)
      if (bytes < 0) {
        const failed = lastError()
        if (failed === errno.EAGAIN) return
        if (failed === errno.EINTR) continue
        receiver.failed(systemError('recvmsg', failed))
      } else {
        const from = this.#remote ?? this.#sender()
        const segmentBytes = segmentBytesOf(bytes)
        for (let at = 0; at < bytes; at += segmentBytes) {
          receiver.received(inbox.subarray(at, Math.min(at + segmentBytes, bytes)), from)
          datagrams++
        }
      }
      if (this.#closed) return
    }
  }

  /** Who sent what was just received. */
  #sender(): HostPort {
    const key = name.toString('latin1', 0, header.readUInt32LE(message.nameBytes))
    return remembered(this.#seen, key, name, decodeAddress)
  }

  #addressOf(to: HostPort): Buffer {
    return remembered(this.#encoded, `${to.host} ${to.port}`, to, encodeAddress)
  }

  /** Returns 0, or the number of the error. */
  #set(level: number, which: number, value: number): number {
    option.writeInt32LE(value)
    const result = calls.setsockopt(this.#socket, level, which, option, option.length)
    return result < 0 ? lastError() : 0
  }
}

/** What was made of an address before, or is now. */
function remembered<Address, Made>(
  known: Map<string, Made>,
  key: string,
  address: Address,
  make: (address: Address) => Made,
): Made {
  let made = known.get(key)
  if (made === undefined) {
    made = make(address)
    if (known.size >= ADDRESSES_MAX) known.clear()
    known.set(key, made)
  }
  return made
}

/** Into how large datagrams what was just received is to be cut. */
function segmentBytesOf(bytes: number): number {
  if (
    header.readUInt32LE(message.controlBytes) > control.value &&
    controls.readInt32LE(control.level) === linux.SOL_UDP &&
    controls.readInt32LE(control.type) === linux.UDP_GRO
  ) {
    return controls.readInt32LE(control.value)
  }
  return Math.max(bytes, 1)
}

/** Closes the socket again when `use` throws. */
function open(address: Buffer, use: (socket: number) => UdpSocket): UdpSocket {
  const socket = calls.socket(address.readUInt16LE(0), linux.SOCK_DGRAM_NONBLOCK_CLOEXEC, 0)
  if (socket < 0) throw systemError('socket', lastError())
  try {
    return use(socket)
  } catch (error) {
    calls.close(socket)
    throw error
  }
}
