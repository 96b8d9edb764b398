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

/** All are heard for 100 s, those of `heard` for 180 s more; answers whose agents are called quiet meanwhile. */
async function quietAfter(
  targets: readonly ProbeTarget[],
  heard: readonly ProbeTarget[],
  pingPercent = 0,
): Promise<readonly LeaseKey[]> {
  const network = new LossyNetwork(1, targets);
  const quiet = new Set<LeaseKey>();
  const listen = async (to: readonly ProbeTarget[], seconds: number): Promise<void> => {
    for (let passed = 0; passed < seconds; passed += 5) {
      // The second one probes less often: its silence is noticed later.
      for (const target of to) if (target !== OTHER || passed % 25 === 0) network.hear(target);
      await network.pass(5);
      for (const target of targets) if (network.healthOf(target).isAgentQuiet) quiet.add(target.peer);
    }
  };
  await listen(targets, 100);
  network.pingPercent = pingPercent;
  await listen(heard, 180);
  network.stop();
  return [...quiet];
}

it("calls the agent quiet that is no longer heard while others are", async () => {
  expect(await quietAfter(ALL, [OTHER])).toEqual([TARGET.peer]);
});

it("calls the only agent quiet that was ever heard", async () => {
  expect(await quietAfter([TARGET], [])).toEqual([TARGET.peer]);
});

it("calls none quiet while no other is heard: a firewall of this host may drop their probes", async () => {
  expect(await quietAfter(ALL, [])).toEqual([]);
});

it("calls none quiet that answers pings no more: those of its agent may be dropped too", async () => {
  expect(await quietAfter([TARGET], [], 100)).toEqual([]);
});

it("calls none quiet that is heard by one of its families", async () => {
  expect(await quietAfter([TARGET, THIS_IN_IPV6], [THIS_IN_IPV6])).toEqual([]);
});
