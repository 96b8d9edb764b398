/** The contract of KernelPort (backends/kernel/port.ts), kept by the real kernel and by the fake alike. */

import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import type { KernelEvent, KernelPort } from "../../../backends/kernel/port.ts";
import { NetlinkError } from "../../../backends/netlink/errors.ts";
import type { Scope } from "../../../backends/state/contract/kind.ts";
import type { VxlanDetails } from "../../../backends/state/devices/vxlan.ts";
import type { Change } from "../../../backends/state/diff.ts";
import type { LinkObject } from "../../../backends/state/kinds/link.ts";
import { type KernelObject, keyOf } from "../../../backends/state/kinds/registry.ts";
import { inOrder } from "../../../backends/state/order.ts";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import { parseMac } from "../../../ipam/addresses/mac.ts";
import { FakeKernel } from "../../support/fake-kernel.ts";
import { describeAsRoot } from "../../support/netns.ts";
import { renderState } from "../../support/render-state.ts";
import { OWN, peer, prepareVxlan, scopeOf } from "../../support/vxlan-fixture.ts";
import { VxlanHost } from "../../support/vxlan-host.ts";

interface Subject {
  readonly port: KernelPort;
  /** Another program deletes the route to 10.2.4.0/24. */
  deleteRoute(): void;
  /** Another program deletes the tunnel device. */
  deleteDevice(): void;
  dispose(): Promise<void>;
}

const backend = prepareVxlan();
const scope = scopeOf(backend);
const base = backend.planBase(OWN);
const [link] = base as [LinkObject];
const four = backend.planPeer(peer(4), false);
const five = backend.planPeer(peer(5), true);
const all = [...base, ...four, ...five];
const route = four.find(({ kind }) => kind === "route") as Extract<KernelObject, { kind: "route" }>;

const VXLAN = link.details as VxlanDetails;
const OTHER_LOCAL = Address.parse("192.168.50.99");
const OTHER_MAC = parseMac("02:00:00:00:77:77");

const create = (object: KernelObject): Change => ({ op: "create", object });
const remove = (object: KernelObject): Change => ({ op: "delete", object });
const ordered = (changes: readonly Change[]) =>
  inOrder(changes.map((change) => ({ change }))).map(({ change }) => change);

function conformance(open: () => Subject): void {
  let subject: Subject;
  let port: KernelPort;
  beforeEach(() => {
    subject = open();
    ({ port } = subject);
  });
  afterEach(() => subject.dispose());

  const visible = async (): Promise<string> => {
    const objects = await port.dump(scope);
    return renderState(objects.filter((one) => !isKernelsOwn(one)));
  };
  const makeAll = async (): Promise<void> => {
    await port.dump(scope);
    expect(await port.apply(ordered(all.map(create)))).toEqual(all.map(() => null));
  };

  it("dumps exactly what it was told to make", async () => {
    expect(renderState((await port.dump(scope)).filter(({ kind }) => kind !== "sysctl"))).toBe("");
    await makeAll();
    expect(await visible()).toBe(renderState(all));
    expect(
      await port.dump({
        ...scope,
        devices: new Set(),
        nexthopDevices: new Set(),
        networks: [],
        sysctls: new Set(),
      }),
    ).toEqual([]);
  });

  it("answers one result for each change, in order, and goes on after an error", async () => {
    await makeAll();
    const nowhere: KernelObject = { ...route, device: "nowhere", destination: Prefix.parse("10.2.8.0/24") };
    const six = backend.planPeer(peer(6), false);
    const results = await port.apply([create(route), create(nowhere), ...six.map(create)]);
    expect(results.map((error) => (error instanceof NetlinkError ? error.errnoName : error))).toEqual([
      "EEXIST",
      "ENODEV",
      ...six.map(() => null),
    ]);
    expect(await visible()).toBe(renderState([...all, ...six]));
    expect(await port.apply([])).toEqual([]);
  });

  it("replaces in place", async () => {
    await makeAll();
    const changed: KernelObject[] = all.map((object) => {
      if (object.kind === "fdb") return { ...object, remote: Address.parse("192.168.77.7") };
      if (object.kind === "neighbour") return { ...object, mac: OTHER_MAC };
      if (object.kind === "link")
        return { ...object, mtuBytes: 1400, details: { ...VXLAN, local: OTHER_LOCAL } };
      if (object === route) return { ...object, gateway: Address.parse("10.2.44.0") };
      return object;
    });
    const changes = changed.flatMap((object, at): Change[] => {
      const actual = all[at];
      return actual === undefined || actual === object ? [] : [{ op: "replace", object, actual }];
    });
    expect(await port.apply(ordered(changes))).toEqual(changes.map(() => null));
    expect(await visible()).toBe(renderState(changed));
  });

  it("deletes, and is content when it is gone already", async () => {
    await makeAll();
    const gone = [...four, ...five];
    for (let round = 0; round < 2; round++) {
      expect(await port.apply(ordered(gone.map(remove)))).toEqual(gone.map(() => null));
      expect(await visible()).toBe(renderState(base));
    }
    expect(await port.apply([remove(link), remove(link)])).toEqual([null, null]);
    expect((await port.dump(scope)).filter(({ kind }) => kind !== "sysctl")).toEqual([]);
  });

  it("deletes a route through a nexthop object and leaves the object", async () => {
    await makeAll();
    const via = five.filter(({ kind }) => kind === "route");
    expect(await port.apply(via.map(remove))).toEqual([null]);
    expect(await visible()).toBe(renderState(all.filter((object) => !via.includes(object))));
  });

  it("makes a device again that cannot be changed in place, empty", async () => {
    await makeAll();
    const moved: LinkObject = { ...link, details: { ...VXLAN, port: 4789 } };
    expect(await port.apply([{ op: "recreate", object: moved, actual: link }])).toEqual([null]);
    const left = (await visible()).split("\n").filter((line) => !line.startsWith("sysctl"));
    expect(left).toEqual([renderState([moved])]);
  });

  it("tells of what others do, in time or by a resync", async () => {
    await makeAll();
    const events: KernelEvent[] = [];
    port.subscribe(
      () => scope,
      (more) => events.push(...more),
    );
    subject.deleteRoute();
    await vi.waitFor(() =>
      expect(events).toContainEqual(expect.objectContaining({ type: "absent", key: keyOf(route) })),
    );
    subject.deleteDevice();
    await vi.waitFor(() => {
      port.drain();
      expect(events).toContainEqual(expect.objectContaining({ type: "device-gone", device: link.name }));
    });
    port.close();
    const { length } = events;
    await port.dump(scope).catch(() => undefined); // a closed port may refuse
    expect(events).toHaveLength(length);
    port.close();
  });
}

