// sock_*: preview 1's four, and those by which WasmEdge's programs open sockets (its first and second version, as the
// crate wasmedge_wasi_socket and WasmEdge's QuickJS use them). Versions differ in how many arguments they have.
import { FsError } from '../fs/node.ts';
import type { Stack } from '../net/stack.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Descriptors } from './descriptors.ts';
import { ERRNO } from './errno.ts';
import { type GuestMemory, roomOf } from './guest-memory.ts';
import { asErrno, SocketNode, type SocketAddress } from './socket-node.ts';

const FAMILY = { unspecified: 0, inet4: 1 } as const, TYPE = { any: 0, datagram: 1, stream: 2 } as const, PROTOCOL = { tcp: 1, udp: 2 } as const;
const RECEIVE = { peek: 1, waitAll: 2 } as const, DATA_TRUNCATED = 1, SHUT = { read: 1, write: 2 } as const, NONBLOCK = 4;
const OPTION = { reuseAddress: 0, type: 1, error: 2, dontRoute: 3, broadcast: 4, sendBuffer: 5, receiveBuffer: 6, keepAlive: 7, outOfBandInline: 8, linger: 9, receiveLow: 10, receiveTimeout: 11, sendTimeout: 12, acceptsConnections: 13 } as const;
/** Taken and without effect: what they ask for is so, or cannot be. */
const NO_EFFECT: ReadonlySet<number> = new Set([OPTION.reuseAddress, OPTION.dontRoute, OPTION.broadcast, OPTION.sendBuffer, OPTION.receiveBuffer, OPTION.keepAlive, OPTION.linger]);
/** struct { buffer, size }: of this size and more the buffer starts with the family (16 bits), below it is the address alone. */
const LONG_ADDRESS = 128, ADDRESS_BYTES = 8, TIMEVAL_BYTES = 16, BUFFER_BYTES = 262_144;
/** wasi_addrinfo and its wasi_sockaddr. */
const INFO = { flags: 0, family: 2, type: 3, protocol: 4, addressBytes: 8, address: 12, nameBytes: 20, next: 24, bytes: 28 } as const;
const SOCKADDR = { family: 0, dataBytes: 4, data: 8, bytes: 12, inet4Bytes: 14 } as const;

type Call = (...args: number[]) => number | void;

