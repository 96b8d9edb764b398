/** Paths between containers: what hosts write to each other, which address a container takes, and what is concluded. */

import { describe, expect, it } from "vitest";
import { containerCause, surveyContainers } from "../../../agent/container-probes/container-survey.ts";
import { lastAddresses, lastPair } from "../../../agent/container-probes/free-address.ts";
import { bridgeOf } from "../../../agent/container-probes/probe-container.ts";
import {
  decodeAnswer,
  decodeRequest,
  encodeAnswer,
  encodeRequest,
  MOST_PEERS,
  parseRequestName,
  readOrNull,
  requestName,
} from "../../../agent/container-probes/records.ts";
import type { PathMeasure } from "../../../agent/probes/survey.ts";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import { CodecError } from "../../../ipam/errors.ts";
import type { LeaseKey } from "../../../ipam/leases/lease.ts";
import { TARGET } from "./probes/target-fixture.ts";

const PEER = "10.2.3.0-24&fd00:2:0:3::-64" as LeaseKey;

describe("a record", () => {
  it("comes back as it was", () => {
    expect([...decodeRequest(encodeRequest([PEER]))]).toEqual([PEER]);
    const addresses = { 4: Address.parse("10.2.3.254"), 6: Address.parse("fd00:2:0:3::fe") };
    expect(decodeAnswer(encodeAnswer({ peer: PEER, addresses }))).toEqual({ peer: PEER, addresses });
    expect(parseRequestName(requestName("0123456789abcdef"))).toBe("0123456789abcdef");
  });

  it.each([
    ["", "JSON"],
    ["[]", "object"],
    ['{"version":2,"peers":[]}', "version"],
    ['{"version":1,"peers":"10.2.3.0-24"}', "peers is not a list"],
    [encodeRequest(Array.from({ length: MOST_PEERS + 1 }, () => PEER)), "more than 200"],
    [`{"version":1,"peers":["${"x".repeat(70_000)}"]}`, "characters"],
  ])("that asks wrongly is refused: %.60s", (value, reason) => {
    expect(() => decodeRequest(value)).toThrow(CodecError);
    expect(() => decodeRequest(value)).toThrow(reason);
    expect(readOrNull(value, decodeRequest)).toBeNull();
  });

  it.each([
    '{"version":1,"addresses":[]}',
    '{"version":1,"peer":"10.2.3.0-24"}',
    '{"version":1,"peer":"10.2.3.0-24","addresses":["10.2.3"]}',
    '{"version":1,"peer":"10.2.3.0-24","addresses":[7]}',
  ])("that answers wrongly is refused: %s", (value) => {
    expect(() => decodeAnswer(value)).toThrow(CodecError);
  });

  it.each(["container-probes/requests/../x", "container-probes/requests/", "health/0123456789abcdef"])(
    "of another name is none: %s",
    (name) => {
      expect(parseRequestName(name)).toBeNull();
    },
  );
});

describe("a container of our own", () => {
  it("takes one of the last addresses of the subnet, and not the broadcast address", () => {
    const text = (subnet: string) => lastAddresses(Prefix.parse(subnet)).map(String);
    expect(text("10.2.3.0/24")).toHaveLength(8);
    expect(text("10.2.3.0/24").slice(0, 2)).toEqual(["10.2.3.254", "10.2.3.253"]);
    expect(text("10.2.3.8/29")).toEqual(["10.2.3.14", "10.2.3.13", "10.2.3.12", "10.2.3.11"]);
    expect(text("fd00:2:0:3::/64")[0]).toBe("fd00:2:0:3:ffff:ffff:ffff:fffe");
    expect(() => text("10.2.3.8/30")).toThrow(/too small/);
  });

  it("has a subnet of two without a bridge", () => {
    for (const [subnet, host, container] of [
      ["10.2.3.0/24", "10.2.3.252", "10.2.3.253"],
      ["fd00:2:0:3::/64", "fd00:2:0:3:ffff:ffff:ffff:fffc", "fd00:2:0:3:ffff:ffff:ffff:fffd"],
    ] as const) {
      const { hostEnd, containerEnd } = lastPair(Prefix.parse(subnet));
      expect([hostEnd, containerEnd].map(({ address }) => address.toString())).toEqual([host, container]);
      const both = Prefix.of(hostEnd.address, hostEnd.length);
      expect([both.base.toString(), both.last.toString()]).toEqual([host, container]);
    }
  });

  it("joins the bridge that has an address in our subnets, in its families", () => {
    const subnets = { 4: Prefix.parse("10.2.3.0/24"), 6: Prefix.parse("fd00:2:0:3::/64") };
    const on = (bridge: string, ...addresses: readonly string[]) =>
      addresses.map((address) => ({ bridge, address: Address.parse(address) }));
    const place = { subnets, mtuBytes: 1450 };
    expect(bridgeOf({ ...place, bridges: on("br0", "192.168.1.1") })).toBeNull();
    const bridges = [...on("br0", "192.168.1.1"), ...on("docker0", "10.2.3.1", "172.17.0.1")];
    expect(bridgeOf({ ...place, bridges })).toEqual({
      name: "docker0",
      gateways: { 4: Address.parse("10.2.3.1") },
    });
  });
});

