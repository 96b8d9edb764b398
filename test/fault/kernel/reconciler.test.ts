/** Every call to the kernel fails once with everything it can answer, and the daemon dies between any two changes. */

import { constants } from "node:os";
import { afterEach, describe, expect, it } from "vitest";
import { NetlinkError } from "../../../backends/netlink/errors.ts";
import type { Change } from "../../../backends/state/diff.ts";
import { type KernelObject, keyOf, renderState } from "../../../backends/state/kinds/registry.ts";
import { Address } from "../../../ipam/addresses/ip.ts";
import { FakeHost } from "../../support/fake-host.ts";
import { OWN, peer } from "../../support/vxlan-fixture.ts";

/** What Linux answers to rtnetlink requests and to writes below /proc/sys. */
const ERRNOS = [
  "EPERM",
  "EACCES",
  "ENOENT",
  "ESRCH",
  "EINTR",
  "EIO",
  "ENODATA",
  "EAGAIN",
  "ENOMEM",
  "EBUSY",
  "EFAULT",
  "ENOSPC",
  "EROFS",
  "ERANGE",
  "EEXIST",
  "ENODEV",
  "EINVAL",
  "EMSGSIZE",
  "ENOBUFS",
  "EOPNOTSUPP",
  "EAFNOSUPPORT",
  "EADDRINUSE",
  "EADDRNOTAVAIL",
  "ENETDOWN",
  "ENETUNREACH",
  "EHOSTUNREACH",
  "ETIMEDOUT",
] as const;

const KINDS = ["link", "sysctl", "address", "neighbour", "fdb", "nexthop", "route"] as const;
const hosts: FakeHost[] = [];
afterEach(() => {
  for (const host of hosts.splice(0)) host.stop();
});

describe.each(ERRNOS)("a kernel that answers %s", (errno) => {
  it.each(KINDS)("once to the making of each %s, in turn", async (kind) => {
    for (let which = 0; which < 3; which++) {
      const host = newHost();
      failOnce(host, errno, which, ({ op, object }) => op === "create" && object.kind === kind);
      await host.want(peer(4), peer(5));
      await host.clock.advance(1000);
      expect(host.kernel.toString()).toBe(wanted(host, 4, 5));
      expect(host.reconciler.status()).toMatchObject({ isConverged: true, failures: [] });
    }
  });

  it("once to each repair, replacement and removal, in turn", async () => {
    for (let which = 0; which < 12; which++) {
      const host = newHost();
      await host.want(peer(4), peer(5), peer(6));
      damage(host);
      failOnce(host, errno, which, () => true);
      await host.want(peer(4, { publicAddress: "192.168.7.7" }), peer(6), peer(7));
      await host.clock.advance(1000);
      const lines = [peer(4, { publicAddress: "192.168.7.7" }), peer(6), peer(7)];
      expect(host.kernel.toString()).toBe(stateOf(host, lines));
      expect(host.reconciler.status()).toMatchObject({ isConverged: true, failures: [] });
    }
  });

  it("to dumps, several times", async () => {
    const host = newHost();
    await host.want(peer(4));
    for (let round = 0; round < 3; round++) {
      host.kernel.failNextDump = new NetlinkError("dump", constants.errno[errno]);
      host.kernel.remove(keyOf(routeOf(host, 4)));
      host.kernel.emit({ type: "resync", reason: "notifications were lost (ENOBUFS)" });
      await host.clock.advance(1000);
    }
    expect(host.kernel.toString()).toBe(wanted(host, 4));
  });

  it("for ever to one object: all others are in order, and one sentence says so", async () => {
    for (const kind of KINDS) {
      const host = newHost();
      host.kernel.failWith = ({ object }) =>
        object.kind === kind ? new NetlinkError(`create ${kind}`, constants.errno[errno]) : null;
      await host.want(peer(4), peer(5));
      await host.clock.advance(120_000);
      const { failures, isConverged } = host.reconciler.status();
      expect(isConverged).toBe(false);
      expect(failures).toHaveLength(1);
      expect(host.logged("warn")).toHaveLength(1);
      const others = [...host.kernel.objects.values()].filter((object) => object.kind !== kind);
      const planned =
        kind === "link" ? [] : plannedObjects(host, 4, 5).filter((object) => object.kind !== kind);
      expect(renderState(others)).toBe(renderState(planned));
      host.kernel.failWith = () => null;
      await host.clock.advance(60_000);
      expect(host.kernel.toString()).toBe(wanted(host, 4, 5));
    }
  });
});

