/**
 * WireGuard devices and their peers (linux/wireguard.h), over generic netlink: `wg set` and `wg show`. The device
 * itself is an rtnetlink link of type `wireguard`. Messages only, no I/O.
 */

import { ADDRESS_BITS, type Address, FAMILIES, Prefix } from "../../ipam/addresses/ip.ts";
import { CodecError } from "../../ipam/errors.ts";
import type { AttributeReader } from "./attribute.ts";
import { GENL_HDRLEN, genericRequest } from "./generic.ts";
import { type MessageWriter, type NetlinkMessage, NLM_F_DUMP } from "./message.ts";
import { AF_OF } from "./rtnetlink.ts";
import { decodeSocketAddress, encodeSocketAddress, SOCKADDR_BYTES } from "./socket-address.ts";

/** The name of the generic netlink family. */
export const WG_GENL_NAME = "wireguard";
const WG_GENL_VERSION = 1;

/** linux/wireguard.h */
const WG_CMD_GET_DEVICE = 0;
const WG_CMD_SET_DEVICE = 1;

const WGDEVICE_A_IFINDEX = 1;
const WGDEVICE_A_IFNAME = 2;
const WGDEVICE_A_PRIVATE_KEY = 3;
const WGDEVICE_A_PUBLIC_KEY = 4;
const WGDEVICE_A_LISTEN_PORT = 6;
const WGDEVICE_A_FWMARK = 7;
const WGDEVICE_A_PEERS = 8;

const WGPEER_A_PUBLIC_KEY = 1;
const WGPEER_A_PRESHARED_KEY = 2;
const WGPEER_A_FLAGS = 3;
const WGPEER_A_ENDPOINT = 4;
const WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL = 5;
const WGPEER_A_LAST_HANDSHAKE_TIME = 6;
const WGPEER_A_RX_BYTES = 7;
const WGPEER_A_TX_BYTES = 8;
const WGPEER_A_ALLOWEDIPS = 9;

const WGPEER_F_REMOVE_ME = 1;
const WGPEER_F_REPLACE_ALLOWEDIPS = 2;
const WGPEER_F_UPDATE_ONLY = 4;

const WGALLOWEDIP_A_FAMILY = 1;
const WGALLOWEDIP_A_IPADDR = 2;
const WGALLOWEDIP_A_CIDR_MASK = 3;

/** linux/wireguard.h, WG_KEY_LEN. */
export const WG_KEY_BYTES = 32;

/** Where a peer's tunnel packets go to. */
export interface WireguardEndpoint {
  readonly address: Address;
  /** UDP port, 1 .. 65535. */
  readonly port: number;
}

/** A peer as it shall be. Keys are base64, as wg(8) prints them; what is absent stays as it is. */
export interface WireguardPeerSpec {
  readonly publicKey: string;
  /** Null removes it. */
  readonly presharedKey?: string | null;
  readonly endpoint?: WireguardEndpoint;
  /** Seconds between keep-alives; 0 sends none. */
  readonly keepaliveSeconds?: number;
  /** Sources that are accepted from the peer, and destinations that are sent to it: replaces what is set. */
  readonly allowedPrefixes?: readonly Prefix[];
}

/** A peer as the kernel shows it. */
export interface WireguardPeer {
  readonly publicKey: string;
  /** Null when none is set (the kernel shows zeros). */
  readonly presharedKey: string | null;
  readonly endpoint: WireguardEndpoint | null;
  readonly keepaliveSeconds: number;
  /** Seconds since the epoch; 0 before the first handshake. */
  readonly lastHandshakeSeconds: number;
  readonly receivedBytes: bigint;
  readonly sentBytes: bigint;
  readonly allowedPrefixes: readonly Prefix[];
}

export interface WireguardDevice {
  readonly index: number;
  /** Null before a private key is set. */
  readonly publicKey: string | null;
  readonly listenPort: number;
  readonly firewallMark: number;
  readonly peers: readonly WireguardPeer[];
}

/** Settings of a device; what is absent stays as it is. */
export interface WireguardSettings {
  /** Base64. */
  readonly privateKey?: string;
  readonly listenPort?: number;
  readonly firewallMark?: number;
}

/** `wg show DEVICE`. The answer is a dump of one or more messages for decodeDevice. */
export function encodeGetDevice(familyId: number, device: string): Buffer {
  return genericRequest(familyId, WG_CMD_GET_DEVICE, WG_GENL_VERSION, NLM_F_DUMP)
    .attrString(WGDEVICE_A_IFNAME, device)
    .finish();
}

