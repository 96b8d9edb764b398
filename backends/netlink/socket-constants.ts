/** Numbers of socket(2), send(2) and setsockopt(2), by their kernel names. Alike on x86-64 and arm64. */

/** linux/net.h */
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;

/** linux/socket.h */
export const MSG_TRUNC = 0x20;
export const MSG_DONTWAIT = 0x40;

/** asm-generic/socket.h */
export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_ERROR = 4;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_ATTACH_FILTER = 26;
export const SO_SNDBUFFORCE = 32;
export const SO_RCVBUFFORCE = 33;
export const SO_BINDTOIFINDEX = 62;

/** linux/in.h, linux/in6.h */
export const SOL_IP = 0;
export const SOL_IPV6 = 41;
/** Level and option of IP_MTU_DISCOVER and IPV6_MTU_DISCOVER. */
export const MTU_DISCOVER = { 4: [SOL_IP, 10], 6: [SOL_IPV6, 23] } as const;
/** linux/in.h: IPPROTO_ICMP, IPPROTO_ICMPV6. */
export const IPPROTO_ICMP_OF = { 4: 1, 6: 58 } as const;