describe("a daemon that is killed", () => {
  it("between any two changes of its first start, is followed by one that finishes the work", async () => {
    const total = plannedObjects(newHost(), 4, 5).length;
    for (let count = 0; count < total; count++) {
      const host = newHost();
      host.kernel.diesAfter = count;
      await host.want(peer(4), peer(5));
      expect(host.kernel.objects.size).toBe(count);
      await comeBack(host, 4, 5);
    }
  });

  it("between any two changes of a large change, is followed by one that finishes the work", async () => {
    let wasInterrupted = true;
    for (let count = 0; wasInterrupted; count++) {
      const host = newHost();
      await host.want(peer(4), peer(5), peer(6));
      host.kernel.diesAfter = host.kernel.log.length + count;
      damage(host);
      await host.want(peer(6), peer(7), peer(8));
      wasInterrupted = host.kernel.log.length === host.kernel.diesAfter;
      await comeBack(host, 6, 7, 8);
    }
  });

  it("is followed by one that removes what left meanwhile, and nothing of others", async () => {
    const host = newHost();
    await host.want(peer(4), peer(5), peer(6));
    const theirs: KernelObject = {
      ...routeOf(host, 9),
      device: "under0",
      gateway: null,
      isOnlink: false,
      protocol: 4,
    };
    host.kernel.interfere(theirs);
    await host.restart();
    await host.want(peer(5));
    expect(host.kernel.toString()).toBe(renderState([...plannedObjects(host, 5), theirs]));
  });

  it("changes nothing when all is as it was left", async () => {
    const host = newHost();
    await host.want(peer(4), peer(5));
    const { length } = host.kernel.log;
    await comeBack(host, 4, 5);
    expect(host.kernel.log).toHaveLength(length);
  });
});

function newHost(): FakeHost {
  const host = new FakeHost({ usesNexthops: true });
  hosts.push(host);
  return host;
}

async function comeBack(host: FakeHost, ...peers: number[]): Promise<void> {
  await host.restart();
  host.kernel.diesAfter = Number.POSITIVE_INFINITY;
  await host.want(...peers.map((n) => peer(n)));
  await host.clock.advance(1000);
  expect(host.kernel.toString()).toBe(wanted(host, ...peers));
  expect(host.reconciler.status()).toMatchObject({ isConverged: true, failures: [], conflicts: [] });
}

/** The change number `which` that matches fails. */
function failOnce(
  host: FakeHost,
  errno: (typeof ERRNOS)[number],
  which: number,
  matches: (change: Change) => boolean,
): void {
  let seen = 0;
  host.kernel.failWith = (change) =>
    matches(change) && seen++ === which
      ? new NetlinkError(`${change.op} ${keyOf(change.object)}`, constants.errno[errno])
      : null;
}

/** Others' doings, unseen: events are lost. */
function damage(host: FakeHost): void {
  const [neighbour, fdb] = host.backend.planPeer(peer(4), true);
  if (neighbour?.kind !== "neighbour" || fdb?.kind !== "fdb") throw new Error("a peer has neither");
  const { objects } = host.kernel;
  objects.delete(keyOf(neighbour));
  objects.set(keyOf(fdb), { ...fdb, remote: Address.parse("192.168.9.9") });
  objects.delete(keyOf(routeOf(host, 6)));
  host.kernel.emit({ type: "resync", reason: "notifications were lost (ENOBUFS)" });
}

function plannedObjects(host: FakeHost, ...peers: number[]): KernelObject[] {
  return [...host.backend.planBase(OWN), ...peers.flatMap((n) => host.backend.planPeer(peer(n), true))];
}

function wanted(host: FakeHost, ...peers: number[]): string {
  return renderState(plannedObjects(host, ...peers));
}

function stateOf(host: FakeHost, leases: readonly ReturnType<typeof peer>[]): string {
  return renderState([
    ...host.backend.planBase(OWN),
    ...leases.flatMap((lease) => host.backend.planPeer(lease, true)),
  ]);
}

function routeOf(host: FakeHost, n: number): Extract<KernelObject, { kind: "route" }> {
  const route = host.backend.planPeer(peer(n), true).find((object) => object.kind === "route");
  if (route?.kind !== "route") throw new Error("a peer has no route");
  return route;
}