/** `wg set DEVICE [private-key KEY] [listen-port PORT] [fwmark MARK]`. Leaves the peers alone. */
export function encodeSetDevice(familyId: number, device: string, settings: WireguardSettings): Buffer {
  const message = setDevice(familyId, device);
  if (settings.privateKey !== undefined)
    message.attrBytes(WGDEVICE_A_PRIVATE_KEY, keyBytes(settings.privateKey));
  if (settings.listenPort !== undefined) message.attrU16(WGDEVICE_A_LISTEN_PORT, settings.listenPort);
  if (settings.firewallMark !== undefined) message.attrU32(WGDEVICE_A_FWMARK, settings.firewallMark);
  return message.finish();
}

/** `wg set DEVICE peer KEY …`: creates the peer or changes it; its session survives. */
export function encodeSetPeer(familyId: number, device: string, peer: WireguardPeerSpec): Buffer {
  return onePeer(familyId, device, peer.publicKey, (message) => {
    const { presharedKey, endpoint, keepaliveSeconds, allowedPrefixes } = peer;
    if (presharedKey !== undefined) message.attrBytes(WGPEER_A_PRESHARED_KEY, presharedBytes(presharedKey));
    if (endpoint !== undefined)
      message.attrBytes(WGPEER_A_ENDPOINT, encodeSocketAddress(endpoint.address, endpoint.port));
    if (keepaliveSeconds !== undefined)
      message.attrU16(WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, keepaliveSeconds);
    if (allowedPrefixes === undefined) message.attrU32(WGPEER_A_FLAGS, WGPEER_F_UPDATE_ONLY);
    else {
      message.attrU32(WGPEER_A_FLAGS, WGPEER_F_REPLACE_ALLOWEDIPS).nestedStrict(WGPEER_A_ALLOWEDIPS, () => {
        for (const prefix of allowedPrefixes) encodeAllowedPrefix(message, prefix);
      });
    }
  });
}

/** `wg set DEVICE peer KEY remove`. Removing an absent peer succeeds. */
export function encodeRemovePeer(familyId: number, device: string, publicKey: string): Buffer {
  return onePeer(familyId, device, publicKey, (message) => {
    message.attrU32(WGPEER_A_FLAGS, WGPEER_F_REMOVE_ME);
  });
}

/** One message of a dump; joinDevice puts them together. Throws CodecError. */
export function decodeDevice(message: NetlinkMessage): WireguardDevice {
  const device: { -readonly [K in keyof WireguardDevice]: WireguardDevice[K] } = {
    index: 0,
    publicKey: null,
    listenPort: 0,
    firewallMark: 0,
    peers: [],
  };
  const attributes = message.attributes(GENL_HDRLEN);
  while (attributes.next()) {
    switch (attributes.type) {
      case WGDEVICE_A_IFINDEX:
        device.index = attributes.u32();
        break;
      case WGDEVICE_A_PUBLIC_KEY:
        device.publicKey = keyText(attributes);
        break;
      case WGDEVICE_A_LISTEN_PORT:
        device.listenPort = attributes.u16();
        break;
      case WGDEVICE_A_FWMARK:
        device.firewallMark = attributes.u32();
        break;
      case WGDEVICE_A_PEERS:
        device.peers = decodePeers(attributes.nested());
        break;
    }
  }
  return device;
}

/**
 * Joins the messages of one dump. Only the first has the device's own attributes; a peer with many prefixes continues
 * in the next message under the same key. Null for an empty dump.
 */
export function joinDevice(parts: readonly WireguardDevice[]): WireguardDevice | null {
  const [first] = parts;
  if (first === undefined) return null;
  const peers: WireguardPeer[] = [];
  for (const peer of parts.flatMap((part) => part.peers)) {
    const last = peers.at(-1);
    if (last?.publicKey !== peer.publicKey) peers.push(peer);
    else
      peers.splice(-1, 1, { ...last, allowedPrefixes: [...last.allowedPrefixes, ...peer.allowedPrefixes] });
  }
  return { ...first, peers };
}

function decodePeers(list: AttributeReader): readonly WireguardPeer[] {
  const peers: WireguardPeer[] = [];
  while (list.next()) peers.push(decodePeer(list.nested()));
  return peers;
}

