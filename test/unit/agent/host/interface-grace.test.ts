import { expect, it } from "vitest";
import type { ChosenInterface, ChosenInterfaces } from "../../../../agent/host/choose-interface.ts";
import type { HostAddress, HostLink, HostSnapshot } from "../../../../agent/host/host-snapshot.ts";
import { InterfaceGrace } from "../../../../agent/host/interface-grace.ts";
import { Address } from "../../../../ipam/addresses/ip.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

const link = (index: number, name: string, masterIndex: number | null = null): HostLink => ({
  index,
  name,
  type: "",
  mac: null,
  mtuBytes: 1500,
  flags: 1,
  masterIndex,
});
const ETH0 = link(2, "eth0");
const ETH1 = link(3, "eth1");
const address = Address.parse("192.168.1.2");
const on = (
  one: HostLink,
  insteadOf: string | null = null,
  more: Partial<ChosenInterface> = {},
): ChosenInterface => ({
  link: one,
  address,
  hasNetwork: true,
  publicAddress: address,
  reason: "",
  rank: 0,
  insteadOf,
  warnings: [],
  ...more,
});
const BEFORE = { 4: on(ETH0) };
const AFTER = { 4: on(ETH1, "eth0") };

function start() {
  const clock = new FakeClock();
  const grace = new InterfaceGrace(clock);
  const requireMove = (
    after: ChosenInterfaces = AFTER,
    links: readonly HostLink[] = [ETH0, ETH1],
    addresses: readonly HostAddress[] = [],
  ) => {
    const host = { links, addresses } as HostSnapshot;
    const { chosen, failure } = grace.hold(BEFORE, { chosen: after, failure: null }, host);
    expect(chosen[4]).toBe(failure === null ? after[4] : BEFORE[4]);
    if (failure !== null) throw failure;
    return chosen;
  };
  return { clock, requireMove };
}

it("keeps the tunnel on an interface without its address for a minute", async () => {
  const { clock, requireMove } = start();
  const waiting = expect.objectContaining({
    code: "TULLE_INTERFACE",
    retryable: true,
    message: "eth0 has lost its IPv4 address; without one for 60 s, the tunnel moves to eth1",
  });
  expect(requireMove).toThrow(waiting);
  await clock.advance(59_000);
  expect(requireMove).toThrow(waiting);
  await clock.advance(1_000);
  expect(requireMove).not.toThrow();
});

it("counts each loss on its own", async () => {
  const { clock, requireMove } = start();
  expect(requireMove).toThrow("eth0 has lost");
  await clock.advance(50_000);
  requireMove(BEFORE);
  expect(requireMove).toThrow("eth0 has lost");
  await clock.advance(50_000);
  expect(requireMove).toThrow("eth0 has lost");
});

it("does not move it to a virtual address on the same interface, but to another one with a network", () => {
  const { requireMove } = start();
  const other = Address.parse("192.168.1.100");
  const virtual = { 4: on(ETH0, null, { address: other, hasNetwork: false }) };
  expect(() => requireMove(virtual)).toThrow(
    "eth0 has lost its IPv4 address; without one for 60 s, the tunnel moves to 192.168.1.100",
  );
  const kept = { interfaceIndex: 2, address, length: 24, scope: 0, flags: 0 };
  expect(() => requireMove(virtual, [ETH0], [kept])).not.toThrow();
  expect(() => requireMove({ 4: on(ETH0, null, { address: other }) })).not.toThrow();
});

it.each<[string, Parameters<ReturnType<typeof start>["requireMove"]>]>([
  ["the interface is gone", [AFTER, [ETH1]]],
  ["it became a port of a bridge", [AFTER, [{ ...ETH0, masterIndex: 9 }, ETH1]]],
  ["the address is on the other one, or a better rule leads there", [{ 4: on(ETH1) }]],
])("moves it at once when %s", (_, [after, links]) => {
  expect(() => start().requireMove(after, links)).not.toThrow();
});

it("keeps one family where it is while the other one moves", () => {
  const grace = new InterfaceGrace(new FakeClock());
  const [stays, moves] = [on(ETH0), on(ETH1)];
  const followed = { chosen: { 4: on(ETH1, "eth0"), 6: moves }, failure: null };
  const addresses: readonly HostAddress[] = [];
  const snapshot = { links: [ETH0, ETH1] as readonly HostLink[], addresses } as HostSnapshot;
  const { chosen, failure } = grace.hold({ 4: stays, 6: on(ETH0) }, followed, snapshot);
  expect(chosen[4]).toBe(stays);
  expect(chosen[6]).toBe(moves);
  expect(failure?.message).toContain("eth0 has lost its IPv4 address");
});
