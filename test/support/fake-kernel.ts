/**
 * A kernel in memory behind the KernelPort seam: keeps objects by key, tells about changes, and fails on demand.
 *
 * It knows the dependencies that matter to the reconciler: what lives on a device goes with the device, a route
 * through a nexthop object goes with the nexthop, both without an event of their own, as in Linux.
 */

import type { ChangeResult, KernelEvent, KernelPort } from "../../backends/kernel/port.ts";
import { EEXIST, ENODEV, NetlinkError } from "../../backends/netlink/errors.ts";
import type { ObjectKey, Scope } from "../../backends/state/contract/kind.ts";
import type { Change } from "../../backends/state/diff.ts";
import {
  deviceOf,
  isVisible,
  type KernelObject,
  keyOf,
  type ObjectKind,
} from "../../backends/state/kinds/registry.ts";
import { renderState } from "./render-state.ts";

/** WireGuard's generic netlink family sends no notifications. */
const UNANNOUNCED: readonly ObjectKind[] = ["wg-device", "wg-peer"];

export class FakeKernel implements KernelPort {
  readonly objects = new Map<ObjectKey, KernelObject>();
  /** Every change that was asked for, in order. */
  readonly log: Change[] = [];
  dumps = 0;
  /** Returns the error with which the next matching change fails. */
  failWith: (change: Change) => NetlinkError | null = () => null;
  /** The process dies before the change after this many: the changes before it have been made. */
  diesAfter = Number.POSITIVE_INFINITY;
  /** Thrown by the next dump. */
  failNextDump: Error | null = null;
  #scope: (() => Scope) | null = null;
  #listener: ((events: readonly KernelEvent[]) => void) | null = null;

  async dump(scope: Scope): Promise<readonly KernelObject[]> {
    this.dumps++;
    const failure = this.failNextDump;
    this.failNextDump = null;
    if (failure !== null) throw failure;
    return [...this.objects.values()].filter((object) => isVisible(object, scope));
  }

  async apply(changes: readonly Change[]): Promise<readonly ChangeResult[]> {
    return changes.map((change) => {
      if (this.log.length >= this.diesAfter) throw new Error("killed");
      this.log.push(change);
      return this.failWith(change) ?? this.#apply(change);
    });
  }

  subscribe(scope: () => Scope, listener: (events: readonly KernelEvent[]) => void): () => void {
    this.#scope = scope;
    this.#listener = listener;
    return () => {
      this.#listener = null;
    };
  }

  drain(): void {
    // Events are handed on as they happen.
  }

  programOf(by: number): string {
    return `program ${by}`;
  }

  close(): void {
    this.#listener = null;
  }

  /** Another program, at netlink port `by`, creates or changes an object. */
  interfere(object: KernelObject, by = 0): void {
    this.#put(object, by);
  }

  /** Another program removes an object. */
  remove(key: ObjectKey, by = 0): void {
    this.#drop(key, by);
  }

  /** An event of any kind, as the monitor would bring it. */
  emit(event: KernelEvent): void {
    this.#listener?.([event]);
  }

  /** What the port reports of the changes that the kernel does not announce. */
  list(device: string): void {
    const objects = [...this.objects.values()].filter(
      (object) => UNANNOUNCED.includes(object.kind) && deviceOf(object) === device,
    );
    this.emit({ type: "listing", device, kinds: UNANNOUNCED, objects });
  }

  /** The whole state as sorted iproute2-like lines. */
  toString(): string {
    return renderState(this.objects.values());
  }

  #apply(change: Change): ChangeResult {
    const key = keyOf(change.object);
    if (change.op === "delete") {
      this.#drop(key);
      return null;
    }
    if (change.op === "create" && change.object.kind !== "sysctl" && this.objects.has(key)) {
      return new NetlinkError(`create ${key}`, EEXIST);
    }
    const device = deviceOf(change.object);
    if (device !== null && !this.objects.has(`link ${device}`)) {
      return new NetlinkError(`create ${key}`, ENODEV);
    }
    if (change.op === "recreate") this.#drop(key);
    this.#put(change.object);
    return null;
  }

  #put(object: KernelObject, by = 0): void {
    const before = this.objects.get(keyOf(object));
    if (object.kind === "link" && before?.kind === "link" && before.mac !== object.mac)
      this.#flushNeighbours(object.name);
    this.objects.set(keyOf(object), object);
    const scope = this.#scope?.();
    if (scope && isVisible(object, scope) && !UNANNOUNCED.includes(object.kind))
      this.emit({ type: "present", object, by });
  }

  #drop(key: ObjectKey, by = 0): void {
    const object = this.objects.get(key);
    if (object === undefined) return;
    this.objects.delete(key);
    if (object.kind === "link") this.#dropDevice(object.name, by);
    else if (!UNANNOUNCED.includes(object.kind)) this.emit({ type: "absent", key, by });
    if (object.kind === "nexthop") this.#dropRoutesVia(object.device, `${object.gateway}`);
  }

  #dropDevice(device: string, by: number): void {
    for (const [key, object] of this.objects) if (deviceOf(object) === device) this.objects.delete(key);
    this.emit({ type: "device-gone", device, by });
  }

  /** With another hardware address a device loses its neighbours, permanent ones too (neigh_changeaddr). */
  #flushNeighbours(device: string): void {
    for (const [key, object] of this.objects)
      if (object.kind === "neighbour" && object.device === device) this.#drop(key);
  }

  /** Silently, as Linux does for IPv4; the port's contract makes it a resync. */
  #dropRoutesVia(device: string, gateway: string): void {
    for (const [key, object] of this.objects) {
      if (
        object.kind === "route" &&
        object.viaNexthop &&
        object.device === device &&
        `${object.gateway}` === gateway
      ) {
        this.objects.delete(key);
      }
    }
    this.emit({ type: "resync", reason: "a nexthop is gone" });
  }
}
