/**
 * The backends of one host as one: that of the network configuration and, while the network changes over from another
 * one, the former ones, so that hosts that have not followed are reached as before.
 *
 * A lease says by which backend its host wants packets (its main one), and by which others it can be reached. The
 * receiver decides: packets go by the first of them that this host has. The others are kept ready to receive by, without a
 * route, so that no packet is lost on either side of a change.
 *
 * A fall-back is one more backend beside them. It carries packets to peers that also have it, while the agent says that
 * their tunnel fails, and is never the only way to a peer. Pure: no I/O.
 */

import {
  entriesOf,
  FAMILIES,
  type Family,
  mapFamilies,
  type PerFamily,
  type Prefix,
} from "../ipam/addresses/ip.ts";
import type { JsonValue } from "../ipam/json.ts";
import type { BackendOffer, Lease, LeaseKey } from "../ipam/leases/lease.ts";
import type {
  HostFacts,
  PeerDetails,
  PeerPath,
  PreparedBackend,
  RunnerTarget,
  SessionReader,
  Tunnel,
} from "./backend.ts";
import { type Fallback, looseFilters, standbyRoute } from "./fallback.ts";
import { deviceRoute } from "./peers.ts";
import { type KernelObject, keyOf } from "./state/kinds/registry.ts";

/** One of the backends, and the lease as that backend reads it. */
interface Way {
  readonly part: PreparedBackend;
  readonly lease: Lease;
}

