/** Back-off in quarrels over an object, and what is said about the other side. */

import { describe, expect, it } from "vitest";
import { Contention } from "../../../../backends/kernel/contention.ts";
import { keyOf } from "../../../../backends/state/kinds/registry.ts";
import { peer, prepareVxlan } from "../../../support/vxlan-fixture.ts";

const LIMITS = { burst: 3, windowMs: 10_000, firstDelayMs: 500, maxDelayMs: 4000 };
const object = prepareVxlan().planPeer(peer(4), false)[2] ?? fail();
const key = keyOf(object);
const create = { op: "create", object } as const;

describe("Contention", () => {
  it("repairs a few times at once, then ever less often", () => {
    const contention = newContention();
    expect(contention.record(key, create, 0)).toBeNull();
    expect(contention.record(key, create, 10)).toBeNull();
    expect(contention.notBeforeMs(key)).toBeLessThanOrEqual(10);
    expect(contention.record(key, create, 20)).toMatchObject({ key, repairs: 3, retryInMs: 500 });
    const delays = [1000, 2000, 4000, 4000].map((_, at) => {
      expect(contention.record(key, create, 1000 * at)).toBeNull();
      return contention.notBeforeMs(key) - 1000 * at;
    });
    expect(delays).toEqual([1000, 2000, 4000, 4000]);
  });

  it("forgets a quarrel that has been over for a while", () => {
    const contention = newContention();
    for (let at = 0; at < 3; at++) contention.record(key, create, at);
    expect(contention.list(5000)).toHaveLength(1);
    expect(contention.list(10_503)).toEqual([]);
    expect(contention.list(20_504)).toEqual([]);
    expect(contention.isQuiet).toBe(true);
    expect(contention.record(key, create, 20_505)).toBeNull();
  });

  it("says what was found and who did it, as far as the kernel tells", () => {
    const contention = newContention();
    contention.noteTouch(key, 41);
    for (let at = 0; at < 3; at++) contention.record(key, create, at);
    expect(contention.list(3)[0]?.evidence).toBe("it was deleted");
    contention.noteTouch(key, 42);
    expect(contention.list(3)[0]?.evidence).toBe("it was deleted, by networkd (netlink port 42)");
    contention.noteTouch(key, 7);
    contention.record(
      key,
      { op: "replace", object, actual: { ...object, device: "eth7" } as typeof object },
      4,
    );
    expect(contention.list(4)[0]?.evidence).toBe(
      "it became: route 10.2.4.0/24 via 10.2.4.0 dev eth7 proto 116 onlink, by a program that has ended (netlink port 7)",
    );
    contention.record(key, { op: "delete", object }, 5);
    expect(contention.list(5)[0]?.evidence).toContain("it was added: route 10.2.4.0/24");
  });
});

function newContention(): Contention {
  return new Contention((by) => (by === 42 ? "networkd" : null), LIMITS);
}

function fail(): never {
  throw new Error("a peer has no route");
}
