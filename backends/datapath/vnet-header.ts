/** What precedes each packet of the TUN device: struct virtio_net_hdr (linux/virtio_net.h), in the machine's byte order. */

/** By offset. */
export const VNET = {
  flags: 0,
  gsoType: 1,
  headerLength: 2,
  gsoSize: 4,
  checksumStart: 6,
  checksumOffset: 8,
} as const;
export const VNET_BYTES = 10;
export const VNET_NEEDS_CHECKSUM = 1;
export const GSO_NONE = 0;
export const GSO_TCPV4 = 1;
export const GSO_TCPV6 = 4;
export const GSO_UDP_L4 = 5;
/** A flag beside the type: the first segment alone has CWR. */
export const GSO_ECN = 0x80;
