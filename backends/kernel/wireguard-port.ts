/**
 * WireGuard's part of the kernel: keys and peers over generic netlink. The kernel announces none of their changes, so
 * the devices are read again and again (wireguard-watch.ts).
 */

import type { Clock } from "../../ipam/clock.ts";
import { NetlinkConnection } from "../netlink/connection.ts";
import { EADDRINUSE, ENODEV, ENOENT, EOPNOTSUPP, NetlinkError } from "../netlink/errors.ts";
import { decodeFamilyId, encodeGetFamily } from "../netlink/generic.ts";
import type { NetnsHandle } from "../netlink/netns.ts";
import { NETLINK_GENERIC } from "../netlink/socket.ts";
import {
  decodeDevice,
  encodeGetDevice,
  encodeRemovePeer,
  encodeSetDevice,
  encodeSetPeer,
  joinDevice,
  WG_GENL_NAME,
  type WireguardDevice,
  type WireguardPeer,
} from "../netlink/wireguard.ts";
import type { Change } from "../state/diff.ts";
import { describe, type KernelObject } from "../state/kinds/registry.ts";
import { type WireguardDeviceObject, wireguardDeviceObject } from "../state/kinds/wg-device.ts";
import { hasRoamed, type WireguardPeerObject, wireguardPeerObject } from "../state/kinds/wg-peer.ts";
import { HandshakeAges } from "./handshake-ages.ts";
import type { ChangeResult, KernelEvent } from "./port.ts";
import { WireguardWatch } from "./wireguard-watch.ts";

export interface WireguardPortOptions {
  /** Default: the namespace of the calling thread. */
  readonly netns?: NetnsHandle | undefined;
  /** Milliseconds since the epoch, on the clock by which the kernel notes handshakes. */
  readonly dateMs: () => number;
  /** Times the readings. */
  readonly clock: Clock;
  /** Told what the devices have that were dumped or changed. */
  readonly onEvents: (events: readonly KernelEvent[]) => void;
}

/** What the kernel knows of the session with a peer. */
export interface WireguardSession {
  /** Since the last handshake; null before the first. */
  readonly handshakeAgeSeconds: number | null;
  readonly receivedBytes: number;
  readonly sentBytes: number;
}

/** How devices look to the changes of one batch. */
type LiveDevices = ReadonlyMap<string, WireguardDevice | null>;

export class WireguardPort {
  readonly #options: WireguardPortOptions;
  readonly #watch: WireguardWatch;
  readonly #ages: HandshakeAges;
  #connection: NetlinkConnection | null = null;
  #familyId: number | null = null;