/** The kernel gives each device an IPv6 link-local address and multicast neighbour entries. */
function isKernelsOwn(object: KernelObject): boolean {
  if (object.kind === "neighbour") return object.address.isMulticast && !object.isPermanent;
  return object.kind === "address" && object.address.address.isLinkLocal;
}

describe("the fake kernel", () => {
  conformance(() => {
    const port = new FakeKernel();
    return {
      port,
      deleteRoute: () => port.remove(keyOf(route)),
      deleteDevice: () => port.remove(keyOf(link)),
      dispose: async () => port.close(),
    };
  });
});

/** An address that the daemon has beside the devices of its networks, as that of its name server. */
const BESIDE: Scope = {
  devices: new Set(["lo"]),
  sharedDevices: new Set(),
  nexthopDevices: new Set(),
  networks: [Prefix.parse("169.254.53.53/32")],
  sysctls: new Set(),
};

describeAsRoot("the real kernel", () => {
  it("tells each network of the host's other addresses and routes, whatever another one has there", async () => {
    const host = new VxlanHost({ label: "port" });
    onTestFinished(() => host.dispose());
    const { port } = host;
    await port.apply([create(link)]);
    const told = { network: new Set<string>(), beside: new Set<string>() };
    const collect = (devices: Set<string>) => (events: readonly KernelEvent[]) => {
      for (const event of events) if (event.type === "host") devices.add(event.device);
    };
    port.subscribe(() => scope, collect(told.network));
    port.subscribe(() => BESIDE, collect(told.beside));
    const after = async (...commands: readonly string[]) => {
      told.network.clear();
      told.beside.clear();
      for (const command of commands) host.sh(command);
      await vi.waitFor(() => {
        port.drain();
        expect(told.network.size + told.beside.size).toBeGreaterThan(0);
      });
      return { network: [...told.network], beside: [...told.beside] };
    };
    expect(await after("ip addr add 192.168.77.7/32 dev lo")).toEqual({ network: ["lo"], beside: [] });
    expect(await after("ip route add 10.2.9.0/24 dev lo")).toEqual({ network: ["lo"], beside: [] });
    const own = await after("ip addr add 10.77.0.1/24 dev flannel.1");
    expect(own).toEqual({ network: [], beside: ["flannel.1"] });
  });

  conformance(() => {
    const host = new VxlanHost({ label: "port" });
    return {
      port: host.port,
      deleteRoute: () => host.sh("ip route del 10.2.4.0/24"),
      deleteDevice: () => host.sh("ip link del flannel.1"),
      dispose: () => host.dispose(),
    };
  });
});