function decodePeer(attributes: AttributeReader): WireguardPeer {
  const peer: { -readonly [K in keyof WireguardPeer]: WireguardPeer[K] } = {
    publicKey: "",
    presharedKey: null,
    endpoint: null,
    keepaliveSeconds: 0,
    lastHandshakeSeconds: 0,
    receivedBytes: 0n,
    sentBytes: 0n,
    allowedPrefixes: [],
  };
  while (attributes.next()) {
    switch (attributes.type) {
      case WGPEER_A_PUBLIC_KEY:
        peer.publicKey = keyText(attributes) ?? "";
        break;
      case WGPEER_A_PRESHARED_KEY:
        peer.presharedKey = keyText(attributes);
        break;
      case WGPEER_A_ENDPOINT:
        peer.endpoint = decodeEndpoint(attributes.bytes());
        break;
      case WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL:
        peer.keepaliveSeconds = attributes.u16();
        break;
      case WGPEER_A_LAST_HANDSHAKE_TIME:
        peer.lastHandshakeSeconds = Number(attributes.u64());
        break;
      case WGPEER_A_RX_BYTES:
        peer.receivedBytes = attributes.u64();
        break;
      case WGPEER_A_TX_BYTES:
        peer.sentBytes = attributes.u64();
        break;
      case WGPEER_A_ALLOWEDIPS:
        peer.allowedPrefixes = decodeAllowedPrefixes(attributes.nested());
        break;
    }
  }
  if (peer.publicKey === "") throw new CodecError("wireguard: a peer without a public key");
  return peer;
}

function decodeAllowedPrefixes(list: AttributeReader): readonly Prefix[] {
  const prefixes: Prefix[] = [];
  while (list.next()) {
    const attributes = list.nested();
    let address: Address | null = null;
    let length = 0;
    while (attributes.next()) {
      if (attributes.type === WGALLOWEDIP_A_IPADDR) address = attributes.address();
      if (attributes.type === WGALLOWEDIP_A_CIDR_MASK) length = attributes.u8();
    }
    if (address === null || length > ADDRESS_BITS[address.family])
      throw new CodecError(`wireguard: the allowed prefix ${address}/${length} is invalid`);
    prefixes.push(Prefix.of(address, length));
  }
  return prefixes;
}

function setDevice(familyId: number, device: string): MessageWriter {
  return genericRequest(familyId, WG_CMD_SET_DEVICE, WG_GENL_VERSION, 0).attrString(
    WGDEVICE_A_IFNAME,
    device,
  );
}

function onePeer(
  familyId: number,
  device: string,
  publicKey: string,
  body: (message: MessageWriter) => void,
): Buffer {
  const message = setDevice(familyId, device);
  message.nestedStrict(WGDEVICE_A_PEERS, () => {
    message.nestedStrict(0, () => {
      message.attrBytes(WGPEER_A_PUBLIC_KEY, keyBytes(publicKey));
      body(message);
    });
  });
  return message.finish();
}

function encodeAllowedPrefix(message: MessageWriter, prefix: Prefix): void {
  message.nestedStrict(0, () => {
    message
      .attrU16(WGALLOWEDIP_A_FAMILY, AF_OF[prefix.family])
      .attrAddress(WGALLOWEDIP_A_IPADDR, prefix.base)
      .attrU8(WGALLOWEDIP_A_CIDR_MASK, prefix.length);
  });
}

function decodeEndpoint(bytes: Uint8Array): WireguardEndpoint | null {
  const buffer = Buffer.from(bytes);
  const family = FAMILIES.find((each) => SOCKADDR_BYTES[each] === buffer.length);
  if (family === undefined) throw new CodecError(`wireguard: an endpoint of ${buffer.length} bytes`);
  return { address: decodeSocketAddress(buffer, family), port: buffer.readUInt16BE(2) };
}

/** The bytes of a base64 key. Throws CodecError when it is not WG_KEY_BYTES long. */
function keyBytes(text: string): Buffer {
  const bytes = Buffer.from(text, "base64");
  if (bytes.length !== WG_KEY_BYTES)
    throw new CodecError(`wireguard: a key of ${bytes.length} bytes instead of ${WG_KEY_BYTES}`);
  return bytes;
}

/** Zeros stand for "none". */
function presharedBytes(text: string | null): Buffer {
  return text === null ? Buffer.alloc(WG_KEY_BYTES) : keyBytes(text);
}

/** Base64; null for the zeros that stand for "not set". */
function keyText(attribute: AttributeReader): string | null {
  const bytes = attribute.bytes();
  return bytes.every((byte) => byte === 0) ? null : Buffer.from(bytes).toString("base64");
}
