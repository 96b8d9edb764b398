/** How often probing wakes the process. */

import { expect, it } from "vitest";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";
import { LossyNetwork } from "./lossy-network.ts";
import { TARGET } from "./target-fixture.ts";

function targets(count: number) {
  return Array.from({ length: count }, (_, index) => {
    const subnet = Prefix.of(Address.parse("10.2.0.0").plus(index * 256), 24);
    const id = `${subnet.toString().replace("/", "-")} IPv4`;
    return { ...TARGET, id, subnet, inner: subnet.base, outer: Address.parse("192.168.1.2").plus(index) };
  }).toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

it("sends what is routine in bursts, and every packet of the budget", async () => {
  const network = new LossyNetwork(1, targets(100));
  await network.pass(60); // all are known by then
  const before = network.sentMs.length;
  await network.pass(60);
  const sentMs = network.sentMs.slice(before);
  // One in three is a connection.
  expect(sentMs.length).toBeGreaterThan(60 * 20 * 0.9 * 0.6);
  expect(new Set(sentMs).size).toBeLessThanOrEqual(61);
  network.stop();
});

it("sends in bursts while the budget limits what is new", async () => {
  const network = new LossyNetwork(1, targets(1_000));
  await network.pass(30);
  expect(network.sentMs.length).toBeGreaterThan(30 * 20 * 0.9);
  expect(new Set(network.sentMs).size).toBeLessThanOrEqual(30 * 4 + 1);
  network.stop();
});

it("does not look into the silence of a peer that is only just coming", async () => {
  const network = new LossyNetwork(1, [TARGET], TARGET.inner);
  await network.pass(1.9);
  // One because it is new, one in its turn.
  expect(network.sentMs).toHaveLength(2);
  network.silent = null;
  await network.pass(0.5);
  expect(network.sentMs).toHaveLength(3);
  expect(network.health.state).toBe("good");
  network.stop();
});