export class MixedBackend
  implements Omit<PreparedBackend, "devices" | "isCarriedByOthers" | "startRunner" | "tunnels">
{
  /** The present one first. */
  readonly parts: readonly [PreparedBackend, ...PreparedBackend[]];
  readonly #present: PreparedBackend;
  readonly #formers: readonly PreparedBackend[];
  readonly #main: PreparedBackend;
  /** Null for none. */
  readonly fallback: Fallback | null;

  /**
   * @param formers those that the network had before, the last one first
   * @param main by which peers are asked to send: the present one unless it is still being prepared
   */
  constructor(
    present: PreparedBackend,
    formers: readonly PreparedBackend[] = [],
    main = present,
    fallback: Fallback | null = null,
  ) {
    this.parts = [present, ...formers, ...(fallback === null ? [] : [fallback.part])];
    this.#present = present;
    this.#formers = formers;
    this.#main = main;
    this.fallback = fallback;
  }

  get type(): string {
    return this.#present.type;
  }

  /** Types of the former backends. */
  get formerTypes(): readonly string[] {
    return this.#formers.map(({ type }) => type);
  }

  get leaseType(): string {
    return this.#main.leaseType;
  }

  get leaseData(): PerFamily<JsonValue> {
    return this.#main.leaseData;
  }

  /** The other backends by which peers can reach this host. */
  get offers(): readonly BackendOffer[] {
    return this.parts
      .filter((part) => part !== this.#main)
      .map(({ leaseType, leaseData }) => ({ backendType: leaseType, backendData: leaseData }));
  }

  /** Names of the devices that the backends alone have. */
  get devices(): readonly string[] {
    return distinct(this.parts.flatMap(devicesOf));
  }

  /** The backend by which peers are asked to send. */
  get main(): PreparedBackend {
    return this.#main;
  }

  /** Those of the devices by which peers are asked to send. */
  get mainDevices(): readonly string[] {
    return devicesOf(this.#main);
  }

  get presentDevices(): readonly string[] {
    return devicesOf(this.#present);
  }

  get formerDevices(): readonly string[] {
    return distinct(this.#formers.flatMap(devicesOf));
  }

  get sharedDevices(): readonly string[] {
    return distinct(this.parts.flatMap((part) => part.sharedDevices));
  }

  get nexthopDevices(): readonly string[] {
    return distinct(this.parts.flatMap((part) => part.nexthopDevices));
  }

  get entrances(): PerFamily<readonly string[]> {
    return this.#perFamily((part, family) => part.entrances[family] ?? []);
  }

  get isCarriedByOthers(): boolean {
    return this.#present.isCarriedByOthers === true;
  }

  /** What fits every way. */
  get mtuBytes(): number {
    return Math.min(...this.parts.map((part) => part.mtuBytes));
  }

  /** The one that the firewall has to guard comes first: nothing else judges who sends by it. */
  get tunnels(): PerFamily<readonly Tunnel[]> {
    const all = this.#perFamily((part, family) => part.tunnels[family] ?? []);
    const isGuarded = ({ isAuthenticated, isChecked }: Tunnel): number =>
      isAuthenticated || isChecked ? 1 : 0;
    return mapFamilies(all, (tunnels) => [...tunnels].sort((a, b) => isGuarded(a) - isGuarded(b)));
  }

  rejectPeer(lease: Lease): string | null {
    if (this.#isPlain(lease)) return this.#present.rejectPeer(lease);
    if (this.#waysTo(lease).length > 0) return null;
    return this.#meantBy(lease).rejectPeer(lease);
  }

  damageOf(lease: Lease): string | null {
    if (!this.#isPlain(lease) && this.#waysTo(lease).length > 0) return null;
    return this.#meantBy(lease).damageOf?.(lease) ?? null;
  }

  rejectLocally(lease: Lease): string | null {
    if (this.#isPlain(lease)) return this.#present.rejectLocally(lease);
    const ways = this.#waysTo(lease);
    const reasons = ways.map((way) => way.part.rejectLocally(way.lease));
    return reasons.every((reason) => reason !== null) ? (reasons[0] ?? null) : null;
  }

  peerIdentities(lease: Pick<Lease, "attrs">): readonly string[] {
    if (this.#isPlain(lease)) return this.#present.peerIdentities(lease);
    const ways = viewsOf(lease).flatMap((view) =>
      this.parts
        .filter(({ leaseType }) => leaseType === view.attrs.backendType)
        .flatMap((part) => part.peerIdentities(view)),
    );
    return distinct(ways);
  }

  /** One key, as of the route to the whole network, has one owner: the backend that peers are asked to use. */
  planBase(own: PerFamily<Prefix>): readonly KernelObject[] {
    const objects = new Map<string, KernelObject>();
    for (const part of [this.#main, ...this.parts]) {
      for (const object of part.planBase(own)) {
        // The fall-back has routes to single peers only.
        if (part === this.fallback?.part && object.kind === "route") continue;
        if (!objects.has(keyOf(object))) objects.set(keyOf(object), object);
      }
    }
    return [...objects.values(), ...(this.parts.length === 1 ? [] : looseFilters(this.parts, own))];
  }

  planPeer(lease: Lease, useNexthops: boolean): readonly KernelObject[] {
    if (this.#isPlain(lease)) return this.#present.planPeer(lease, useNexthops);
    const chosen = this.#wayTo(lease);
    if (chosen === null) return [];
    const planned = chosen.part.planPeer(chosen.lease, useNexthops);
    const others = this.#waysTo(lease)
      .filter(({ part }) => part !== chosen.part)
      .flatMap((way) => way.part.planPeer(way.lease, useNexthops))
      .filter(({ kind }) => kind !== "route" && kind !== "nexthop");
    return [...this.#divert(lease, [...planned, ...this.#ownRoutes(chosen, planned)]), ...others];
  }

  /** Families in which packets to a peer may go by the fall-back, with the device that they leave by otherwise. */
  fallbackTo(lease: Lease): PerFamily<string> {
    const { fallback } = this;
    if (fallback === null || !this.#hasFallback(lease)) return {};
    const way = this.#wayTo(lease);
    const planned = way === null ? [] : way.part.planPeer(way.lease, false);
    const devices = planned.flatMap((object) => (object.kind === "route" ? [object] : []));
    return Object.fromEntries(
      entriesOf(fallback.part.devices).flatMap(([family]) => {
        const route = devices.find(({ destination }) => destination.family === family);
        return route === undefined || lease.attrs.publicAddress[family] === undefined
          ? []
          : [[family, route.device] as const];
      }),
    );
  }

  /** Of one family; without one, "fallback" where any family goes by it. */
  pathTo(lease: Lease, family: Family | null = null): PeerPath {
    if (this.#isDiverted(lease, family)) return "fallback";
    const way = this.#wayTo(lease);
    return way === null ? this.#present.pathTo(lease) : way.part.pathTo(way.lease);
  }

  /** The backend by which packets of a family leave to a peer; the present one where none of them can send there. */
  carrierOf(lease: Lease, family: Family): PreparedBackend {
    if (this.fallback !== null && this.#isDiverted(lease, family)) return this.fallback.part;
    return this.#wayTo(lease)?.part ?? this.#present;
  }

  /** The type of the former backend by which packets to a peer leave; null for the present one. */
  formerTypeTo(lease: Lease): string | null {
    const way = this.#wayTo(lease);
    return way !== null && this.#formers.includes(way.part) ? way.part.type : null;
  }

  peerDetails(sessionsOf: SessionReader, peers: Iterable<Lease>): ReadonlyMap<LeaseKey, PeerDetails> {
    const all = [...peers];
    return new Map(
      this.parts.flatMap((part) => [
        ...(part.peerDetails?.(sessionsOf, this.#leasesFor(part, all)) ?? new Map<LeaseKey, PeerDetails>()),
      ]),
    );
  }

  /** What the runner of one of the backends has to carry out. */
  targetFor(part: PreparedBackend, { own, peers }: RunnerTarget): RunnerTarget {
    const leases = this.#leasesFor(part, peers.values());
    return { own, peers: new Map(leases.map((lease) => [lease.key, lease])) };
  }

  /** The peers that a backend can send to or receive from, as it reads their leases. */
  #leasesFor(part: PreparedBackend, peers: Iterable<Lease>): readonly Lease[] {
    const isAlone = this.parts.length === 1;
    return [...peers].flatMap((lease) => {
      if (isAlone && this.#isPlain(lease)) return [lease];
      return this.#waysTo(lease).find((way) => way.part === part)?.lease ?? [];
    });
  }

  /** The backend of the type that the lease names first; the present one where there is none. */
  #meantBy({ attrs }: Lease): PreparedBackend {
    const ofType = [this.#present, ...this.#formers].find(({ leaseType }) => leaseType === attrs.backendType);
    return ofType ?? this.#present;
  }

  /** The usual case, in a fraction of the time: one backend on each side. */
  #isPlain({ attrs }: Pick<Lease, "attrs">): boolean {
    return this.parts.length === 1 && attrs.otherBackends === undefined;
  }

  /** By which packets to the peer leave; null when this host has none. */
  #wayTo(lease: Lease): Way | null {
    if (this.#isPlain(lease)) return { part: this.#present, lease };
    const ways = this.#waysTo(lease);
    return ways.find((way) => way.part.rejectLocally(way.lease) === null) ?? null;
  }

  /** In the order of preference: the peer's, but while the present backend is being prepared the main one first. */
  #waysTo(lease: Lease): readonly Way[] {
    const ways = viewsOf(lease).flatMap((view): Way[] => {
      const part = this.parts.find((each) => each.rejectPeer(view) === null);
      return part === undefined ? [] : [{ part, lease: view }];
    });
    // Hosts that have the fall-back's backend alone are another network's, or flanneld's.
    if (ways.every(({ part }) => part === this.fallback?.part)) return [];
    if (this.#main === this.#present) return ways;
    const isMain = (way: Way): boolean => way.part === this.#main;
    return [...ways.filter(isMain), ...ways.filter((way) => !isMain(way))];
  }

  /** Whether a peer asks for the fall-back's packets beside those of another backend, which it prefers. */
  #hasFallback(lease: Lease): boolean {
    const part = this.fallback?.part;
    const [first, ...others] = part === undefined ? [] : this.#waysTo(lease);
    return first !== undefined && first.part !== part && others.some((way) => way.part === part);
  }

  #isDiverted(lease: Lease, family: Family | null): boolean {
    const families = this.#divertedFamilies(lease);
    return family === null ? families.length > 0 : families.includes(family);
  }

  #divertedFamilies(lease: Lease): readonly Family[] {
    const { fallback } = this;
    if (fallback === null || !this.#hasFallback(lease)) return [];
    return entriesOf(fallback.part.devices).flatMap(([family]) =>
      lease.subnets[family] !== undefined && fallback.isUsed(lease.key, family) ? [family] : [],
    );
  }

  /** Leads the routes of diverted families to the fall-back's device; those of the tunnel stay behind, for probes. */
  #divert(lease: Lease, planned: readonly KernelObject[]): readonly KernelObject[] {
    const families = this.#divertedFamilies(lease);
    if (families.length === 0) return planned;
    const routes = families.flatMap((family) => {
      const [subnet, device] = [lease.subnets[family], this.fallback?.part.devices[family]];
      return subnet === undefined || device === undefined ? [] : [deviceRoute(subnet, device)];
    });
    const others = planned.map((object) =>
      object.kind === "route" && families.includes(object.destination.family) ? standbyRoute(object) : object,
    );
    return [...routes, ...others];
  }

  /** Routes of a peer to whom the backend has none of its own: that to the whole network may be another backend's. */
  #ownRoutes({ part, lease }: Way, planned: readonly KernelObject[]): readonly KernelObject[] {
    if (this.parts.length === 1 || planned.some(({ kind }) => kind === "route")) return [];
    return FAMILIES.flatMap((family) => {
      const [subnet, device] = [lease.subnets[family], part.devices[family]];
      return subnet === undefined || device === undefined ? [] : [deviceRoute(subnet, device)];
    });
  }

  #perFamily<T>(
    listOf: (part: PreparedBackend, family: (typeof FAMILIES)[number]) => T | readonly T[],
  ): PerFamily<readonly T[]> {
    const lists = FAMILIES.map(
      (family) => [family, this.parts.flatMap((part) => listOf(part, family))] as const,
    );
    return Object.fromEntries(
      lists.filter(([, list]) => list.length > 0).map(([family, list]) => [family, distinct(list)]),
    );
  }
}

/**
 * Whether one host can have both backends at once: no device is common to them, and each tells the other's leases from
 * its own. Those that other programs carry cannot, because nothing here decides which way their packets go.
 */
export function canStandSideBySide(one: PreparedBackend, other: PreparedBackend, host: HostFacts): boolean {
  if (one.isCarriedByOthers || other.isCarriedByOthers) return false;
  if (devicesOf(one).some((device) => devicesOf(other).includes(device))) return false;
  return one.rejectPeer(ownLease(other, host)) !== null && other.rejectPeer(ownLease(one, host)) !== null;
}

/** What a host with this backend publishes. */
function ownLease({ leaseType, leaseData }: PreparedBackend, { uplinks, networks }: HostFacts): Lease {
  return {
    key: "",
    subnets: networks,
    attrs: {
      publicAddress: mapFamilies(uplinks, ({ publicAddress }) => publicAddress),
      backendType: leaseType,
      backendData: leaseData,
      nodeId: null,
    },
    revision: 0n,
    createRevision: 0n,
    storeLeaseId: "",
    isLeaving: false,
  };
}

/** Made once for each lease: the data path compares leases by reference. */
const VIEWS = new WeakMap<object, readonly unknown[]>();

/** The lease once for each backend that it names. */
function viewsOf<T extends Pick<Lease, "attrs">>(lease: T): readonly T[] {
  const { otherBackends, ...attrs } = lease.attrs;
  if (otherBackends === undefined) return [lease];
  const known = VIEWS.get(lease) as readonly T[] | undefined;
  if (known !== undefined) return known;
  const views = [{}, ...otherBackends].map((offer) => ({ ...lease, attrs: { ...attrs, ...offer } }));
  VIEWS.set(lease, views);
  return views;
}

function devicesOf({ devices }: PreparedBackend): readonly string[] {
  return distinct(Object.values(devices));
}

function distinct<T>(values: readonly T[]): readonly T[] {
  return [...new Set(values)];
}