/** @param network connected, with an address @throws FsError(NETDOWN) from it where there is none */
export function socketCalls(kernel: Kernel, m: GuestMemory, fds: Descriptors, network: () => Stack): Record<string, Call> {
  const socket = (fd: number): SocketNode => { const { node } = fds.get(fd); if (!(node instanceof SocketNode)) throw new FsError(ERRNO.NOTSOCK); return node; };
  const address = (pointer: number): number => {
    const v = m.view(pointer, ADDRESS_BYTES), size = v.getUint32(4, true), isLong = size >= LONG_ADDRESS, b = m.view(v.getUint32(0, true), isLong ? 6 : 4);
    if (isLong ? b.getUint16(0, true) !== FAMILY.inet4 : size !== 4) throw new FsError(ERRNO.AFNOSUPPORT);
    return b.getUint32(isLong ? 2 : 0);
  };
  const putAddress = (pointer: number, value: number): void => {
    const v = m.view(pointer, ADDRESS_BYTES), isLong = v.getUint32(4, true) >= LONG_ADDRESS, b = m.view(v.getUint32(0, true), isLong ? 6 : 4);
    if (isLong) b.setUint16(0, FAMILY.inet4, true);
    b.setUint32(isLong ? 2 : 0, value);
  };
  const putEnd = ({ address: value, port }: SocketAddress, pointer: number, more: readonly number[]): void => {
    putAddress(pointer, value);
    if (more.length > 1) m.u32(more[0]!, 4);
    m.u32(more[more.length - 1]!, port);
  };
  /** All vectors as one piece: each is looked at once. */
  const gather = (vectors: number, count: number): Uint8Array => {
    const parts = m.vectors(vectors, count), all = new Uint8Array(roomOf(parts));
    let at = 0;
    for (const part of parts) { const piece = part.subarray(0, all.length - at); all.set(piece, at); at += piece.length; }
    return all;
  };
  const receive = (fd: number, vectors: number, count: number, flags: number, lengthOut: number, flagsOut: number): SocketAddress => {
    const parts = m.vectors(vectors, count);
    const { data, isCut, address: from = 0, port = 0 } = socket(fd).receive(roomOf(parts), (flags & RECEIVE.peek) !== 0, (flags & RECEIVE.waitAll) !== 0);
    m.scatter(parts, data);
    m.u32(lengthOut, data.length);
    m.view(flagsOut, 2).setUint16(0, isCut ? DATA_TRUNCATED : 0, true);
    return { address: from, port };
  };
  const timeoutNs = (pointer: number, bytes: number): bigint => {
    if (bytes < TIMEVAL_BYTES) throw new FsError(ERRNO.INVAL);
    const v = m.view(pointer, TIMEVAL_BYTES), ns = v.getBigInt64(0, true) * 1_000_000_000n + v.getBigInt64(8, true) * 1000n;
    return ns < 0n ? 0n : BigInt.asUintN(62, ns);
  };
  const add = (node: SocketNode, nonBlocking: boolean): number => { node.nonBlocking = nonBlocking; return fds.add(node, undefined, nonBlocking ? NONBLOCK : 0); };

  const calls: Record<string, Call> = {
    sock_open: (family, type, out) => {
      if (family! > FAMILY.inet4) return ERRNO.AFNOSUPPORT;
      if (type! > TYPE.stream) return ERRNO.PROTONOSUPPORT;
      m.u32(out!, add(new SocketNode(kernel, network(), type === TYPE.datagram ? 'datagram' : 'stream'), false));
      return ERRNO.SUCCESS;
    },
    sock_bind: (fd, at, port) => { address(at!); socket(fd!).bind(port! & 0xffff); },
    sock_listen: (fd, backlog) => socket(fd!).listen(backlog! >>> 0),
    /** Preview 1 has flags between, WasmEdge's first version has not. */
    sock_accept: (fd, ...more) => { const node = socket(fd!).accept(); m.u32(more[more.length - 1]!, add(node, more.length > 1 && (more[0]! & NONBLOCK) !== 0)); },
    sock_connect: (fd, at, port) => socket(fd!).connect({ address: address(at!), port: port! & 0xffff }),
    sock_recv: (fd, vectors, count, flags, lengthOut, flagsOut) => { receive(fd!, vectors!, count!, flags!, lengthOut!, flagsOut!); },
    sock_recv_from: (fd, vectors, count, at, flags, ...more) => {
      const [port, lengthOut, flagsOut] = more.length > 2 ? more : [undefined, ...more], from = receive(fd!, vectors!, count!, flags!, lengthOut!, flagsOut!);
      putAddress(at!, from.address);
      if (port !== undefined) m.u32(port, from.port);
    },
    sock_send: (fd, vectors, count, _flags, out) => m.u32(out!, socket(fd!).send(gather(vectors!, count!))),
    sock_send_to: (fd, vectors, count, at, port, _flags, out) => {
      const data = gather(vectors!, count!);
      socket(fd!).sendTo({ address: address(at!), port: port! & 0xffff }, data);
      m.u32(out!, data.length);
    },
    sock_shutdown: (fd, how) => { if (how! < 1 || how! > 3) return ERRNO.INVAL; socket(fd!).shutdown((how! & SHUT.read) !== 0, (how! & SHUT.write) !== 0); return ERRNO.SUCCESS; },
    sock_getlocaladdr: (fd, at, ...more) => putEnd(socket(fd!).local, at!, more),
    sock_getpeeraddr: (fd, at, ...more) => putEnd(socket(fd!).peer, at!, more),
    sock_getsockopt: (fd, level, name, at, sizeAt) => {
      const s = socket(fd!), isTimeout = name === OPTION.receiveTimeout || name === OPTION.sendTimeout, size = m.view(sizeAt!, 4), room = size.getUint32(0, true);
      if (level !== 0) return ERRNO.NOPROTOOPT;
      if (room < (isTimeout ? TIMEVAL_BYTES : 4)) return ERRNO.INVAL;
      if (isTimeout) {
        const ns = name === OPTION.receiveTimeout ? s.receiveTimeoutNs : s.sendTimeoutNs;
        m.u64(at!, ns / 1_000_000_000n);
        m.u64(at! + 8, ns % 1_000_000_000n / 1000n);
      } else {
        const value = name === OPTION.type ? TYPE[s.type] : name === OPTION.error ? s.takeError() : name === OPTION.acceptsConnections ? Number(s.isListening)
          : name === OPTION.sendBuffer || name === OPTION.receiveBuffer ? BUFFER_BYTES : NO_EFFECT.has(name!) ? 0 : undefined;
        if (value === undefined) return ERRNO.NOPROTOOPT;
        m.u32(at!, value);
      }
      size.setUint32(0, isTimeout ? TIMEVAL_BYTES : 4, true);
      return ERRNO.SUCCESS;
    },
    sock_setsockopt: (fd, level, name, at, bytes) => {
      const s = socket(fd!);
      if (level !== 0) return ERRNO.NOPROTOOPT;
      if (name === OPTION.receiveTimeout) s.receiveTimeoutNs = timeoutNs(at!, bytes!);
      else if (name === OPTION.sendTimeout) s.sendTimeoutNs = timeoutNs(at!, bytes!);
      else if (!NO_EFFECT.has(name!)) return ERRNO.NOPROTOOPT;
      return ERRNO.SUCCESS;
    },
    sock_getaddrinfo: (node, nodeBytes, service, serviceBytes, hints, results, max, countOut) => {
      const name = m.string(node!, nodeBytes!).replace(/\0.*$/s, ''), port = Number(m.string(service!, serviceBytes!).replace(/\0.*$/s, '') || 0), hint = m.view(hints!, INFO.bytes), type = hint.getUint8(INFO.type);
      if (!Number.isInteger(port) || port < 0 || port > 0xffff) return ERRNO.INVAL;
      if (hint.getUint8(INFO.family) > FAMILY.inet4) return ERRNO.AFNOSUPPORT;
      const found = name === '' ? [0] : asErrno(() => network().lookUp(name)), count = Math.min(found.length, max! >>> 0);
      let at = m.view(results!, 4).getUint32(0, true);
      for (let n = 0; n < count; n++) {
        const info = m.view(at, INFO.bytes), sockaddr = m.view(info.getUint32(INFO.address, true), SOCKADDR.bytes), data = m.view(sockaddr.getUint32(SOCKADDR.data, true), SOCKADDR.inet4Bytes);
        info.setUint16(INFO.flags, 0, true);
        info.setUint8(INFO.family, FAMILY.inet4);
        info.setUint8(INFO.type, type || TYPE.stream);
        info.setUint8(INFO.protocol, type === TYPE.datagram ? PROTOCOL.udp : PROTOCOL.tcp);
        info.setUint32(INFO.addressBytes, SOCKADDR.inet4Bytes + 2, true);
        info.setUint32(INFO.nameBytes, 0, true);
        sockaddr.setUint8(SOCKADDR.family, FAMILY.inet4);
        sockaddr.setUint32(SOCKADDR.dataBytes, SOCKADDR.inet4Bytes, true);
        data.setUint16(0, port);
        data.setUint32(2, found[n]!);
        at = info.getUint32(INFO.next, true);
      }
      m.u32(countOut!, count);
      return ERRNO.SUCCESS;
    },
  };
  return Object.fromEntries(Object.entries(calls).flatMap(([name, call]) => [[name, call], [`${name}_v2`, call]]));
}
