/**
 * Makes, changes, renames and deletes tunnel devices: one request at a time, because each may need a look first.
 *
 * A device of ours that another program renamed gets its name back; one that was moved to another namespace is deleted
 * there, because it still occupies what only one device can have. Whether to change a device is decided elsewhere.
 */

import { ConflictError } from "../../ipam/errors.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";
import { EEXIST, ENODEV, NetlinkError } from "../netlink/errors.ts";
import { alternativeNameRemedy } from "../netlink/link/alternative-name.ts";
import {
  decodeLink,
  encodeDeleteLink,
  encodeGetLink,
  encodeLinkDump,
  encodeSetBridgePort,
  encodeSetLink,
  type Link,
} from "../netlink/link/link.ts";
import { type NetnsHandle, withNetns } from "../netlink/netns.ts";
import { decodeNetnsId, encodeNetnsIdDump } from "../netlink/netns-id.ts";
import { createTun } from "../netlink/tun-file.ts";
import type { KernelNames } from "../state/contract/kind.ts";
import type { Change } from "../state/diff.ts";
import type { BridgePortObject } from "../state/kinds/bridge-port.ts";
import {
  decodeLinkObject,
  encodeCreateLink,
  encodeUpdateLink,
  exclusiveResource,
  type LinkObject,
} from "../state/kinds/link.ts";
import type { KernelObject } from "../state/kinds/registry.ts";
import { isAbsent } from "./absence.ts";
import type { DeviceTable } from "./device-table.ts";

export class DeviceChanges {
  readonly #connection: NetlinkConnection;
  readonly #devices: DeviceTable;
  readonly #names: KernelNames;
  readonly #netns: NetnsHandle | undefined;

  /** `netns`: default that of the calling thread. */
  constructor(connection: NetlinkConnection, devices: DeviceTable, names: KernelNames, netns?: NetnsHandle) {
    this.#netns = netns;
    this.#connection = connection;
    this.#devices = devices;
    this.#names = names;
  }

  /** Carries out a change and keeps the device table current. Throws NetlinkError. */
  async apply(change: Change, link: LinkObject): Promise<void> {
    if (change.op === "delete" || change.op === "recreate") await this.#delete(link.name);
    if (change.op === "replace") this.#update(link, change.actual);
    if (change.op === "create" || change.op === "recreate") await this.#create(link);
    if (change.op === "delete") return;
    const made = this.#connection.get(encodeGetLink({ name: link.name }), decodeLink);
    if (change.op === "replace") this.#devices.set(made);
    else this.#devices.setMade(made);
  }

  /** Makes a device a port with these settings, or takes it out of its bridge. Throws NetlinkError. */
  applyPort(op: Change["op"], { device, bridge, settings, isOptional }: BridgePortObject): void {
    const index = this.#devices.indexOf(device);
    if (index === null && (op === "delete" || isOptional)) return;
    const masterIndex = op === "delete" ? 0 : this.#devices.indexOf(bridge);
    if (index === null || masterIndex === null) {
      const kernelMessage = `no device ${index === null ? device : bridge}`;
      throw new NetlinkError(`make ${device} a port of ${bridge}`, ENODEV, {
        kernelMessage,
        retryable: true,
      });
    }
    this.#connection.request(encodeSetLink(index, { masterIndex }));
    if (op !== "delete") this.#connection.request(encodeSetBridgePort(index, settings));
    this.#devices.set(this.#connection.get(encodeGetLink({ index }), decodeLink));
  }

