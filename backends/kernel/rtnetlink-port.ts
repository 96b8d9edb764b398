/**
 * The KernelPort over rtnetlink: dumps, batches and notifications of one network namespace.
 *
 * Holds the two translations that the kernel needs and the plan does not know: device names to indexes, and
 * nexthops to ids. What should be is decided elsewhere.
 */

import { readFileSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { type Clock, systemClock } from "../../ipam/clock.ts";
import { errorMessage } from "../../ipam/errors.ts";
import { NetlinkConnection } from "../netlink/connection.ts";
import { EEXIST, EINVAL, ENODEV, EOPNOTSUPP, NetlinkError } from "../netlink/errors.ts";
import { decodeLink, encodeGetLink, encodeLinkDump } from "../netlink/link/link.ts";
import type { NetlinkMessage } from "../netlink/message.ts";
import { NetlinkMonitor } from "../netlink/monitor.ts";
import type { NetnsHandle } from "../netlink/netns.ts";
import { decodeNexthop, encodeNexthopDump, type Nexthop } from "../netlink/nexthop.ts";
import {
  RTNLGRP_IPV4_IFADDR,
  RTNLGRP_IPV4_NETCONF,
  RTNLGRP_IPV4_ROUTE,
  RTNLGRP_IPV6_IFADDR,
  RTNLGRP_IPV6_NETCONF,
  RTNLGRP_IPV6_ROUTE,
  RTNLGRP_LINK,
  RTNLGRP_NEIGH,
  RTNLGRP_NEXTHOP,
} from "../netlink/rtnetlink.ts";
import type { KernelNames, Scope } from "../state/contract/kind.ts";
import type { Change } from "../state/diff.ts";
import { bridgePortObject } from "../state/kinds/bridge-port.ts";
import { decodeLinkObject, type LinkObject } from "../state/kinds/link.ts";
import { nexthopObject } from "../state/kinds/nexthop.ts";
import { describe, isVisible, type KernelObject, KINDS, kindOf } from "../state/kinds/registry.ts";
import type { SysctlObject } from "../state/kinds/sysctl.ts";
import { isAbsent } from "./absence.ts";
import { failureOf } from "./change-failure.ts";
import { DeviceChanges } from "./device-changes.ts";
import { DeviceTable } from "./device-table.ts";
import { EventDecoder, WIRES } from "./event-decoder.ts";
import { NexthopIds } from "./nexthop-ids.ts";
import type { ChangeResult, KernelEvent, KernelPort } from "./port.ts";
import { isEventIn, ScopeUnion, type Subscription } from "./subscriptions.ts";
import { Sysctls } from "./sysctl.ts";
import { WireguardPort } from "./wireguard-port.ts";

const GROUPS = [
  RTNLGRP_LINK,
  RTNLGRP_NEIGH,
  RTNLGRP_IPV4_IFADDR,
  RTNLGRP_IPV6_IFADDR,
  RTNLGRP_IPV4_ROUTE,
  RTNLGRP_IPV6_ROUTE,
  RTNLGRP_IPV4_NETCONF,
  RTNLGRP_IPV6_NETCONF,
];

/** Changes that are sent without letting the event loop do other work: a few milliseconds. */
const CHANGES_PER_TURN = 1000;

export interface RtnetlinkPortOptions {
  /** Default: the namespace of the calling thread. */
  readonly netns?: NetnsHandle;
  /** Milliseconds since the epoch. Default: the system's clock. */
  readonly dateMs?: () => number;
  /** Default: the system's. */
  readonly clock?: Clock;
}

export class RtnetlinkPort implements KernelPort {
  /** Whether the kernel has nexthop objects (Linux 5.3). */
  readonly hasNexthopObjects: boolean;
  readonly #connection: NetlinkConnection;
  readonly #sysctls: Sysctls;
  readonly #netns: NetnsHandle | undefined;
  readonly #devices = new DeviceTable();
  readonly #nexthopIds = new NexthopIds();
  readonly #names: KernelNames = {
    indexOf: (device) => this.#devices.indexOf(device),
    nameOf: (index) => this.#devices.nameOf(index),
    nexthopId: (device, gateway) => this.#nexthopIds.find({ device, gateway }),
    assignNexthopId: (hop) => this.#nexthopIds.assign(hop),
    nexthopOf: (id) => this.#nexthopIds.hopOf(id),
  };
  readonly #deviceChanges: DeviceChanges;
  /** Its socket is opened when the first WireGuard device is seen or made. */
  readonly wireguard: WireguardPort;
  #monitor: NetlinkMonitor | null = null;
  readonly #subscriptions = new Set<Subscription>();
  readonly #union = new ScopeUnion();

  private constructor(options: RtnetlinkPortOptions) {
    this.#netns = options.netns;
    this.#connection = NetlinkConnection.open(options);
    this.#sysctls = new Sysctls(options.netns);
    this.wireguard = new WireguardPort({
      netns: options.netns,
      dateMs: options.dateMs ?? Date.now,
      clock: options.clock ?? systemClock,
      onEvents: (events) => this.#deliver(events),
    });
    this.#deviceChanges = new DeviceChanges(this.#connection, this.#devices, this.#names, options.netns);
    this.#readDevices();
    this.hasNexthopObjects = this.#dumpNexthops() !== null;
  }

  /** Opens the kernel's side of a network namespace. Throws NetlinkError. */
  static open(options: RtnetlinkPortOptions = {}): RtnetlinkPort {
    return new RtnetlinkPort(options);
  }

  /** The device of this name, null when there is none. Throws NetlinkError. */
  findLink(name: string): LinkObject | null {
    this.#readDevices();
    const index = this.#devices.indexOf(name);
    return index === null ? null : this.#readLink(index);
  }

  /** Every device of the namespace. Throws NetlinkError. */
  links(): readonly LinkObject[] {
    return this.#connection
      .dump(encodeLinkDump(), decodeLink)
      .map((link) => decodeLinkObject(link, this.#names));
  }

  async dump(scope: Scope): Promise<readonly KernelObject[]> {
    // Before anything is read, so that nothing falls between the dump and the notifications.
    if (this.#monitor === null) this.#openMonitor();
    this.#readDevices();
    const objects: KernelObject[] = [];
    const collect = (object: KernelObject | null): null => {
      if (object !== null && isVisible(object, scope)) objects.push(object);
      return null;
    };
    for (const nexthop of this.#dumpNexthops() ?? []) collect(nexthopObject(nexthop, this.#names));
    for (const name of scope.devices) {
      const index = this.#devices.indexOf(name);
      const link = index === null ? null : this.#readLink(index);
      collect(link);
      if (link?.type === "wireguard") for (const object of this.wireguard.dump(name)) collect(object);
    }
    for (const link of this.#devices.all()) collect(bridgePortObject(link, this.#names));
    for (const { wire } of Object.values(KINDS)) {
      for (const request of wire?.dumps(scope, this.#names) ?? [])
        this.#connection.dump(request, (message) => collect(this.#decode(message)));
    }
    for (const path of scope.sysctls) collect(this.#sysctlObject(path));
    return objects;
  }

  async apply(changes: readonly Change[]): Promise<readonly ChangeResult[]> {
    const results: ChangeResult[] = [];
    for (let start = 0; start < changes.length; ) {
      const { end, carrier } = runFrom(changes, start);
      const run = changes.slice(start, end);
      if (carrier === "rtnetlink") results.push(...this.#applyBatch(run));
      else if (carrier === "wireguard") results.push(...this.wireguard.apply(run));
      else results.push(await this.#applySingle(changes[start]));
      start = end;
      if (start < changes.length) await setImmediate();
    }
    return results;
  }

  subscribe(scope: () => Scope, listener: (events: readonly KernelEvent[]) => void): () => void {
    const subscription = { scope, listener };
    this.#subscriptions.add(subscription);
    try {
      if (this.#monitor === null) this.#openMonitor();
    } catch (error) {
      // The dump that this asks for opens it, or fails with the reason and is retried.
      listener([{ type: "resync", reason: `the monitor failed: ${errorMessage(error)}` }]);
    }
    return () => this.#subscriptions.delete(subscription);
  }

  drain(): void {
    this.#monitor?.drain();
  }

  /** A program's first netlink socket has its process id for port id (netlink(7)); all others have any number. */
  programOf(by: number): string | null {
    try {
      return readFileSync(`/proc/${by}/comm`, "utf8").trim();
    } catch {
      return null; // it has ended, or the number is not a process id
    }
  }

  close(): void {
    this.#subscriptions.clear();
    this.#monitor?.close();
    this.#monitor = null;
    this.#connection.close();
    this.wireguard.close();
  }

  #openMonitor(): void {
    if (this.#subscriptions.size === 0) return;
    const listener = (events: readonly KernelEvent[]): void => this.#deliver(events);
    const scope = (): Scope => this.#union.of([...this.#subscriptions].map((each) => each.scope()));
    this.#devices.forgetNews();
    const noteLoss = (reason: string): void => {
      this.#devices.forgetNews();
      const host = [...scope().sharedDevices].map((device): KernelEvent => ({ type: "host", device }));
      listener([{ type: "resync", reason }, ...host]);
    };
    const decoder = new EventDecoder({
      devices: this.#devices,
      scope,
      names: this.#names,
      isOurNexthop: (id) => this.#nexthopIds.isOurs(id),
      readSysctl: (path) => this.#sysctlObject(path),
    });
    this.#monitor?.close();
    this.#monitor = NetlinkMonitor.open({
      ...(this.#netns === undefined ? {} : { netns: this.#netns }),
      ownPorts: this.#connection.portIds,
      groups: this.hasNexthopObjects ? [...GROUPS, RTNLGRP_NEXTHOP] : GROUPS,
      onMessages: (messages) => {
        const events = messages.flatMap((message) => decoder.decode(message));
        if (events.length > 0) listener(events);
      },
      onOverflow: () => noteLoss("notifications were lost (ENOBUFS)"),
      onError: (error) => {
        // The dump that this asks for opens a new one, as often as it takes.
        this.#monitor = null;
        noteLoss(`the monitor failed: ${errorMessage(error)}`);
      },
    });
  }

  /** To each subscriber what lies in its scope. */
  #deliver(events: readonly KernelEvent[]): void {
    for (const { scope, listener } of this.#subscriptions) {
      const own = scope();
      const visible = events.filter((event) => isEventIn(event, own));
      if (visible.length > 0) listener(visible);
    }
  }

  #readDevices(): void {
    this.#devices.reset(this.#connection.dump(encodeLinkDump(), decodeLink));
  }

  #readLink(index: number): LinkObject | null {
    try {
      return decodeLinkObject(this.#connection.get(encodeGetLink({ index }), decodeLink), this.#names);
    } catch (error) {
      if (error instanceof NetlinkError && error.errno === ENODEV) return null;
      throw error;
    }
  }

  /** The object in a message of any kind: kinds share message types, and one dump may list several. */
  #decode(message: NetlinkMessage): KernelObject | null {
    for (const { types, decode } of WIRES) {
      const object = types[0] === message.type ? decode(message, this.#names) : null;
      if (object !== null) return object;
    }
    return null;
  }

  /** Null when the kernel does not know them. Ids of all owners are read, because they share one space. */
  #dumpNexthops(): Nexthop[] | null {
    try {
      const nexthops = this.#connection.dump(encodeNexthopDump(), decodeNexthop);
      this.#nexthopIds.reset(nexthops, (index) => this.#devices.nameOf(index));
      return nexthops;
    } catch (error) {
      if (error instanceof NetlinkError && error.errno === EOPNOTSUPP) return null;
      throw error;
    }
  }

  #sysctlObject(path: string): SysctlObject | null {
    const value = this.#sysctls.read(path);
    return value === null ? null : { kind: "sysctl", path, device: null, value };
  }

  #applyBatch(changes: readonly Change[]): ChangeResult[] {
    const results: ChangeResult[] = new Array(changes.length).fill(null);
    const messages: Uint8Array[] = [];
    const positions: number[] = [];
    changes.forEach(({ op, object }, position) => {
      const { wire } = kindOf(object);
      if (wire === null) return;
      try {
        messages.push(wire.encode(op, object, this.#names));
        positions.push(position);
      } catch (error) {
        if (!(error instanceof NetlinkError)) throw error;
        results[position] = op === "delete" && isAbsent(error) ? null : error;
      }
    });
    this.#connection.batch(messages).forEach((error, index) => {
      const position = positions[index];
      const change = position === undefined ? undefined : changes[position];
      if (position === undefined || change === undefined) return;
      results[position] = this.#resultOf(change, error);
    });
    return results;
  }

  #resultOf(change: Change, answer: NetlinkError | null): ChangeResult {
    const { op, object } = change;
    // A foreign route is before ours, which is there too.
    if (op === "replace" && answer?.errno === EEXIST && this.#clearTheWay(change)) {
      return this.#applyBatch([{ op: "create", object }])[0] ?? null;
    }
    const error = answer?.errno === EINVAL ? this.#sendOnScaffold(change, answer) : answer;
    const isGone = op === "delete" ? error === null || isAbsent(error) : op === "create" && error !== null;
    if (object.kind === "nexthop" && isGone) this.#nexthopIds.release(object);
    if (error === null || (op === "delete" && isAbsent(error))) return null;
    return new NetlinkError(`${op} ${describe(object)}`, error.errno, { kernelMessage: error.kernelMessage });
  }

  /** True when an object that kept the new one out has been removed. */
  #clearTheWay(change: Change): boolean {
    if (change.op !== "replace") return false;
    const clearing = kindOf(change.actual).encodeClear?.(change.actual, this.#names) ?? null;
    return clearing !== null && this.#connection.batch([clearing])[0] === null;
  }

  /** The kernel's answer while the scaffold is there, which no packet misses; `rejection` where there is none. */
  #sendOnScaffold({ op, object }: Change, rejection: NetlinkError): NetlinkError | null {
    const { wire, encodeScaffold } = kindOf(object);
    const send = (message: Uint8Array): NetlinkError | null => this.#connection.batch([message])[0] ?? null;
    const scaffold = op === "delete" ? null : (encodeScaffold?.("create", object, this.#names) ?? null);
    if (wire === null || scaffold === null) return rejection;
    const obstacle = send(scaffold);
    const answer = send(wire.encode(op, object, this.#names));
    const removal = obstacle === null ? encodeScaffold?.("delete", object, this.#names) : null;
    // One that stays is an object of ours that nothing wants: the next comparison with the kernel removes it.
    if (removal) send(removal);
    return answer;
  }

  async #applySingle(change: Change | undefined): Promise<ChangeResult> {
    if (change === undefined) return null;
    try {
      if (change.object.kind === "sysctl") this.#sysctls.write(change.object);
      else if (change.object.kind === "link") await this.#deviceChanges.apply(change, change.object);
      else if (change.object.kind === "bridge-port") this.#deviceChanges.applyPort(change.op, change.object);
      return null;
    } catch (error) {
      return failureOf(change, error);
    }
  }
}

/** What carries a change to the kernel: a batch of its netlink family, or a request of its own. */
type Carrier = "rtnetlink" | "wireguard" | "single";

function carrierOf({ object }: Change): Carrier {
  if (kindOf(object).wire !== null) return "rtnetlink";
  return WireguardPort.carries(object) ? "wireguard" : "single";
}

/** The run of changes from `start` that go together. */
function runFrom(
  changes: readonly Change[],
  start: number,
): { readonly end: number; readonly carrier: Carrier } {
  const [first] = changes.slice(start, start + 1);
  const carrier = first === undefined ? "single" : carrierOf(first);
  let end = start + 1;
  if (carrier === "single") return { end, carrier };
  while (end < changes.length && end - start < CHANGES_PER_TURN) {
    const change = changes[end];
    if (change === undefined || carrierOf(change) !== carrier) break;
    end++;
  }
  return { end, carrier };
}
