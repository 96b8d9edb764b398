/** Whose agents are called gone, when the probes that they used to send no longer arrive. */

import { expect, it } from "vitest";
import type { ProbeTarget } from "../../../../agent/probes/probe.ts";
import { targetId } from "../../../../agent/probes/targets.ts";
import { Address } from "../../../../ipam/addresses/ip.ts";
import type { LeaseKey } from "../../../../ipam/leases/lease.ts";
import { LossyNetwork } from "./lossy-network.ts";
import { TARGET } from "./target-fixture.ts";

const OTHER: ProbeTarget = {
  ...TARGET,
  id: targetId("10.2.55.0-24" as LeaseKey, 4),
  peer: "10.2.55.0-24" as LeaseKey,
  inner: Address.parse("10.2.55.0"),
  outer: Address.parse("192.168.1.243"),
};
const THIS_IN_IPV6: ProbeTarget = {
  ...TARGET,
  id: targetId(TARGET.peer, 6),
  family: 6,
  inner: Address.parse("10.2.56.0"),
};
const ALL = [TARGET, OTHER];

/** Both agents are heard for a minute, and those of `heard` for three minutes more. */
async function quietAfter(
  targets: readonly ProbeTarget[],
  heard: readonly ProbeTarget[],
  pingPercent = 0,
): Promise<readonly LeaseKey[]> {
  const network = new LossyNetwork(1, targets);
  const listen = async (to: readonly ProbeTarget[], seconds: number): Promise<void> => {
    for (let passed = 0; passed < seconds; passed += 5) {
      for (const target of to) network.hear(target);
      await network.pass(5);
    }
  };
  await listen(targets, 60);
  network.pingPercent = pingPercent;
  await listen(heard, 180);
  network.stop();
  const quiet = targets.filter((target) => network.healthOf(target).isAgentQuiet);
  return [...new Set(quiet.map(({ peer }) => peer))];
}

it("calls the agent quiet that is no longer heard while others are", async () => {
  expect(await quietAfter(ALL, [OTHER])).toEqual([TARGET.peer]);
});

it("calls the only agent quiet that was ever heard", async () => {
  expect(await quietAfter([TARGET], [])).toEqual([TARGET.peer]);
});

it("calls none quiet where all of several are: a firewall of this host may drop their probes", async () => {
  expect(await quietAfter(ALL, [])).toEqual([]);
});

it("calls none quiet that answers pings no more: those of its agent may be dropped too", async () => {
  expect(await quietAfter([TARGET], [], 100)).toEqual([]);
});

it("calls none quiet that is heard by one of its families", async () => {
  expect(await quietAfter([TARGET, THIS_IN_IPV6], [THIS_IN_IPV6])).toEqual([]);
});
