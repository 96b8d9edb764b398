/**
 * Peers of WireGuard devices: `wg set DEVICE peer …`.
 *
 * A peer that sends from another address than the configured one has roamed: the kernel answers there. Its endpoint is left
 * alone as long as the session is fresh, because the configured one may be older.
 */

import type { Prefix } from "../../../ipam/addresses/ip.ts";
import type { WireguardEndpoint, WireguardPeer } from "../../netlink/wireguard.ts";
import { inNetworks, type Kind, objectKey } from "../contract/kind.ts";

export interface WireguardPeerObject {
  readonly kind: "wg-peer";
  readonly device: string;
  /** Base64. */
  readonly publicKey: string;
  /** Base64, null for none. Never shown. */
  readonly presharedKey: string | null;
  /** Null, never in a plan, when the kernel has none yet. */
  readonly endpoint: WireguardEndpoint | null;
  /** Seconds between keep-alives; 0 sends none. */
  readonly keepaliveSeconds: number;
  /** Sources that are accepted from the peer, and destinations that are sent to it. */
  readonly allowedPrefixes: readonly Prefix[];
  /** Its session is in use: the endpoint is where the peer really is. Never in a plan. */
  readonly hasFreshSession?: true;
}

/** After this time without a handshake a session carries no packet (WireGuard white paper §6.1, REJECT_AFTER_TIME). */
const REJECT_AFTER_SECONDS = 180;

export const wireguardPeerKind: Kind<WireguardPeerObject> = {
  rank: 2,
  wire: null,
  isDeletable: true,
  keyOf: ({ device, publicKey }) => objectKey("wg-peer", device, publicKey),
  deviceOf: ({ device }) => device,
  isVisible: ({ device }, scope) => scope.devices.has(device),
  // A peer for addresses outside the network's ranges is the administrator's. One whose prefixes another peer took is ours.
  ownerOf: ({ device, allowedPrefixes }, scope) =>
    scope.devices.has(device) &&
    (allowedPrefixes.length === 0 || allowedPrefixes.some((prefix) => inNetworks(scope, prefix)))
      ? "ours"
      : "foreign",
  isSame: (desired, actual) =>
    actual.presharedKey === desired.presharedKey &&
    actual.keepaliveSeconds === desired.keepaliveSeconds &&
    samePrefixes(actual.allowedPrefixes, desired.allowedPrefixes) &&
    (actual.hasFreshSession === true || isSameEndpoint(actual.endpoint, desired.endpoint)),
  describe: ({ device, publicKey, endpoint, allowedPrefixes, keepaliveSeconds, presharedKey }) =>
    `wireguard ${device} peer ${publicKey} endpoint ${endpoint === null ? "none" : endpointText(endpoint)} allowed-ips ${[...allowedPrefixes].map(String).sort().join(",")} persistent-keepalive ${keepaliveSeconds || "off"}${presharedKey === null ? "" : " preshared-key"}`,
};

export function wireguardPeerObject(
  device: string,
  peer: WireguardPeer,
  handshakeAgeSeconds: number | null,
): WireguardPeerObject {
  const { publicKey, presharedKey, endpoint, keepaliveSeconds, allowedPrefixes } = peer;
  return {
    kind: "wg-peer",
    device,
    publicKey,
    presharedKey,
    endpoint,
    keepaliveSeconds,
    allowedPrefixes,
    ...(isFresh(handshakeAgeSeconds) ? { hasFreshSession: true } : {}),
  };
}

/**
 * Whether a change from `actual` to another endpoint must leave the one that the kernel has: the peer has roamed, and its
 * session is fresh. `live` is what the kernel shows now.
 */
export function hasRoamed(
  actual: WireguardPeerObject,
  live: WireguardPeer,
  handshakeAgeSeconds: number | null,
): boolean {
  if (!isFresh(handshakeAgeSeconds)) return false;
  return actual.hasFreshSession === true || !isSameEndpoint(actual.endpoint, live.endpoint);
}

/** `192.0.2.1:51820` or `[2001:db8::1]:51820` */
function endpointText({ address, port }: WireguardEndpoint): string {
  return address.family === 4 ? `${address}:${port}` : `[${address}]:${port}`;
}

function isFresh(handshakeAgeSeconds: number | null): boolean {
  return handshakeAgeSeconds !== null && handshakeAgeSeconds < REJECT_AFTER_SECONDS;
}

function isSameEndpoint(a: WireguardEndpoint | null, b: WireguardEndpoint | null): boolean {
  if (a === null || b === null) return a === b;
  return a.port === b.port && a.address.equals(b.address);
}

function samePrefixes(a: readonly Prefix[], b: readonly Prefix[]): boolean {
  return a.length === b.length && a.every((prefix) => b.some((other) => other.equals(prefix)));
}
