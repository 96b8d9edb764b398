/**
 * For every backend: a call to the kernel fails once with everything it can answer, and the daemon dies between any two
 * changes.
 */

import { constants } from "node:os";
import { afterEach, describe, expect, it } from "vitest";
import { NetlinkError } from "../../../backends/netlink/errors.ts";
import type { Change } from "../../../backends/state/diff.ts";
import {
  deviceOf,
  type KernelObject,
  keyOf,
  type ObjectKind,
} from "../../../backends/state/kinds/registry.ts";
import type { Lease } from "../../../ipam/leases/lease.ts";
import { type BackendRow, backendRows, UPLINK, UPLINK_LINK } from "../../support/backend-table.ts";
import { changedObject } from "../../support/changed-object.ts";
import { FakeHost } from "../../support/fake-host.ts";
import { renderState } from "../../support/render-state.ts";

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

/** What any backend may meet; the whole list is tried with one of them. */
const SOME_ERRNOS: readonly (typeof ERRNOS)[number][] = ["EPERM", "EEXIST", "ENODEV", "EOPNOTSUPP"];

const hosts: FakeHost[] = [];
afterEach(() => {
  for (const host of hosts.splice(0)) host.stop();
});

const rows = await backendRows();
const cases = rows.flatMap((row, at) =>
  (at === 0 ? ERRNOS : SOME_ERRNOS).map((errno) => ({ row, name: row.name, errno })),
);

describe.each(cases)("$name: a kernel that answers $errno", ({ row, errno }) => {
  const peers = (...numbers: number[]) => numbers.map((n) => row.peer(n));

  it("once to the making of an object of each kind, in turn", async () => {
    for (const kind of kindsOf(row)) {
      for (let which = 0; which < 3; which++) {
        const host = newHost(row);
        failOnce(host, errno, which, ({ op, object }) => op === "create" && object.kind === kind);
        await host.want(...peers(4, 5));
        await host.clock.advance(1000);
        expectDone(host, ...peers(4, 5));
      }
    }
  });

  it("once to each repair, replacement and removal, in turn", async () => {
    for (let which = 0; which < 12; which++) {
      const host = newHost(row);
      await host.want(...peers(4, 5, 6));
      damage(host, row);
      failOnce(host, errno, which, () => true);
      const wanted = [row.peer(4, row.places.at(-1)), ...peers(6, 7)];
      await host.want(...wanted);
      await host.clock.advance(1000);
      expectDone(host, ...wanted);
    }
  });

  it("to dumps, several times", async () => {
    const host = newHost(row);
    await host.want(...peers(4));
    for (let round = 0; round < 3; round++) {
      host.kernel.failNextDump = new NetlinkError("dump", constants.errno[errno]);
      damage(host, row);
      await host.clock.advance(1000);
    }
    expectDone(host, ...peers(4));
  });

  it("for ever to one kind of object: all others are in order, and one sentence says so", async () => {
    for (const kind of kindsOf(row)) {
      const host = newHost(row);
      host.kernel.failWith = ({ object }) =>
        object.kind === kind ? new NetlinkError(`create ${kind}`, constants.errno[errno]) : null;
      await host.want(...peers(4, 5));
      await host.clock.advance(120_000);
      const { failures, isConverged } = host.reconciler.status();
      expect(isConverged).toBe(false);
      expect(failures).toHaveLength(1);
      expect(host.logged("warn")).toHaveLength(1);
      const isPossible = (object: KernelObject) =>
        object.kind !== kind && (kind !== "link" || !row.scope.devices.has(deviceOf(object) ?? ""));
      const possible = host.planned(...peers(4, 5)).filter(isPossible);
      expect(stateOf(host, kind)).toBe(renderState(possible));
      host.kernel.failWith = () => null;
      await host.clock.advance(60_000);
      expectDone(host, ...peers(4, 5));
    }
  });
});

