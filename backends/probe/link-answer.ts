/** Who says that it has an address of the link: answers of ARP (RFC 826) and of neighbour discovery (RFC 4861). Pure. */

import { Address } from "../../ipam/addresses/ip.ts";

/** A host of the link says that it has this address. */
export interface LinkAnswer {
  readonly address: Address;
  readonly mac: string;
}

/** linux/if_ether.h */
const ETH_P_IP = 0x0800;
/** linux/if_arp.h */
const ARP_REQUEST = 1;
const ARP_REPLY = 2;
const ARP_BYTES = 28;

/**
 * RFC 826. With 0.0.0.0 as sender it would be an ARP Probe, by which hosts find out whether they may take an address: one
 * that is about to take the same gives it up then (RFC 5227 section 2.1.1).
 */
export function encodeArpRequest(address: Address, sender: Address, hardwareAddress: Buffer): Buffer {
  const message = Buffer.alloc(ARP_BYTES);
  message.writeUInt16BE(1, 0);
  message.writeUInt16BE(ETH_P_IP, 2);
  message.writeUInt8(6, 4);
  message.writeUInt8(4, 5);
  message.writeUInt16BE(ARP_REQUEST, 6);
  message.set(hardwareAddress, 8);
  message.set(sender.toBytes(), 14);
  message.set(address.toBytes(), 24);
  return message;
}

export function decodeArpReply(message: Buffer): LinkAnswer | null {
  if (message.length < ARP_BYTES || message.readUInt16BE(6) !== ARP_REPLY) return null;
  return { address: Address.fromBytes(message.subarray(14, 18)), mac: macText(message.subarray(8, 14)) };
}

/** linux/in6.h */
export const IPPROTO_ICMPV6 = 58;
const IPV6_BYTES = 40;
/** RFC 4861 section 4.4: type, flags, target, and the option that holds its hardware address. */
const ADVERTISEMENT = 136;
const SOLICITED = 0x40;
const ADVERTISEMENT_BYTES = 24;
const TARGET_LINK_ADDRESS = 2;
const OPTION_BYTES = 8;

/** Decodes an IPv6 packet; null for all but answers to a solicitation that name a hardware address. */
export function decodeAdvertisement(packet: Buffer): LinkAnswer | null {
  if ((packet[0] ?? 0) >> 4 !== 6 || packet[6] !== IPPROTO_ICMPV6) return null;
  const message = packet.subarray(IPV6_BYTES);
  const option = message.subarray(ADVERTISEMENT_BYTES);
  if (message[0] !== ADVERTISEMENT || option.length < OPTION_BYTES) return null;
  if (((message[4] ?? 0) & SOLICITED) === 0 || option[0] !== TARGET_LINK_ADDRESS) return null;
  return { address: Address.fromBytes(message.subarray(8, 24)), mac: macText(option.subarray(2, 8)) };
}

function macText(bytes: Buffer): string {
  return bytes.toString("hex").replace(/..(?=.)/g, "$&:");
}