  constructor(options: WireguardPortOptions) {
    this.#options = options;
    this.#ages = new HandshakeAges(options.dateMs, options.clock);
    this.#watch = new WireguardWatch({
      read: (device) => this.#objectsOn(device),
      clock: options.clock,
      onEvents: options.onEvents,
    });
  }

  /** True for an object that this port carries. */
  static carries(object: KernelObject): object is WireguardDeviceObject | WireguardPeerObject {
    return object.kind === "wg-device" || object.kind === "wg-peer";
  }

  /** A device with its peers; null when it is gone or of another type. Throws NetlinkError. */
  read(device: string): WireguardDevice | null {
    try {
      const request = encodeGetDevice(this.#family(), device);
      return joinDevice(this.#open().dump(request, decodeDevice));
    } catch (error) {
      const isAbsent = error instanceof NetlinkError && [ENODEV, EOPNOTSUPP].includes(error.errno);
      if (!isAbsent) throw error;
      return null;
    }
  }

  /** What is on a device, which is watched from then on. Throws NetlinkError. */
  dump(device: string): readonly KernelObject[] {
    this.#watch.follow(device);
    return this.#objectsOn(device);
  }

  /** The sessions on a device by public key; empty for a device of another type. Throws NetlinkError. */
  sessions(device: string): ReadonlyMap<string, WireguardSession> {
    const peers = this.read(device)?.peers ?? [];
    return new Map(peers.map((peer) => [peer.publicKey, detailsOf(peer, this.#ages.of(peer))]));
  }

  /** Applies in order; consecutive changes reach the kernel in one datagram. Never throws for a single change. */
  apply(changes: readonly Change[]): readonly ChangeResult[] {
    for (const { object } of changes) if (WireguardPort.carries(object)) this.#watch.follow(object.device);
    try {
      const familyId = this.#family();
      const live = this.#liveDevices(changes);
      const messages = changes.map((change) => this.#encode(change, familyId, live));
      const results = this.#open().batch(messages);
      return results.map((error, index) => resultOf(changes[index], error));
    } catch (error) {
      if (!(error instanceof NetlinkError)) throw error;
      return changes.map((change) => resultOf(change, error));
    }
  }

  close(): void {
    this.#watch.close();
    this.#connection?.close();
    this.#connection = null;
  }

  #objectsOn(device: string): readonly KernelObject[] {
    const shown = this.read(device);
    if (shown === null) return [];
    const peers = shown.peers.map((peer) => wireguardPeerObject(device, peer, this.#ages.of(peer)));
    return [wireguardDeviceObject(device, shown), ...peers];
  }

  /** Peers that change may have roamed since they were last read. */
  #liveDevices(changes: readonly Change[]): LiveDevices {
    const names = changes.flatMap(({ op, object }) =>
      op === "replace" && object.kind === "wg-peer" ? [object.device] : [],
    );
    return new Map([...new Set(names)].map((name) => [name, this.read(name)]));
  }

  #encode(change: Change, familyId: number, live: LiveDevices): Uint8Array {
    const { op, object } = change;
    if (object.kind === "wg-device") {
      const { device, privateKey, listenPort } = object;
      return encodeSetDevice(familyId, device, {
        listenPort,
        ...(privateKey === undefined ? {} : { privateKey }),
      });
    }
    if (object.kind !== "wg-peer") throw new TypeError(`${describe(object)} is none of WireGuard's`);
    const { device, publicKey, presharedKey, keepaliveSeconds, allowedPrefixes, endpoint } = object;
    if (op === "delete") return encodeRemovePeer(familyId, device, publicKey);
    const found = live.get(device)?.peers.find((peer) => peer.publicKey === publicKey);
    const keepsEndpoint = endpoint === null || this.#mustKeepEndpoint(change, found);
    return encodeSetPeer(familyId, device, {
      publicKey,
      presharedKey,
      keepaliveSeconds,
      allowedPrefixes,
      ...(keepsEndpoint ? {} : { endpoint }),
    });
  }

  #mustKeepEndpoint(change: Change, live: WireguardPeer | undefined): boolean {
    if (change.op !== "replace" || change.actual.kind !== "wg-peer" || live === undefined) return false;
    return hasRoamed(change.actual, live, this.#ages.of(live));
  }

  #open(): NetlinkConnection {
    const { netns } = this.#options;
    this.#connection ??= NetlinkConnection.open({
      protocol: NETLINK_GENERIC,
      ...(netns === undefined ? {} : { netns }),
    });
    return this.#connection;
  }

  /** The id is the kernel's until the module is unloaded, which no device of it outlives. */
  #family(): number {
    try {
      this.#familyId ??= this.#open().get(encodeGetFamily(WG_GENL_NAME), decodeFamilyId);
      return this.#familyId;
    } catch (error) {
      if (!(error instanceof NetlinkError) || error.errno !== ENOENT) throw error;
      throw new NetlinkError("WireGuard", EOPNOTSUPP, { kernelMessage: "the kernel has no WireGuard" });
    }
  }
}

function detailsOf(
  { receivedBytes, sentBytes }: WireguardPeer,
  handshakeAgeSeconds: number | null,
): WireguardSession {
  return {
    handshakeAgeSeconds: handshakeAgeSeconds === null ? null : Math.round(handshakeAgeSeconds),
    receivedBytes: Number(receivedBytes),
    sentBytes: Number(sentBytes),
  };
}

function resultOf(change: Change | undefined, error: NetlinkError | null): ChangeResult {
  if (error === null || change === undefined) return null;
  const { op, object } = change;
  if (op === "delete" && error.errno === ENODEV) return null;
  const isTaken = object.kind === "wg-device" && error.errno === EADDRINUSE;
  const kernelMessage = isTaken
    ? `another program or device holds UDP port ${object.listenPort}; stop it, or set Backend.ListenPort of the network configuration for all hosts`
    : error.kernelMessage;
  return new NetlinkError(`${op} ${describe(object)}`, error.errno, { kernelMessage });
}