describe("containers that do not reach each other", () => {
  const measure = (answered: boolean): PathMeasure => ({
    target: TARGET,
    sent: 1,
    roundTripsMs: answered ? [1] : [],
    passesBytes: null,
    answersTcp: answered,
    cause: null,
  });
  const causeFor = (reachesContainer: boolean, leavesContainer: boolean, isCertain = true) =>
    containerCause({
      ...{ between: measure(true), isToHost: false },
      ...{ isCertain, reachesContainer, leavesContainer },
    });

  it("are the fault of the host that does not forward", () => {
    expect(causeFor(false, true)?.text).toMatch(/answers itself, but its containers do not/);
    expect(causeFor(true, false)?.text).toMatch(/this host does not forward their packets/);
    expect(causeFor(false, false)?.text).toMatch(/neither host reaches the other's containers/);
    expect(causeFor(true, true)?.text).toMatch(/each host reaches the other's containers/);
    expect(causeFor(true, true)?.code).toBe("containers-cut-off");
  });

  it("are not blamed on anyone where the peer's may not answer pings", () => {
    expect(causeFor(false, true, false)).toBeNull();
    expect(causeFor(true, false, false)?.code).toBe("containers-cut-off");
  });

  it("are not called cut off by a tunnel that works, where a named container is silent", async () => {
    const container = Address.parse("10.2.54.99");
    const filtered = { code: "tunnel-filtered", scope: "peer", text: "is silent", remedy: "look" } as const;
    const [measured] = await surveyContainers(
      {
        own: { 4: Address.parse("10.2.3.254") },
        containers: new Map(),
        named: new Map([[TARGET.peer, { 4: container }]]),
        survey: async (_, targets) =>
          targets.map(({ inner }) =>
            inner.equals(container) ? { ...measure(false), cause: filtered } : measure(true),
          ),
      },
      [TARGET],
    );
    expect(measured).toMatchObject({ container, cause: null });
  });

  it("are cut off where a peer without a container answers the host only, whatever else was seen", async () => {
    const blamed = { code: "local-firewall", scope: "host", text: "drops", remedy: "look" } as const;
    const measureFrom = async (isForwarded: boolean) =>
      await surveyContainers(
        {
          own: { 4: Address.parse("10.2.3.254") },
          containers: new Map(),
          named: new Map(),
          survey: async (side, targets) =>
            targets.map(() =>
              side === "host" || isForwarded ? measure(true) : { ...measure(false), cause: blamed },
            ),
        },
        [TARGET],
      );
    expect((await measureFrom(false))[0]).toMatchObject({
      container: null,
      cause: { code: "containers-cut-off", text: expect.stringMatching(/this host does not forward/) },
    });
    expect((await measureFrom(true))[0]?.cause).toBeNull();
  });

  it("share the cause of their hosts", () => {
    const cause = { code: "host-down", scope: "peer", text: "is down", remedy: "start it" } as const;
    const between = { ...measure(false), cause };
    const seen = {
      ...{ between, isToHost: false, isCertain: true },
      ...{ reachesContainer: false, leavesContainer: false },
    };
    expect(containerCause(seen)).toBe(cause);
    expect(containerCause({ ...seen, between: measure(false) })).toBeNull();
  });
});