  async #create(link: LinkObject): Promise<void> {
    if (link.type === "tun") {
      this.#createTun(link);
      return;
    }
    const renamed = this.#devices.find((one) => this.#isTwin(one, link));
    if (renamed !== undefined) {
      this.#rename(renamed, link);
      return;
    }
    if (link.hasNoLinkLocal) {
      const { hasNoLinkLocal: _, ...plain } = link;
      await this.#create({ ...plain, isUp: false });
      const { index } = this.#connection.get(encodeGetLink({ name: link.name }), decodeLink);
      this.#connection.request(encodeSetLink(index, { hasNoLinkLocal: true }));
      this.#connection.request(encodeSetLink(index, { isUp: link.isUp }));
      return;
    }
    const request = encodeCreateLink(link, this.#names);
    try {
      this.#connection.request(request);
    } catch (error) {
      if (!(error instanceof NetlinkError) || error.errno !== EEXIST) throw error;
      this.#requireNoAlternative(link.name);
      if (!(await this.#deleteAbroad(link))) throw error;
      this.#connection.request(request);
    }
  }

  /** Throws ConflictError where the name is an alternative one of another device. */
  #requireNoAlternative(name: string): void {
    const holder = this.#linkNamed(name);
    if (holder === null || holder.name === name) return;
    throw new ConflictError(`cannot create the device: ${alternativeNameRemedy(name, holder.name)}`, {
      retryable: true,
    });
  }

  #linkNamed(name: string): Link | null {
    try {
      return this.#connection.get(encodeGetLink({ name }), decodeLink);
    } catch (error) {
      if (error instanceof NetlinkError && error.errno === ENODEV) return null;
      throw error;
    }
  }

  #createTun(link: LinkObject): void {
    if (this.#netns === undefined) createTun(link.name);
    else withNetns(this.#netns, () => createTun(link.name));
    const made = this.#connection.get(encodeGetLink({ name: link.name }), decodeLink);
    this.#devices.set(made);
    this.#update(link, decodeLinkObject(made, this.#names));
  }

  #rename(renamed: Link, link: LinkObject): void {
    // Kernels before 6.2 rename only devices that are down.
    this.#connection.request(encodeSetLink(renamed.index, { isUp: false }));
    this.#connection.request(encodeSetLink(renamed.index, { name: link.name }));
    const found = { ...renamed, name: link.name, isUp: false };
    this.#devices.set(found);
    this.#update(link, decodeLinkObject(found, this.#names));
  }

  #update(link: LinkObject, actual: KernelObject): void {
    if (actual.kind !== "link") return;
    for (const request of encodeUpdateLink(link, actual, this.#names)) this.#connection.request(request);
  }

  /** On a worker thread: the kernel waits for all processors (about 18 ms) before a device is gone. */
  async #delete(name: string): Promise<void> {
    const index = this.#devices.indexOf(name);
    if (index === null) return;
    try {
      await this.#connection.requestAsync(encodeDeleteLink({ index }));
    } catch (error) {
      if (!(error instanceof NetlinkError) || !isAbsent(error)) throw error;
    }
    this.#devices.delete(index);
  }

  /** Deletes our device in the namespace that it was moved to; false when no namespace known here has it. */
  async #deleteAbroad(link: LinkObject): Promise<boolean> {
    for (const netnsId of this.#connection.dump(encodeNetnsIdDump(), decodeNetnsId)) {
      const moved = this.#linksOf(netnsId, link.type).find((one) => this.#isTwin(one, link));
      if (moved === undefined) continue;
      await this.#connection.requestAsync(encodeDeleteLink({ index: moved.index, netnsId }));
      return true;
    }
    return false;
  }

  #linksOf(netnsId: number, type: string): readonly Link[] {
    try {
      return this.#connection.dump(encodeLinkDump({ type, netnsId }), decodeLink);
    } catch (error) {
      // The namespace ended meanwhile, or we may not look into it.
      if (error instanceof NetlinkError && !error.retryable) return [];
      throw error;
    }
  }

  /** The hardware address is derived from this host's identity: a device with it that occupies the same is ours. */
  #isTwin(candidate: Link, link: LinkObject): boolean {
    if (link.mac === null || candidate.mac !== link.mac || candidate.type !== link.type) return false;
    return exclusiveResource(decodeLinkObject(candidate, this.#names)) === exclusiveResource(link);
  }
}