describe.each(rows)("$name: a daemon that is killed", (row) => {
  const peers = (...numbers: number[]) => numbers.map((n) => row.peer(n));

  it("between any two changes of its first start, is followed by one that finishes the work", async () => {
    const total = newHost(row).planned(...peers(4, 5)).length;
    for (let count = 0; count < total; count++) {
      const host = newHost(row);
      host.kernel.diesAfter = count;
      await host.want(...peers(4, 5));
      expect(host.kernel.log).toHaveLength(count);
      await comeBack(host, ...peers(4, 5));
    }
  });

  it("between any two changes of a large change, is followed by one that finishes the work", async () => {
    let wasInterrupted = true;
    for (let count = 0; wasInterrupted; count++) {
      const host = newHost(row);
      await host.want(...peers(4, 5, 6));
      host.kernel.diesAfter = host.kernel.log.length + count;
      damage(host, row);
      await host.want(...peers(6, 7, 8));
      wasInterrupted = host.kernel.log.length === host.kernel.diesAfter;
      await comeBack(host, ...peers(6, 7, 8));
    }
  });

  it("is followed by one that removes what left meanwhile, and nothing of others", async () => {
    const host = newHost(row);
    await host.want(...peers(4, 5, 6));
    const theirs = Object.values(row.peer(9).subnets).map(
      (destination): KernelObject => ({
        kind: "route",
        destination,
        device: UPLINK,
        gateway: null,
        isOnlink: false,
        protocol: 4,
        metric: 0,
        viaNexthop: false,
        source: null,
      }),
    );
    for (const object of theirs) host.kernel.interfere(object);
    await host.restart();
    await host.want(...peers(5));
    expect(stateOf(host)).toBe(renderState([...host.planned(...peers(5)), ...theirs]));
  });

  it("changes nothing when all is as it was left", async () => {
    const host = newHost(row);
    await host.want(...peers(4, 5));
    const { length } = host.kernel.log;
    await comeBack(host, ...peers(4, 5));
    expect(host.kernel.log).toHaveLength(length);
  });
});

/** Of the objects that a host of this backend makes for itself and for peers. */
function kindsOf(row: BackendRow): ReadonlySet<ObjectKind> {
  return new Set(
    newHost(row)
      .planned(row.peer(4))
      .map(({ kind }) => kind),
  );
}

function newHost(row: BackendRow): FakeHost {
  const host = new FakeHost({ usesNexthops: true, network: row });
  host.kernel.interfere(UPLINK_LINK);
  hosts.push(host);
  return host;
}

/** What there is of ours, but for objects of the kind `without`. */
function stateOf({ kernel }: FakeHost, without?: ObjectKind): string {
  const objects = [...kernel.objects.values()].filter(({ kind }) => kind !== without);
  return renderState(objects.filter((object) => object !== UPLINK_LINK));
}

function expectDone(host: FakeHost, ...leases: readonly Lease[]): void {
  expect(stateOf(host)).toBe(renderState(host.planned(...leases)));
  expect(host.reconciler.status()).toMatchObject({ isConverged: true, failures: [], conflicts: [] });
}

async function comeBack(host: FakeHost, ...leases: readonly Lease[]): Promise<void> {
  await host.restart();
  host.kernel.diesAfter = Number.POSITIVE_INFINITY;
  await host.want(...leases);
  await host.clock.advance(1000);
  expectDone(host, ...leases);
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

/**
 * Others' doings, unseen: of what a peer and this host need, much is gone or changed, and events are lost. A foreign route
 * in place of ours is not among it: a daemon that did not see ours there leaves it.
 */
function damage(host: FakeHost, row: BackendRow): void {
  const { kernel } = host;
  const objects = host.planned(row.peer(4), row.peer(6));
  const present = objects.filter((object) => kernel.objects.has(keyOf(object)));
  for (const [at, object] of present.entries()) {
    const isPermanent = object.kind === "link" || object.kind === "sysctl" || object.kind === "wg-device";
    const isBlackhole = object.kind === "route" && object.isBlackhole;
    if (at % 4 === 0 && !isPermanent) kernel.objects.delete(keyOf(object));
    if (at % 4 === 2 && !isBlackhole) kernel.objects.set(keyOf(object), changedObject(object));
  }
  kernel.emit({ type: "resync", reason: "notifications were lost (ENOBUFS)" });
}
